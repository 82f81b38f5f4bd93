/** One schedule from one seed: trouble for an hour or so, then calm, then everything must be as it should. */
import { settled as allSettled } from "../virtual-clock.ts";
import { outdatedRecords } from "./borders/records.ts";
import { install } from "./daemon.ts";
import { Killed } from "./incarnation.ts";
import { isSettled, judge } from "./invariants.ts";
import { refusalOf } from "./refusals.ts";
import type { SecondRescue } from "./rescue.ts";
import { isSized } from "./sizings.ts";
import { stateMishaps } from "./states.ts";
import { type Plot, Story } from "./story.ts";
import { World } from "./world.ts";

const minute = 60_000;
/**
 * How long after the last fault, and what people do last, everything may take to be in order (I8): a build, its retries,
 * the grace of a release.
 */
const patience = 120 * minute;

export interface Outcome {
  readonly seed: number;
  readonly events: number;
  readonly violations: readonly string[];
  readonly trace: readonly string[];
  /** Points at which the first life of the daemon could have died: calls of borders and transactions, before and after. */
  readonly points: number;
}

/** Fewer would say little. */
const leastEvents = 200;

const secondRescue = ({ chance }: World): SecondRescue => ({
  kind: chance.pick(["older", "elsewhere"] as const),
  backup: chance.pick(["held", "released"] as const),
  after: chance.between(2, 10) * minute,
});

/** One story in 50 is a long one, with everything; many short ones find more in the same time. */
export function plotOf(world: World): Plot {
  const { chance, seed } = world;
  const long = chance.happens(0.02);
  const kills = Array.from({ length: chance.integer(0, long ? 4 : 2) }, () =>
    chance.integer(1, long ? 1_000 : 300),
  );
  const lasts = (long ? chance.between(5, 25) : chance.between(1, 6)) * minute;
  const from = chance.between(0, lasts / 2);
  const spell = chance.happens(long ? 0.25 : 0.05) ? { from, until: chance.between(from, lasts) } : null;
  const strays = chance.happens(long ? 0.5 : 0.02) ? chance.integer(1, 3) : 0;
  const rots = chance.integer(0, long ? 2 : 1);
  const recipe = chance.happens(long ? 0.25 : 0.05)
    ? chance.pick([null, "fails", "rots"] as const)
    : undefined;
  const buyers = long ? chance.integer(2, 6) : chance.integer(1, 2);
  const backupAt = chance.between(0, lasts);
  const rescue =
    strays === 0 && chance.happens(0.08)
      ? {
          kind: chance.pick(["older", "elsewhere", "lost"] as const),
          backupAt,
          at: chance.between(backupAt, lasts),
          // By the seed's number, not by chance: all other seeds stay the stories that they were.
          again: seed % 2 === 0 ? secondRescue(world) : null,
          withDaemon: chance.happens(0.5),
        }
      : null;
  // The same.
  const spoiled = seed % 8 === 0 && rescue === null ? chance.integer(1, 3) : 0;
  const states = Array.from({ length: spoiled }, () => chance.pick(stateMishaps));
  // One seed in sixteen: beyond the mishaps, and between two of these seeds, there is none at that index.
  const platform =
    rescue === null ? (stateMishaps[((seed - 4) / 8) % (2 * stateMishaps.length)] ?? null) : null;
  const refusal = rescue === null ? refusalOf(world, lasts) : null;
  const sized = isSized(seed);
  // What was told with a store that is lost is not to be judged by the next one.
  const notify = seed % 8 === 5 && rescue === null;
  // By the seed's number as well.
  const stops = seed % 4 === 1;
  return {
    buyers,
    lasts,
    kills,
    stops,
    spell,
    strays,
    rots,
    recipe,
    rescue,
    states,
    platform,
    refusal,
    sized,
    notify,
  };
}

/**
 * @param change what is not left to the seed
 * @param tamper happens to the world in order, before it is judged
 */
export async function simulate(
  seed: number,
  change: Partial<Plot> = {},
  tamper: (story: Story) => void = () => {},
): Promise<Outcome> {
  const world = new World(seed);
  // Libraries throw dice of their own for the spread of their pauses.
  const dice = Math.random;
  Math.random = world.chance.number;
  // The daemon's process would end by it, and the model is no better.
  const unhandled = (reason: unknown) => {
    if (!(reason instanceof Killed)) world.violate("daemon", `nobody handles ${reason}`);
  };
  process.on("unhandledRejection", unhandled);
  try {
    const plot = { ...plotOf(world), ...change };
    world.calm = plot.script !== undefined;
    const installation = install(world);
    const story = new Story(world, installation, plot);
    const first = story.daemon.life;
    let settled = await play(story, plot.lasts);
    // Where little happened another buyer comes, and the faults strike again.
    while (settled && world.events < leastEvents) {
      story.another(minute);
      settled = await play(story, minute);
    }
    if (settled) {
      tamper(story);
      judge(story);
    } else {
      const late = `not in order ${patience / minute} minutes after the last fault`;
      world.violate("I8", `${late}: ${describe(story)}`);
    }
    story.daemon.life.kill();
    await allSettled();
    installation.store.close();
    return {
      seed,
      events: world.events,
      violations: world.violations,
      trace: world.trace,
      points: first.points,
    };
  } finally {
    Math.random = dice;
    process.off("unhandledRejection", unhandled);
  }
}

/** Some time of trouble (ms), then calm. @returns whether all was in order again in time. */
async function play(story: Story, lasts: number): Promise<boolean> {
  const { world } = story;
  world.calm = false;
  await world.clock.advance(lasts);
  world.calm = true;
  world.note("calm");
  const last = world.clock.now() + 3 * patience;
  let end = world.clock.now() + patience;
  while (!isSettled(story) && world.clock.now() < end) {
    await world.clock.advance(20_000);
    // What people do in between takes its time as well; they come to an end.
    if (!story.over) end = Math.min(world.clock.now() + patience, last);
    if (story.daemon.serving) story.installation.watch.late();
  }
  return isSettled(story);
}

function describe({ store, world, daemon, over, installation }: Story): string {
  const machines = store
    .machines({ live: true })
    .map(({ name, state, reason, attempts }) => `${name} ${state} ${attempts} ${reason ?? ""}`);
  const orders = store
    .orders({ states: ["queued", "provisioning", "releasing"] })
    .map(({ id, state }) => `${id} ${state}`);
  const pools = installation.config.pools.map(({ name, minReady }) => {
    const { phase, paused, reason } = store.rollout(name) ?? {};
    return `${name} keeps ${minReady}, roll-out ${phase} ${paused ? "paused" : ""} ${reason ?? ""}`;
  });
  const rotten = [...world.servers.values()].filter(({ machine }) => machine.rot !== null);
  return [
    ...pools,
    ...rotten.map(({ name, machine }) => `${name} is bad: ${machine.rot}`),
    ...store.flags().map(({ kind, text }) => `${kind}: ${text}`),
    ...[...outdatedRecords(world, installation)].map((name) => `record ${name} is not up to date`),
    `serves ${daemon.serving !== null}`,
    `story over ${over}`,
    `${world.processes.size} processes`,
    ...machines,
    ...orders,
  ].join("; ");
}
