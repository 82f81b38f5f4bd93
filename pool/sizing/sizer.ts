/**
 * Asks each pool's policy how many warm machines it wants, and tells it what happened: payments from the store, in their
 * order, also those of before the daemon's start. Nothing of it is kept but in the store; asked twice at the same moment
 * it says the same.
 */
import { type Clock, dayMs } from "../clock.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import type { Checkout, Demand, Store } from "../store/store.ts";
import { createCalendar } from "./forecast/calendar.ts";
import { Mixture } from "./forecast/mixture.ts";
import { keptChoice } from "./kept-choice.ts";
import { type LeadTime, measuredLead } from "./lead-time.ts";
import { type Outlook, outlookOf } from "./outlook.ts";
import type { ChosenPolicy } from "./policy/chosen.ts";
import { createPolicy, isFixed } from "./policy/create.ts";
import type { Guarded, GuardedPolicy } from "./policy/guards.ts";
import type { Claim } from "./policy/policy.ts";
import { priceOf } from "./price.ts";
import { learnedFrom, learnPaying, type Paying, type Reservations, reservations } from "./reservations.ts";
import type { Share } from "./share.ts";
import { shareBetween } from "./shared-budget.ts";
import { minReadyOf, type TargetOf } from "./target.ts";

/** Older payments are forgotten: half of what the season remembers is five weeks old. */
export const memoryMs = 26 * 7 * dayMs;

/** A clock that was set back by more than this: what was learned begins anew, with what is known at that time. */
const longestStepBackMs = 600_000;

export interface Decision {
  readonly wanted: Guarded;
  readonly lead: LeadTime;
  /** Null while too few checkouts have ended to learn from. */
  readonly open: Reservations | null;
  /** What it gets of what all pools share. */
  readonly share: Share;
}

export interface Sizer {
  readonly target: TargetOf;
  /** With its reasons; also of a pool that keeps `min_ready` and nothing else. */
  decide(pool: PoolConfig): Decision;
  /** What is expected of the pool's customers. */
  outlook(pool: PoolConfig): Outlook;
}

/** How long a share counts, in ms: what all pools want is worked out once for all of them. */
const shareLastsMs = 1_000;

interface Kept {
  /** What the policy was made of. */
  readonly key: string;
  readonly policy: GuardedPolicy;
  /** Epoch ms since when every payment is known. */
  readonly since: number;
  /** Made when somebody asks for the outlook. */
  mixture: Mixture | null;
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

  /** Tells of each payment of the pool since then, in order. @returns seq of the last of all */
  function tell(pool: PoolConfig, since: number, now: number, claim: (claim: Claim) => void): number {
    const rows = store.demand({ since: now - memoryMs });
    let at = since;
    for (const row of rows) {
      if (poolOf(config(), row) !== pool.name) continue;
      // Clocks are set back and forth; a claim is never before the one that was accepted before it, nor behind now.
      at = Math.min(Math.max(at, row.at), now);
      claim({ at, hit: row.pool !== null });
    }
    return rows.at(-1)?.seq ?? 0;
  }

  function learn(
    pool: PoolConfig,
    key: string,
    eurPerHour: number | null,
    chosen: ChosenPolicy | null,
    now: number,
    leadMs: number,
  ): Kept {
    const first = store.demand({ since: now - memoryMs }).find((row) => poolOf(config(), row) === pool.name);
    const since = watchedSince(pool, first?.at, now);
    const policy = createPolicy(pool, { since, eurPerHour, chosen });
    const { sizing } = pool;
    const forecasts = chosen?.kind === "adaptive" ? chosen : sizing.policy === "adaptive" ? sizing : null;
    const heldFrom = now - (forecasts?.holdMs ?? 0);
    const fed = tell(pool, since, now, (claim) => {
      policy.claim(claim);
      // What was wanted of late is held on to, also over a restart.
      if (claim.at >= heldFrom) policy.wanted({ now: claim.at, leadMs });
    });
    return { key, policy, since, mixture: null, fed, at: now };
  }

  /** Told of everything up to now. */
  function upToDate(pool: PoolConfig, now: number, leadMs: number): Kept {
    const { minReady, maxReady, maxTotal, sizing } = pool;
    const price = priceOf(store, pool);
    const eurPerHour = price.known ? price.price.hourly.net : null;
    const chosen = keptChoice(store, pool)?.policy ?? null;
    const key = JSON.stringify([minReady, maxReady, maxTotal, sizing, eurPerHour, chosen]);
    let own = kept.get(pool.name);
    if (own?.key !== key || now < own.at - longestStepBackMs || now > own.at + memoryMs) {
      own = learn(pool, key, eurPerHour, chosen, now, leadMs);
      kept.set(pool.name, own);
    }
    for (const row of store.demand({ after: own.fed })) {
      own.fed = row.seq;
      if (row.at < now - memoryMs || poolOf(config(), row) !== pool.name) continue;
      own.at = Math.min(Math.max(own.at, row.at), Math.max(own.at, now));
      own.policy.claim({ at: own.at, hit: row.pool !== null });
      own.mixture?.claim(own.at);
    }
    own.at = Math.max(own.at, now);
    return own;
  }

  function ask(pool: PoolConfig): Omit<Decision, "share"> {
    const now = clock.now();
    const lead = measuredLead(store, pool);
    const open = openOf(pool, now, lead.planMs);
    const { policy } = upToDate(pool, now, lead.planMs);
    return { wanted: policy.wanted({ now, leadMs: lead.planMs, open }), lead, open };
  }

  function outlook(pool: PoolConfig): Outlook {
    const now = clock.now();
    const { planMs } = measuredLead(store, pool);
    const own = upToDate(pool, now, planMs);
    if (!own.mixture) {
      const mixture = new Mixture(createCalendar(pool.sizing.timeZone), own.since);
      tell(pool, own.since, now, ({ at }) => mixture.claim(at));
      own.mixture = mixture;
    }
    return outlookOf(own.mixture, openOf(pool, now, planMs), now, planMs);
  }

  let shares: { readonly at: number; readonly of: Config; readonly by: ReadonlyMap<string, Share> } | null =
    null;

  /** Null where nothing is shared: one pool that no spend bounds is bounded by its own numbers. */
  function shareOf(pool: PoolConfig): Share | null {
    const [now, of] = [clock.now(), config()];
    if (of.pools.length === 1 && of.maxSpendPerDay === null) return null;
    const isFresh = shares?.of === of && now >= shares.at && now < shares.at + shareLastsMs;
    if (!shares || !isFresh)
      shares = { at: now, of, by: shareBetween({ store, config: of, now, ask, outlook }) };
    return shares.by.get(pool.name) ?? null;
  }

  return {
    outlook,
    decide(pool) {
      const decision = ask(pool);
      const share = shareOf(pool) ?? { machines: decision.wanted.target, cutBy: null };
      return { ...decision, share };
    },
    target(pool) {
      const share = shareOf(pool);
      const cut = share?.cutBy == null ? Number.POSITIVE_INFINITY : share.machines;
      if (isFixed(pool.sizing)) {
        const fixed = minReadyOf(pool);
        // Fewer are built; what a person's number keeps is not taken from the pool.
        return { ...fixed, target: Math.min(fixed.target, cut), cutBy: share?.cutBy ?? null };
      }
      const { target, keep } = ask(pool).wanted;
      const cutBy = share?.cutBy ?? null;
      return { target: Math.min(target, cut), keep: Math.min(keep, cut), atOnce: false, cutBy };
    },
  };
}
