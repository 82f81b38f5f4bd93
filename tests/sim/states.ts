/**
 * Mishaps of terraform's state files: a disk that lost one, a backup of somebody's that brought an old one back, a copy into
 * the wrong folder. And the person who looks at what the daemon refuses, and restores or imports it.
 */
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
