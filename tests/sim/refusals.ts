/** Accounts that are refused for a while, and the person who starts failed orders again. */
import type { OrderId } from "../../pool/machine/machine.ts";
import { Chance } from "./chance.ts";
import type { Story } from "./story.ts";
import type { World } from "./world.ts";

const minute = 60_000;

/** Who refuses us, and from when until when, in ms from the beginning of the story. */
export interface Refusal {
  readonly what: "hetzner-quota" | "hetzner-auth" | "tailscale-auth" | "sold-out";
  readonly from: number;
  readonly until: number;
}

/** Drawn apart from the story's own chance: in one of eight schedules. */
export function refusalOf({ seed }: World, lasts: number): Refusal | null {
  const chance = new Chance(seed ^ 0x0f2e);
  if (!chance.happens(0.125)) return null;
  const from = chance.between(0, lasts / 2);
  const what = chance.pick(["hetzner-quota", "hetzner-auth", "tailscale-auth", "sold-out"] as const);
  return { what, from, until: chance.between(from, lasts) };
}

export async function refuse(world: World, { what, from, until }: Refusal): Promise<void> {
  await world.clock.delay(from);
  world.refused = what;
  world.note(`from now on: ${what}`);
  await world.clock.delay(until - from);
  world.refused = null;
  world.note(`no longer: ${what}`);
}

/** Looks at the failed orders now and then, and starts them again: once builds do well, now and then too early. */
export async function watchOrders(story: Story): Promise<never> {
  const { world } = story;
  const chance = new Chance(world.seed ^ 0x0adb);
  for (;;) {
    await world.clock.delay(chance.between(1, 15) * minute);
    if (world.builds.broken && !chance.happens(0.2)) continue;
    const failed = story.store.flags().filter(({ kind }) => kind === "order-failed");
    for (const { subject } of failed) {
      const id = subject as OrderId;
      if (!(await story.ask(async ({ desk }) => desk.retry(id, "person:operator")))) continue;
      world.builds.retried.push(world.clock.now());
      world.note(`the operator starts ${subject} again`);
    }
  }
}
