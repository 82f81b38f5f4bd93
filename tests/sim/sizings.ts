/** Pools that are sized by more than `min_ready`, and whose operator changes his mind. */
import type { PoolConfig, SizingConfig } from "../../pool/config/config.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { isFixed } from "../../pool/sizing/policy/create.ts";
import type { StoredAuditRow } from "../../pool/store/audit-chain.ts";
import type { Installation } from "./daemon.ts";
import type { Story } from "./story.ts";
import type { World } from "./world.ts";

const minute = 60_000;
const hour = 60 * minute;

/** How a pool may be sized; `at` is when the story begins, epoch ms. */
function sizings(at: number): readonly SizingConfig[] {
  const common = { timeZone: "Europe/Berlin", campaigns: [], floors: [] };
  const campaign = { name: "launch", from: at + 2 * minute, until: at + 9 * minute, add: 2 };
  const often = { cron: "*/20 * * * *", lengthMs: 8 * minute, ready: 3 };
  return [
    { ...common, policy: "adaptive", goal: { valueEur: 1 }, holdMs: 0 },
    { ...common, policy: "adaptive", goal: { hitShare: 0.9 }, holdMs: 5 * minute, campaigns: [campaign] },
    { ...common, policy: "factor", scale: 1.5, overMs: 10 * minute, atMost: 4 },
    { ...common, policy: "schedule", windows: [often] },
    { ...common, policy: "static", ready: 3, floors: [{ ...often, ready: 4 }] },
    { ...common, policy: "static", ready: null },
  ];
}

/** By the seed's number, not by chance: all other seeds stay the stories that they were. */
export const isSized = (seed: number): boolean => seed % 10 === 7;

/** The pool is sized otherwise from the start, and a few times on the way; bounds change, too. */
export async function resize(story: Story, lasts: number): Promise<void> {
  const { world, installation } = story;
  const { chance, clock } = world;
  const known = sizings(clock.now());
  const apply = (sizing: SizingConfig, change: Partial<PoolConfig> = {}) => {
    const { config } = installation;
    installation.config = { ...config, pools: config.pools.map((pool) => ({ ...pool, ...change, sizing })) };
    world.note(`the pool is sized by ${sizing.policy}`);
    if (!story.daemon.life.dead) story.daemon.serving?.poke();
  };
  apply(chance.pick(known), { minReady: chance.integer(0, 1), maxReady: 5 });
  for (let changes = chance.integer(0, 2); changes > 0; changes--) {
    await clock.delay(chance.between(0, lasts / 2));
    apply(chance.pick(known), { maxReady: chance.integer(4, 6), maxBuildsPerMinute: chance.integer(1, 3) });
  }
}

/** What is asked for is a number, and within its bounds. */
export async function watchTargets(story: Story): Promise<never> {
  const { world, installation } = story;
  for (;;) {
    await world.clock.delay(minute);
    const { serving, life } = story.daemon;
    const [pool] = installation.config.pools;
    if (!pool || !serving || life.dead || life.hung) continue;
    const { target, keep } = serving.sizer.target(pool);
    const most = Math.max(pool.maxReady ?? pool.maxTotal, pool.minReady);
    if (!Number.isInteger(target) || target < pool.minReady || target > most || keep < target || keep > most)
      world.violate(
        "I13",
        `${pool.name} wants ${target} and keeps ${keep}: not from ${pool.minReady} to ${most}`,
      );
  }
}

/** Nothing that is paid goes before its hour is nearly over, and what is called off was never made. */
export function judgeSurplus(
  rows: readonly StoredAuditRow[],
  world: World,
  installation: Installation,
): void {
  for (const { action, subject } of rows) {
    if (action !== "machine.retiring") continue;
    const machine = installation.store.machine(subject as MachineName);
    const pool = installation.config.pools.find(({ name }) => name === machine?.pool);
    if (machine?.state !== "retiring" || !pool) continue;
    if (machine.reason?.startsWith("not begun") && machine.serverId !== null)
      world.violate("I13", `${machine.name} is called off and has server ${machine.serverId}`);
    if (!machine.reason?.startsWith("the pool keeps") || isFixed(pool.sizing)) continue;
    const inHour = ((world.clock.now() - machine.createdAt) % hour) / minute;
    if (inHour < 53 || inHour >= 58)
      world.violate("I13", `${machine.name} goes as surplus in minute ${inHour} of an hour that is paid`);
  }
}
