/** A time in which no build succeeds, the person who is told of it, and what it may cost. */
import type { Story } from "./story.ts";
import type { World } from "./world.ts";

const minute = 60_000;
const hour = 60 * minute;

/** In ms from the beginning of the story. */
export interface Spell {
  readonly from: number;
  readonly until: number;
}

/** Every preparation fails, as with a package that was taken away. */
export async function breakBuilds(world: World, { from, until }: Spell): Promise<void> {
  await world.clock.delay(from);
  world.builds.broken = true;
  world.note("from now on every build fails");
  await world.clock.delay(until - from);
  world.builds.broken = false;
  world.note("builds may succeed again");
}

/** Looks at the flags now and then, and resumes what is stopped: once it is mended, now and then too early. */
export async function watchRefill(story: Story): Promise<never> {
  const { world, store } = story;
  for (;;) {
    await world.clock.delay(world.chance.between(1, 15) * minute);
    if (!store.flags().some(({ kind }) => kind === "refill-stopped")) continue;
    if (world.builds.broken && !world.chance.happens(0.1)) continue;
    if ((await story.resume()) === null) continue;
    world.builds.resumed.push(world.clock.now());
    world.note("the operator resumes the refill");
  }
}

/**
 * However many builds fail, the servers that are bought within any hour are as many as the pool may have, what the failure
 * budget grants (the pool's run and the tries for each order that waits), that again for each time that a person
 * resumes, and an order's tries again for each time that a person starts one again.
 */
export function judgeSpending({ world, installation, buyers }: Story): void {
  const [pool] = installation.config.pools;
  if (!pool) return;
  const { run, buildsPerOrder } = pool.failureBudget;
  const grant = pool.maxTotal + run + buildsPerOrder * buyers;
  const within = (times: readonly number[], since: number) =>
    times.filter((at) => at >= since && at < since + hour).length;
  for (const since of world.builds.bought) {
    const again =
      buildsPerOrder * world.builds.retried.filter((at) => at >= since - hour && at < since + hour).length;
    const allowed = grant * (2 + within(world.builds.resumed, since)) + again;
    const bought = within(world.builds.bought, since);
    if (bought <= allowed) continue;
    world.violate("I7", `${bought} servers were bought within an hour, ${allowed} are within the budget`);
    return;
  }
}
