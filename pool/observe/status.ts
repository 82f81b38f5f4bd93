/** What the status page, the CLI and the API say of the pools, from the rows alone. */

import type { Clock } from "../clock.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import { isClaimable, type Machine, type MachineState } from "../machine/machine.ts";
import { assess, countedBuilds } from "../refill/budget.ts";
import { shownContent, warmMachines } from "../refill/content.ts";
import { replacement } from "../refill/replace.ts";
import { leadTimeMs } from "../sizing/lead-time.ts";
import type { Flag, Rollout, Store } from "../store/store.ts";

export interface PoolStatus {
  readonly instance: string;
  readonly pools: readonly {
    readonly name: string;
    readonly plan: string;
    readonly locations: readonly string[];
    readonly serverType: string;
    readonly minReady: number;
    readonly maxTotal: number;
    readonly claimable: number;
    readonly live: number;
    readonly states: Readonly<Partial<Record<MachineState, number>>>;
    /** Orders of the pool's plan that wait for a machine; a suspended one does not. */
    readonly queued: number;
    /** Median build time; null before the first machine. */
    readonly buildMs: number | null;
    readonly refill: {
      /** Null while the failure budget lets the pool be refilled. */
      readonly stopped: { readonly at: number; readonly reason: string } | null;
      /** Builds that failed since the last that did well. */
      readonly failures: number;
      /** Behind a failed build: when the next is tried (epoch ms); null when that is not put off. */
      readonly pausedUntil: number | null;
      /** The failed machine that is kept to be looked at. */
      readonly specimen: string | null;
    };
    /** Null before the content was looked at. */
    readonly rollout: {
      readonly phase: Rollout["phase"];
      /** Epoch ms. */
      readonly phaseSince: number;
      readonly paused: boolean;
      /** What the pool's machines are to be made of, for people. */
      readonly content: string;
      /** Warm machines that are, and that are not. */
      readonly fresh: number;
      readonly stale: number;
      readonly canary: string | null;
      readonly reason: string | null;
    } | null;
  }[];
  /** Null in order; else why nothing is bought, claimed or destroyed, and how many machines a person must release. */
  readonly quarantine: { readonly why: string; readonly held: number } | null;
  readonly flags: readonly Flag[];
}

export function poolStatus(store: Store, config: Config, clock: Clock): PoolStatus {
  const live = store.machines({ live: true });
  const held = live.filter((machine) => machine.held !== null).length;
  const why = store.quarantine()?.why ?? (held > 0 ? "some machines were not released" : null);
  return {
    instance: config.instance,
    pools: config.pools.map((pool) => {
      const machines = live.filter((machine) => machine.pool === pool.name);
      const states: Partial<Record<MachineState, number>> = {};
      for (const machine of machines) states[machine.state] = (states[machine.state] ?? 0) + 1;
      return {
        name: pool.name,
        plan: pool.plan,
        locations: pool.locations,
        serverType: pool.serverType,
        minReady: pool.minReady,
        maxTotal: pool.maxTotal,
        claimable: machines.filter(isClaimable).length,
        live: machines.length,
        states,
        queued: store.queued(pool.plan),
        buildMs: leadTimeMs(store, pool.plan),
        refill: refillStatus(store, pool, machines, clock.now()),
        rollout: rolloutStatus(store, pool, clock.now()),
      };
    }),
    quarantine: why === null ? null : { why, held },
    flags: store.flags(),
  };
}

function rolloutStatus(store: Store, pool: PoolConfig, now: number): PoolStatus["pools"][number]["rollout"] {
  const row = store.rollout(pool.name);
  if (!row) return null;
  const { phase, phaseSince, paused, canary, reason } = row;
  const stale = replacement(store, pool, now).stale.length;
  const fresh = warmMachines(store, pool.name).length - stale;
  return { phase, phaseSince, paused, content: shownContent(row.target), fresh, stale, canary, reason };
}

function refillStatus(
  store: Store,
  pool: PoolConfig,
  machines: readonly Machine[],
  now: number,
): PoolStatus["pools"][number]["refill"] {
  const { stop, countedFrom } = store.refill(pool.name);
  const { run, refillAt } = assess(countedBuilds(store, pool.name, countedFrom), pool.failureBudget, now);
  return {
    stopped: stop && { at: stop.at, reason: stop.reason },
    failures: run,
    pausedUntil: stop === null && refillAt > now ? refillAt : null,
    specimen: machines.find(({ specimenUntil }) => specimenUntil !== null)?.name ?? null,
  };
}
