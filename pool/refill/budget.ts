/**
 * What failed builds may cost. Behind each failure the next build of the pool waits longer, and is tried alone; when too
 * many fail, refill stops until a person or another input changes something. Everything is computed from the rows, so it
 * survives a restart; the spread of the pauses comes from the failed machine's name, which is chance enough (50 bits).
 */
import type { Config, FailureBudget, PoolConfig } from "../config/config.ts";
import type { Machine, MachineState } from "../machine/machine.ts";
import { spread } from "../random.ts";
import type { Build, Store } from "../store/store.ts";
import { isFrozenOut, thawed } from "./freeze.ts";

/** What is being built, and is not claimable yet. */
export const buildingStates: readonly MachineState[] = [
  "planned",
  "creating",
  "booting",
  "preparing",
  "proving",
];

/** What will be claimable if all goes well. */
export const comingStates: readonly MachineState[] = [...buildingStates, "ready"];

/** Enough for every `run` and for the share of a busy hour. */
export const newestBuilds = 100;

export interface Assessment {
  /** Failures since the last build that did well, whatever they failed of. */
  readonly run: number;
  /** Those of them that count against the budget. */
  readonly counted: number;
  /** Why refill must stop; null within the budget. */
  readonly exhausted: string | null;
  /** Not built before (epoch ms): for the pool, and for an order that waits. */
  readonly refillAt: number;
  readonly orderAt: number;
}

/**
 * That a location has none to sell costs nothing and passes by itself: it makes the pauses longer, and is no reason to
 * wait for a person.
 */
const counts = (build: Build): boolean => build.failure !== "capacity";

/** Nothing was built, and what is done about it is another matter: freeze.ts. */
const isRefused = ({ failure }: Build): boolean => failure === "quota" || failure === "auth";

/** The build was tried and failed: it says something of what machines are built from. */
export const isJudged = (build: Build): boolean => build.ok || (counts(build) && !isRefused(build));

export function assess(builds: readonly Build[], budget: FailureBudget, now: number): Assessment {
  const failures = builds.slice(builds.findLastIndex(({ ok }) => ok) + 1);
  const last = failures.at(-1);
  const counted = failures.filter(counts).length;
  const pauseAfter = (longestMs: number): number => {
    if (!last) return 0;
    const pause = Math.min(budget.firstPauseMs * 2 ** (failures.length - 1), longestMs);
    return last.endedAt + Math.round(pause * (0.8 + 0.4 * spread(last.machine)));
  };
  return {
    run: failures.length,
    counted,
    exhausted: exhausted(builds, counted, budget, now),
    refillAt: pauseAfter(budget.longestPauseMs),
    orderAt: pauseAfter(budget.longestOrderPauseMs),
  };
}

function exhausted(builds: readonly Build[], run: number, budget: FailureBudget, now: number): string | null {
  if (run >= budget.run) return `${run} builds failed one after another`;
  const recent = builds.filter(
    (build) => build.endedAt >= now - budget.windowMs && (build.ok || counts(build)),
  );
  const failed = recent.filter(({ ok }) => !ok).length;
  if (recent.length < budget.atLeast || failed <= budget.share * recent.length) return null;
  return `${failed} of the last ${recent.length} builds failed`;
}

/** The pool's builds that still say something of it. */
export function countedBuilds(
  store: Pick<Store, "builds" | "refill">,
  pool: string,
  from = store.refill(pool).countedFrom,
): Build[] {
  return store
    .builds(pool, { limit: newestBuilds })
    .filter((build) => build.startedAt >= from && !isRefused(build));
}

/** How many machines may be planned now. @param wanted how many the pool lacks, with those for the orders that wait */
export function allowed(
  store: Store,
  pool: PoolConfig,
  demand: { readonly wanted: number; readonly queued: number; readonly live: readonly Machine[] },
  now: number,
): number {
  const { queued, live } = demand;
  const wanted = thawed(store, demand, now);
  const { stop, countedFrom } = store.refill(pool.name);
  const builds = countedBuilds(store, pool.name, countedFrom);
  const building = live.filter(
    (machine) => machine.pool === pool.name && buildingStates.includes(machine.state),
  ).length;
  const assessment = assess(builds, pool.failureBudget, now);
  return permitted(assessment, { wanted, queued, building, stopped: stop !== null }, now);
}

/** The same without the store. @param pool `building`: what is being built or planned, `queued`: orders that wait */
export function permitted(
  { run, refillAt, orderAt }: Assessment,
  pool: {
    readonly wanted: number;
    readonly queued: number;
    readonly building: number;
    readonly stopped: boolean;
  },
  now: number,
): number {
  const { wanted, queued, building, stopped } = pool;
  if (run === 0 && !stopped) return wanted;
  const forOrders = now < orderAt ? 0 : Math.min(wanted, Math.max(0, queued - building));
  if (!stopped) return Math.max(forOrders, now >= refillAt && building === 0 ? 1 : 0);
  // Machines that somebody waits for are still tried; each order has so many, and then goes to a person.
  return forOrders;
}

/** The machine is not begun yet and nobody needs it: the pool's refill was stopped after it was planned. */
export function isSurplus(store: Store, config: Config, machine: Machine): boolean {
  if (isFrozenOut(store, machine)) return true;
  if (!store.refill(machine.pool).stop) return false;
  const queued = store.queued(machine.plan);
  const coming = store.machines({ pool: machine.pool, states: buildingStates }).length;
  return config.pools.some(({ name }) => name === machine.pool) && coming > queued;
}
