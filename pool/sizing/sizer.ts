/**
 * Asks each pool's policy how many warm machines it wants, and tells it what happened: payments from the store, in their
 * order, also those of before the daemon's start. Nothing of it is kept but in the store; asked twice at the same moment
 * it says the same.
 */
import type { Clock } from "../clock.ts";
import { machinePrice, type PriceAnswer } from "../cloud/prices.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import type { Checkout, Demand, Store } from "../store/store.ts";
import { type LeadTime, measuredLead } from "./lead-time.ts";
import { createPolicy, isFixed } from "./policy/create.ts";
import type { Guarded, GuardedPolicy } from "./policy/guards.ts";
import { learnedFrom, learnPaying, type Paying, type Reservations, reservations } from "./reservations.ts";
import { minReadyOf, type TargetOf } from "./target.ts";

/** Older payments are forgotten: half of what the season remembers is five weeks old. */
export const memoryMs = 26 * 7 * 86_400_000;

/** A clock that was set back by more than this: what was learned begins anew, with what is known at that time. */
const longestStepBackMs = 600_000;

export interface Decision {
  readonly wanted: Guarded;
  readonly lead: LeadTime;
  /** Null while too few checkouts have ended to learn from. */
  readonly open: Reservations | null;
}

export interface Sizer {
  readonly target: TargetOf;
  /** With its reasons; also of a pool that keeps `min_ready` and nothing else. */
  decide(pool: PoolConfig): Decision;
}

interface Kept {
  /** What the policy was made of. */
  readonly key: string;
  readonly policy: GuardedPolicy;
  /** Seq of the last payment that it was told of. */
  fed: number;
  /** Epoch ms to which it was told everything. */
  at: number;
}

/** The pool whose customer it is: whose machine was taken, else the first of the plan that may build in the region. */
export function poolOf(
  { pools, regions }: Pick<Config, "pools" | "regions">,
  { plan, region, pool }: Pick<Demand, "plan" | "region"> & { readonly pool?: string | null },
): string | null {
  if (pool != null && pools.some(({ name }) => name === pool)) return pool;
  const own = pools.filter((each) => each.plan === plan);
  const there = regions[region] ?? [];
  return (
    (own.find(({ locations }) => locations.some((each) => there.includes(each))) ?? own[0])?.name ?? null
  );
}

/** What one machine of the pool costs where it is built first. */
export const priceOf = (store: Pick<Store, "prices">, { serverType, locations }: PoolConfig): PriceAnswer =>
  machinePrice(store.prices(), { serverType, location: locations[0] ?? "" });

export function createSizer({
  store,
  config,
  clock,
}: {
  readonly store: Store;
  readonly config: () => Config;
  readonly clock: Clock;
}): Sizer {
  const kept = new Map<string, Kept>();
  let paying: { readonly from: readonly Checkout[]; readonly learned: Paying | null } | null = null;

  function openOf(pool: PoolConfig, now: number, leadMs: number): Reservations | null {
    const { open, closed } = store.checkouts(learnedFrom);
    if (paying?.from !== closed) paying = { from: closed, learned: learnPaying(closed) };
    const own = open.filter((checkout) => poolOf(config(), checkout) === pool.name);
    return paying.learned && reservations(paying.learned, own, now, leadMs);
  }

  /** Since when every payment is known: from the first one, or from when the pool was first looked at. */
  function watchedSince(pool: PoolConfig, first: number | undefined, now: number): number {
    const setting = `sizing/since/${pool.name}`;
    const noted = Number(store.setting(setting) ?? Number.NaN);
    if (Number.isNaN(noted)) store.putSetting(setting, String(now));
    const since = Math.min(Number.isNaN(noted) ? now : noted, first ?? now, now);
    return Math.max(since, now - memoryMs);
  }

  function learn(
    pool: PoolConfig,
    key: string,
    eurPerHour: number | null,
    now: number,
    leadMs: number,
  ): Kept {
    const rows = store.demand({ since: now - memoryMs });
    const own = rows.filter((row) => poolOf(config(), row) === pool.name);
    const since = watchedSince(pool, own[0]?.at, now);
    const policy = createPolicy(pool, { since, eurPerHour });
    const { sizing } = pool;
    const heldFrom = sizing.policy === "adaptive" ? now - sizing.holdMs : now;
    let at = since;
    for (const row of own) {
      // Clocks are set back and forth; a claim is never before the one that was accepted before it, nor behind now.
      at = Math.min(Math.max(at, row.at), now);
      policy.claim({ at, hit: row.pool !== null });
      // What was wanted of late is held on to, also over a restart.
      if (at >= heldFrom) policy.wanted({ now: at, leadMs });
    }
    return { key, policy, fed: rows.at(-1)?.seq ?? 0, at: now };
  }

  function policyOf(pool: PoolConfig, now: number, leadMs: number): GuardedPolicy {
    const { minReady, maxReady, maxTotal, sizing } = pool;
    const price = priceOf(store, pool);
    const eurPerHour = price.known ? price.price.hourly.net : null;
    const key = JSON.stringify([minReady, maxReady, maxTotal, sizing, eurPerHour]);
    let own = kept.get(pool.name);
    if (own?.key !== key || now < own.at - longestStepBackMs || now > own.at + memoryMs) {
      own = learn(pool, key, eurPerHour, now, leadMs);
      kept.set(pool.name, own);
    }
    for (const row of store.demand({ after: own.fed })) {
      own.fed = row.seq;
      if (row.at < now - memoryMs || poolOf(config(), row) !== pool.name) continue;
      own.at = Math.min(Math.max(own.at, row.at), Math.max(own.at, now));
      own.policy.claim({ at: own.at, hit: row.pool !== null });
    }
    own.at = Math.max(own.at, now);
    return own.policy;
  }

  function decide(pool: PoolConfig): Decision {
    const now = clock.now();
    const lead = measuredLead(store, pool);
    const open = openOf(pool, now, lead.planMs);
    const policy = policyOf(pool, now, lead.planMs);
    return { wanted: policy.wanted({ now, leadMs: lead.planMs, open }), lead, open };
  }

  return {
    decide,
    target(pool) {
      if (isFixed(pool.sizing)) return minReadyOf(pool);
      const { target, keep } = decide(pool).wanted;
      return { target, keep, atOnce: false };
    },
  };
}
