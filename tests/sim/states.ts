/**
 * Mishaps of terraform's state files: a disk that lost one, a backup of somebody's that brought an old one back, a copy into
 * the wrong folder. And the person who looks at what the daemon refuses, and restores or imports it.
 */

import { anothers } from "./borders/terraform.ts";
import type { Story } from "./story.ts";
import { emptyFile, type World } from "./world.ts";

const minute = 60_000;
export const stateMishaps = ["gone", "emptied", "older", "another's"] as const;
export type StateMishap = (typeof stateMishaps)[number];

/** Some time within `lasts` ms, to a machine that there is then. */
export async function spoilState(world: World, mishap: StateMishap, lasts: number): Promise<void> {
  await world.clock.delay(world.chance.between(0, lasts));
  const names = [...world.states.keys()].filter((name) => name !== "platform" && !world.processes.has(name));
  if (names.length === 0) return;
  const name = world.chance.pick(names);
  const other = names.find(
    (candidate) => candidate !== name && world.states.get(candidate)?.serverId !== null,
  );
  const [older] = world.oldStates.get(name) ?? [];
  const found = { gone: null, emptied: emptyFile, older, "another's": world.states.get(other ?? "") }[mishap];
  if (found === undefined) return;
  if (found === null) world.states.delete(name);
  else world.states.set(name, found);
  world.note(`the state of ${name} is ${mishap}`);
}

/** To the platform, some time after it was made; and then its inputs change, so that terraform would run on it. */
export async function spoilPlatform(story: Story, mishap: StateMishap, lasts: number): Promise<void> {
  const { world, store, installation } = story;
  const letIn = (cidr: string) => {
    const { config } = installation;
    installation.config = { ...config, network: { ...config.network, sshFrom: [cidr] } };
  };
  await world.clock.delay(world.chance.between(0, lasts));
  // What a daemon made and did not live to remember, Hetzner refuses to make twice, by its name.
  while (store.terraformState("platform") === null || world.processes.has("platform"))
    await world.clock.delay(minute);
  if (mishap === "older") {
    letIn("198.51.100.0/24");
    while (!world.oldStates.has("platform") || world.processes.has("platform"))
      await world.clock.delay(minute);
  }
  const foreign = { ...emptyFile, lineage: "another's", serial: 40, shared: anothers };
  const [older] = world.oldStates.get("platform") ?? [];
  const found = { gone: null, emptied: emptyFile, older, "another's": foreign }[mishap];
  if (!found) world.states.delete("platform");
  else world.states.set("platform", found);
  world.note(`the state of the platform is ${mishap}`);
  letIn("192.0.2.0/24");
}

/** Looks at the flags now and then. What is remembered is written back; where it cannot be, the server is imported. */
export async function watchStates(story: Story): Promise<never> {
  const { world, store } = story;
  for (;;) {
    await world.clock.delay(world.chance.between(1, 10) * minute);
    for (const { kind, subject } of store.flags()) {
      if (kind !== "terraform-state") continue;
      const how = world.chance.happens(0.3) ? "import" : "restore";
      for (const way of [how, "import"] as const) {
        const done = await story.repairState(subject, way);
        world.note(`a person's ${way} of the state of ${subject}: ${done === null ? "not done" : "done"}`);
        if (done !== null) break;
      }
    }
  }
}
