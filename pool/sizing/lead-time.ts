/** How long a machine takes from intent to ready, as measured on this installation. */
import { hourMs } from "../clock.ts";
import type { PoolConfig } from "../config/config.ts";
import { countedBuilds } from "../refill/budget.ts";
import type { Build, Store } from "../store/store.ts";

/** Enough to be steady, few enough to follow a new image within a day. */
const newest = 20;

/** Median build time of a plan's newest machines in milliseconds; null before the first. */
export function leadTimeMs(store: Store, plan: string): number | null {
  const times = store.buildTimes({ plan }, newest).sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? null;
}

/** What a pool is planned with before a build was measured: a small VM that is prepared over SSH. */
export const assumedLeadMs = 300_000;

/** No pool is planned for longer; what a build that hung took says nothing of the next. */
const longestLeadMs = 2 * hourMs;

export interface Spread {
  /** Milliseconds. */
  readonly p50: number;
  readonly p90: number;
  readonly builds: number;
}

export interface LeadTime {
  /** What the pool is planned with, ms: the measured p90, or `assumedLeadMs`. */
  readonly planMs: number;
  /** Null before the first build. */
  readonly measured: Spread | null;
  readonly byLocation: Readonly<Record<string, Spread>>;
}

/**
 * Of the pool's newest builds. A build that failed costs the pool its own time, the pause behind it and the time of the
 * build that is tried instead: that one counts from when the first of them was begun.
 */
export function measuredLead(
  store: Pick<Store, "builds" | "refill">,
  pool: Pick<PoolConfig, "name" | "failureBudget">,
): LeadTime {
  const leads = leadsOf(countedBuilds(store, pool.name, 0), pool.failureBudget.longestPauseMs);
  const measured = spreadOf(leads);
  const locations = [...new Set(leads.map(({ location }) => location))].sort();
  const byLocation = locations.flatMap((location) => {
    const spread = spreadOf(leads.filter((lead) => lead.location === location));
    return spread ? [[location, spread] as const] : [];
  });
  return {
    planMs: measured === null ? assumedLeadMs : Math.min(measured.p90, longestLeadMs),
    measured,
    byLocation: Object.fromEntries(byLocation),
  };
}

interface Lead {
  readonly ms: number;
  readonly location: string;
}

/** @param longestPauseMs a build that is begun later than this behind a failure is not tried instead of it */
export function leadsOf(builds: readonly Build[], longestPauseMs: number): Lead[] {
  const leads: Lead[] = [];
  /** Failed builds whose successor is not known yet. */
  let lost: { readonly endedAt: number; readonly since: number }[] = [];
  for (const build of [...builds].sort((a, b) => a.startedAt - b.startedAt)) {
    // Waited for a person, or for demand: no part of a lead time.
    lost = lost.filter(({ endedAt }) => endedAt > build.startedAt - longestPauseMs);
    const index = lost.findIndex(({ endedAt }) => endedAt <= build.startedAt);
    const [before] = index < 0 ? [] : lost.splice(index, 1);
    const since = before?.since ?? build.startedAt;
    const ms = build.endedAt - since;
    if (!build.ok) lost.push({ endedAt: build.endedAt, since });
    // A clock that was set back in between makes it nothing.
    else if (ms > 0) leads.push({ ms, location: build.location });
  }
  return leads;
}

function spreadOf(leads: readonly Lead[]): Spread | null {
  const times = leads.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0;
  return times.length === 0 ? null : { p50: at(0.5), p90: at(0.9), builds: times.length };
}
