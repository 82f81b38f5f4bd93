/** What became of one day of customers: from the daemon's own store, and from the replay of the same day. */

import Database from "better-sqlite3";
import { countBegun } from "../../../pool/bill/hours.ts";
import { hourMs } from "../../../pool/clock.ts";
import type { PoolConfig } from "../../../pool/config/config.ts";
import { assumedLeadMs, measuredLead } from "../../../pool/sizing/lead-time.ts";
import { createPolicy } from "../../../pool/sizing/policy/create.ts";
import { replay, tickMs } from "../../../pool/sizing/replay/replay.ts";
import type { Store } from "../../../pool/store/store.ts";

export interface Day {
  /** Epoch ms. */
  readonly from: number;
  readonly to: number;
}

export interface Outcome {
  readonly claims: number;
  readonly hits: number;
  /** Hours that machines were ready and waited. */
  readonly idleHours: number;
  /** Begun hours of machines until they were claimed, or gone. */
  readonly paidHours: number;
  readonly built: number;
  readonly wasted: number;
  /** Median of those who found nothing ready, until their agent ran (in the replay: until a machine was ready); ms. */
  readonly missedWaitMs: number | null;
}

/** A store that remembers these customers, as one that had been there would. */
export function remember(file: string, plan: string, region: string, claims: Float64Array): void {
  const db = new Database(file);
  const insert = db.prepare(
    "INSERT INTO demand (order_id, at, plan, region, pool) VALUES (?, ?, ?, ?, NULL)",
  );
  db.transaction(() => {
    for (const [index, at] of claims.entries()) insert.run(`before-${index}`, at, plan, region);
  })();
  db.close();
}

const middle = (values: readonly number[]): number | null =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? null;

/** As the store has it when the day is over. */
export function measured(store: Store, pool: PoolConfig, { from, to }: Day): Outcome {
  const day = store.demand({ since: from }).filter(({ at }) => at < to);
  const clip = (at: number) => Math.min(Math.max(at, from), to);
  const sum = { idle: 0, paid: 0, built: 0, wasted: 0 };
  for (const machine of store.machines({ pool: pool.name })) {
    const states = store.machineStates(machine.name);
    const leaves = states.find(({ state }) => ["claimed", "retiring", "failed"].includes(state));
    const end = leaves?.at ?? to;
    if (end < from || machine.createdAt >= to) continue;
    for (const [index, { at, state }] of states.entries()) {
      if (state === "ready") sum.idle += clip(states[index + 1]?.at ?? to) - clip(at);
    }
    sum.paid += countBegun(machine.createdAt, Math.min(end, to));
    if (machine.readyAt !== null && machine.readyAt >= from && machine.readyAt < to) sum.built++;
    if (leaves?.state === "retiring" && end < to) sum.wasted++;
  }
  const waits = store
    .orders({ limit: Number.MAX_SAFE_INTEGER })
    .filter(({ paidAt, servingAt }) => paidAt !== null && servingAt !== null)
    .filter(({ machine, paidAt }) => ((machine && store.machine(machine)?.readyAt) || 0) > (paidAt ?? 0))
    .map(({ paidAt, servingAt }) => (servingAt ?? 0) - (paidAt ?? 0));
  return {
    claims: day.length,
    hits: day.filter(({ pool: from }) => from !== null).length,
    ...{ idleHours: sum.idle / hourMs, paidHours: sum.paid, built: sum.built, wasted: sum.wasted },
    missedWaitMs: middle(waits),
  };
}

/** How long this pool's builds took so far, in ms; what is assumed before the first. */
export function leads(
  store: Store,
  pool: PoolConfig,
): { readonly planMs: number; readonly builds: number[] } {
  const times = store
    .builds(pool.name)
    .flatMap(({ ok, startedAt, endedAt }) => (ok ? [endedAt - startedAt] : []));
  return { planMs: measuredLead(store, pool).planMs, builds: times.length > 0 ? times : [assumedLeadMs] };
}

/** The same pool in the simulator: same customers before and on the day, builds that last as long as those. */
export function predicted(
  pool: PoolConfig,
  claims: Float64Array,
  { from, to }: Day,
  { planMs, builds }: { readonly planMs: number; readonly builds: readonly number[] },
  slots: number,
): Outcome {
  const since = claims[0] ?? from;
  let next = 0;
  const outcome = replay({
    ...{ claims, from: since, to, scoreFrom: from, slots, leadMs: planMs, tickMs },
    nextBuild: () => ({ ms: builds[next++ % builds.length] ?? planMs, failed: false }),
    policy: createPolicy(pool, { since, eurPerHour: null }),
    maxTotal: pool.maxTotal,
    buildsPerMinute: pool.maxBuildsPerMinute,
  });
  return {
    ...{ claims: outcome.claims, hits: outcome.claims - outcome.misses },
    ...{ idleHours: outcome.idleHours, paidHours: outcome.paidHours, built: outcome.built },
    ...{ wasted: outcome.wasted, missedWaitMs: middle(outcome.waits) },
  };
}
