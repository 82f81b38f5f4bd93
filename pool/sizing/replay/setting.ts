/** What a replay of one pool rests on: whose claims, which lead time, which caps, which price; and what is to be said of it. */
import type { Config, PoolConfig } from "../../config/config.ts";
import { countedBuilds } from "../../refill/budget.ts";
import type { ReadableStore } from "../../store/reading.ts";
import { assumedLeadMs, measuredLead } from "../lead-time.ts";
import { priceOf } from "../price.ts";
import { poolOf } from "../sizer.ts";
import type { CheckoutRecord } from "./checkouts.ts";
import type { Experiment } from "./experiment.ts";
import type { Trace } from "./trace.ts";

export interface Setting {
  readonly experiment: Experiment;
  /** ISO 4217, of the price; null while it is not known. */
  readonly currency: string | null;
  /** What the reader has to know of it. */
  readonly notes: readonly string[];
}

/** Payments whose span says something; from one alone nothing can be learned. */
const fewest = 2;

export class NoHistoryError extends Error {
  override readonly name = "NoHistoryError";
}

/**
 * Own payments for the pool since `since` (epoch ms), as a trace.
 *
 * @throws NoHistoryError when there are none to speak of
 */
export function ownHistory(
  store: Pick<ReadableStore, "demand" | "checkouts">,
  config: Pick<Config, "pools" | "regions">,
  pool: PoolConfig,
  { since, now }: { readonly since: number; readonly now: number },
): Trace {
  const all = store.demand({ since });
  const own = all.filter((row) => poolOf(config, row) === pool.name);
  const [first] = own;
  if (!first || own.length < fewest) {
    const known = own.length === 0 ? "no payment" : "one payment only";
    throw new NoHistoryError(
      `pool ${pool.name} has ${known} since ${new Date(since).toISOString()}: nothing to replay. Take a longer --history, or recorded claims of another time with --trace FILE`,
    );
  }
  const claims = Float64Array.from(own, ({ at }) => at).sort();
  const from = claims[0] ?? since;
  const notes: string[] = [];
  if (own.some(({ at }, index) => at < (own[index - 1]?.at ?? at))) {
    notes.push("the clock was set back in between; payments were put in the order of their times");
  }
  const checkouts = ownCheckouts(store, config, pool, since);
  return { claims, from, to: Math.max(now, claims.at(-1) ?? now), checkouts, notes };
}

function ownCheckouts(
  store: Pick<ReadableStore, "checkouts">,
  config: Pick<Config, "pools" | "regions">,
  pool: PoolConfig,
  since: number,
): CheckoutRecord {
  const { open, closed } = store.checkouts(Number.MAX_SAFE_INTEGER);
  const ended = closed.filter(({ closedAt }) => (closedAt ?? 0) >= since).reverse();
  const own = [...ended, ...open]
    .filter((checkout) => poolOf(config, checkout) === pool.name)
    .sort((a, b) => a.openedAt - b.openedAt);
  return { ended, own };
}

/**
 * @param store null: without one, nothing was measured and no price is known
 * @param leadMs what each build takes instead of what was measured
 */
export function setting(
  pool: PoolConfig,
  config: Config,
  trace: Trace,
  store: ReadableStore | null,
  leadMs: number | null,
): Setting {
  const notes = [...trace.notes];
  const price = store && priceOf(store, pool);
  if (!price) notes.push("price unknown: there is no store with Hetzner's price list (--store)");
  else if (!price.known) notes.push(`price unknown: ${price.reason}`);
  const having = store?.machines({ pool: pool.name, live: true }).filter(({ order }) => order !== null) ?? [];
  if (having.length > 0) {
    notes.push(`${having.length} machines of customers are taken off max_total ${pool.maxTotal}`);
  }
  const perHour = price?.known ? price.price.hourly.net : null;
  const perDay = config.maxSpendPerDay;
  if (perDay !== null) {
    notes.push(
      perHour === null
        ? "max_spend_per_day is left out: without a price it binds nothing"
        : "max_spend_per_day is taken as if this pool's warm machines were all that costs",
    );
  }
  const experiment: Experiment = {
    ...{ claims: trace.claims, from: trace.from, to: trace.to },
    ...(trace.checkouts && { checkouts: trace.checkouts }),
    lead: leadOf(pool, store, leadMs, notes),
    rules: {
      slots: config.maxParallelBuilds,
      maxTotal: Math.max(0, pool.maxTotal - having.length),
      buildsPerMinute: pool.maxBuildsPerMinute,
      failureBudget: pool.failureBudget,
      ...(perDay === null || perHour === null ? {} : { spend: { perDay, perHour } }),
    },
    pricePerHour: perHour,
  };
  return { experiment, currency: price?.known ? (store?.prices()?.currency ?? null) : null, notes };
}

function leadOf(
  pool: PoolConfig,
  store: ReadableStore | null,
  leadMs: number | null,
  notes: string[],
): Experiment["lead"] {
  if (leadMs !== null) return { planMs: leadMs, builds: [] };
  const measured = store && measuredLead(store, pool);
  if (!store || !measured?.measured) {
    notes.push(`no build of this pool was measured: each takes ${assumedLeadMs / 60_000} min (--lead-time)`);
    return { planMs: assumedLeadMs, builds: [] };
  }
  const builds = countedBuilds(store, pool.name, 0)
    .map(({ startedAt, endedAt, ok }) => ({ ms: endedAt - startedAt, failed: !ok }))
    .filter(({ ms }) => ms > 0);
  const failed = builds.filter((build) => build.failed).length;
  notes.push(`builds go as the newest ${builds.length} did, ${failed} of which failed`);
  return { planMs: measured.planMs, builds };
}
