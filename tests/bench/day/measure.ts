/** What became of one day of customers: from the daemon's own store, and from the replay of the same day. */

import Database from "better-sqlite3";
import { countBegun } from "../../../pool/bill/hours.ts";
import { hourMs } from "../../../pool/clock.ts";
import type { PoolConfig } from "../../../pool/config/config.ts";
import { keptChoice } from "../../../pool/sizing/kept-choice.ts";
import { assumedLeadMs, measuredLead } from "../../../pool/sizing/lead-time.ts";
import { createPolicy } from "../../../pool/sizing/policy/create.ts";
import { replay, tickMs } from "../../../pool/sizing/replay/replay.ts";
import { memoryMs } from "../../../pool/sizing/sizer.ts";
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

/** A store that remembers these customers, as one that had served them at once would. */
export function remember(
  file: string,
  { name, plan }: Pick<PoolConfig, "name" | "plan">,
  region: string,
  claims: Float64Array,
): void {
  const db = new Database(file);
  const insert = db.prepare("INSERT INTO demand (order_id, at, plan, region, pool) VALUES (?, ?, ?, ?, ?)");
  db.transaction(() => {
    for (const [index, at] of claims.entries()) insert.run(`before-${index}`, at, plan, region, name);
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

/** What the pool's builds took so far, ms. */
export interface Lead {
  /** What it is planned with: waits for a free slot included. */
  readonly planMs: number;
  /** Each build from its slot on; the replay has slots of its own. */
  readonly builds: readonly number[];
}

export function leads(store: Store, pool: PoolConfig): Lead {
  const builds = store.builds(pool.name).flatMap(({ ok, machine, endedAt }) => {
    const begun = store.machineStates(machine).find(({ state }) => state === "creating");
    return ok && begun ? [endedAt - begun.at] : [];
  });
  return { planMs: measuredLead(store, pool).planMs, builds: builds.length > 0 ? builds : [assumedLeadMs] };
}

/** The same pool in the simulator: sized by what the daemon chose, told of the same customers before, filled as late. */
export function predicted(
  store: Store,
  pool: PoolConfig,
  record: {
    /** Epoch ms, ascending. */
    readonly claims: Float64Array;
    readonly span: Day & { readonly fillFrom: number };
    readonly lead: Lead;
    readonly slots: number;
  },
): Outcome {
  const { claims, lead, slots } = record;
  const { from, to, fillFrom } = record.span;
  const first = claims.findIndex((at) => at >= fillFrom - memoryMs);
  const since = claims[first] ?? fillFrom;
  const chosen = keptChoice(store, pool)?.policy ?? null;
  const policy = createPolicy(pool, { since, eurPerHour: null, chosen });
  const later = claims.findIndex((at) => at >= fillFrom);
  for (const at of claims.subarray(first, later)) policy.claim({ at, hit: true });
  let next = 0;
  const outcome = replay({
    ...{ claims: claims.subarray(later), from: fillFrom, to, scoreFrom: from, slots, tickMs, policy },
    ...{ leadMs: lead.planMs, maxTotal: pool.maxTotal, buildsPerMinute: pool.maxBuildsPerMinute },
    nextBuild: () => ({ ms: lead.builds[next++ % lead.builds.length] ?? lead.planMs, failed: false }),
  });
  return {
    ...{ claims: outcome.claims, hits: outcome.claims - outcome.misses },
    ...{ idleHours: outcome.idleHours, paidHours: outcome.paidHours, built: outcome.built },
    ...{ wasted: outcome.wasted, missedWaitMs: middle(outcome.waits) },
  };
}
