/** Why a pool has the size that it has: numbers for machines to read, and sentences for people. */
import { type Clock, dayMs } from "../clock.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import { isClaimable } from "../machine/machine.ts";
import { buildingStates } from "../refill/budget.ts";
import type { Store } from "../store/store.ts";
import { claimsNeeded, missShareBound } from "./forecast/distributions.ts";
import { askedShare, type KeptChoice, keptChoice } from "./kept-choice.ts";
import type { LeadTime } from "./lead-time.ts";
import type { Guarded } from "./policy/guards.ts";
import { priceOf } from "./price.ts";
import { percent } from "./replay/candidates.ts";
import { monthHours } from "./replay/experiment.ts";
import { expectedFrom } from "./reservations.ts";
import type { Share } from "./share.ts";
import { type Decision, poolOf, type Sizer } from "./sizer.ts";

/** What is called measured: the payments of so long. */
const measuredMs = 12 * 7 * dayMs;

/** Of the pool's payments of the last twelve weeks. */
export interface HitShare {
  readonly claims: number;
  readonly hits: number;
  /** Null before the first payment. */
  readonly share: number | null;
  /** The true share is above this with 95 % confidence (Clopper and Pearson). */
  readonly atLeast: number;
  /** And below this one. */
  readonly atMost: number;
}

export interface PoolPlan {
  readonly pool: string;
  readonly policy: PoolConfig["sizing"]["policy"];
  readonly target: number;
  readonly keep: number;
  /** What the policy alone wants, and what campaigns, open checkouts and bounds made of it. */
  readonly wanted: Guarded;
  readonly share: Share;
  readonly ready: number;
  readonly building: number;
  /** Of them, intents for which nothing was bought yet. */
  readonly notBegun: number;
  readonly waiting: number;
  readonly lead: LeadTime;
  /** Null while too few checkouts have ended to learn from. */
  readonly openCheckouts: { readonly count: number; readonly expected: number } | null;
  readonly ratePerHour: number;
  /** The coming hour against the average hour of the coming week. */
  readonly season: number;
  /** Claims that are expected within one lead time, and the chance (0–1) that more than `target` come. */
  readonly expectedInLead: number;
  readonly chanceOfMore: number;
  /** One machine more: claims a day that only it would serve at once, and what its idle time costs a day. */
  readonly next: { readonly claimsPerDay: number; readonly idlePerDay: number | null };
  readonly price:
    | { readonly known: true; readonly currency: string; readonly hourly: number; readonly month: number }
    | { readonly known: false; readonly reason: string };
  readonly measured: HitShare;
  /** Whether the history is long enough for what is asked; null where no share is asked. */
  readonly promise: {
    readonly asked: number;
    /** Own payments prove it. */
    readonly kept: boolean;
    /** Own payments prove that it is missed. */
    readonly missed: boolean;
    readonly claimsNeeded: number;
  } | null;
  /** What a replay of own history said of the asked share; null before the first, and where no share is asked. */
  readonly choice: Omit<KeptChoice, "basis" | "hitShare" | "leadMs"> | null;
  readonly words: readonly string[];
}

interface Explained {
  readonly store: Store;
  readonly config: Config;
  readonly clock: Clock;
  readonly sizer: Sizer;
}

export function hitShareOf(
  store: Pick<Store, "demand">,
  config: Config,
  pool: string,
  now: number,
): HitShare {
  const own = store.demand({ since: now - measuredMs }).filter((row) => poolOf(config, row) === pool);
  const hits = own.filter((row) => row.pool !== null).length;
  const claims = own.length;
  const atLeast = 1 - missShareBound(claims - hits, claims);
  const atMost = missShareBound(hits, claims);
  return { claims, hits, share: claims === 0 ? null : hits / claims, atLeast, atMost };
}

export function planOf(pool: PoolConfig, { store, config, clock, sizer }: Explained): PoolPlan {
  const now = clock.now();
  const decision = sizer.decide(pool);
  const { target, keep } = sizer.target(pool);
  const outlook = sizer.outlook(pool);
  const { serves, idles } = outlook.margin(target);
  const live = store.machines({ live: true }).filter((machine) => machine.pool === pool.name);
  const building = live.filter(({ state, readyAt }) => readyAt === null && buildingStates.includes(state));
  const price = priceOf(store, pool);
  const { open } = decision;
  const measured = hitShareOf(store, config, pool.name, now);
  const plan: Omit<PoolPlan, "words"> = {
    ...{ pool: pool.name, policy: pool.sizing.policy, target, keep },
    ...{ wanted: decision.wanted, share: decision.share, lead: decision.lead },
    ready: live.filter(isClaimable).length,
    building: building.length,
    notBegun: building.filter(({ serverId, state }) => serverId === null && state !== "booting").length,
    waiting: store.queued(pool.plan),
    openCheckouts: open && { count: open.chances.length, expected: expectedFrom(open) },
    ...{ ratePerHour: outlook.ratePerHour, season: outlook.season, expectedInLead: outlook.expected },
    chanceOfMore: Math.max(0, 1 - idles),
    next: {
      claimsPerDay: serves * 24,
      idlePerDay: price.known ? idles * 24 * price.price.hourly.net : null,
    },
    price: price.known
      ? {
          ...{ known: true, currency: store.prices()?.currency ?? "EUR", hourly: price.price.hourly.net },
          month: Math.min(price.price.monthly.net, price.price.hourly.net * monthHours) * target,
        }
      : { known: false, reason: price.reason },
    measured,
    promise: promiseOf(pool, measured),
    choice: choiceOf(store, pool),
  };
  return { ...plan, words: inWords(plan, pool, decision) };
}

function choiceOf(store: Pick<Store, "setting">, pool: PoolConfig): PoolPlan["choice"] {
  const kept = keptChoice(store, pool);
  if (!kept) return null;
  const { at, policy, claims, atLeast, why } = kept;
  return { at, policy, claims, atLeast, why };
}

function promiseOf(pool: PoolConfig, { claims, atLeast, atMost }: HitShare): PoolPlan["promise"] {
  const asked = askedShare(pool);
  if (asked === null) return null;
  const needed = claimsNeeded(asked);
  // Before that the first misses are those of a pool that begins.
  const missed = claims >= needed && atMost < asked;
  return { asked, kept: atLeast >= asked, missed, claimsNeeded: needed };
}

const few = (value: number): string => String(Number(value.toPrecision(2)));
const minutes = (ms: number): string => `${few(ms / 60_000)} min`;

function* reasonsOf(
  plan: Omit<PoolPlan, "words">,
  pool: PoolConfig,
  { wanted }: Decision,
): Generator<string> {
  const { why } = wanted;
  if (why.kind === "static")
    yield `It keeps ${wanted.asked}, as ${plan.choice?.policy ? "chosen" : "configured"}.`;
  if (why.kind === "schedule")
    yield why.open.length === 0
      ? "No window of its schedule is open."
      : `Windows that are open or open within a lead time: ${why.open.join("; ")}.`;
  if (why.kind === "factor")
    yield `${why.claims} payments within ${minutes(why.windowMs)} call for ${wanted.asked}.`;
  if (why.kind === "priced")
    yield `One warm claim may cost ${few(why.worthHours)} idle hours; the forecast alone calls for ${wanted.asked}.`;
  for (const name of wanted.campaigns) yield `Campaign ${name} adds to it.`;
  if (wanted.reserved > 0) yield `Open checkouts add ${wanted.reserved}.`;
  if (wanted.bound !== null) yield `${wanted.bound} decides: ${wanted.target}.`;
  const { cutBy, machines } = plan.share;
  if (cutBy !== null)
    yield `${cutBy} of all pools leaves it ${machines} of ${wanted.target}: other machines save more.`;
  if (pool.sizing.policy === "adaptive" && "valueEur" in pool.sizing.goal && !plan.price.known)
    yield "Until its price is known it aims at 99 % of claims.";
}

function choiceInWords({ promise, choice }: Omit<PoolPlan, "words">): string | null {
  if (!promise) return null;
  if (!choice) return "Own history was not replayed yet; the price is found by own misses.";
  if (choice.policy) return `Chosen by a replay of own history: ${choice.why}.`;
  return `A replay of own history chose nothing: ${choice.why}. The price is found by own misses.`;
}

function promiseInWords(
  { asked, kept, missed, claimsNeeded }: NonNullable<PoolPlan["promise"]>,
  { atMost }: HitShare,
): string[] {
  if (kept) return [];
  if (missed)
    return [
      `${percent(asked)} are asked and not reached: less than ${percent(atMost)} with 95 % confidence. Payments come in bursts that no forecast sees; \`min_ready\`, a floor or a campaign keeps machines for them.`,
    ];
  return [
    `${percent(asked)} are asked and cannot be promised yet: that takes ${claimsNeeded} payments without a miss, or more with some.`,
  ];
}

function inWords(plan: Omit<PoolPlan, "words">, pool: PoolConfig, decision: Decision): string[] {
  const { lead, price, measured, promise, next, openCheckouts } = plan;
  const measuredLead = lead.measured;
  return [
    ...reasonsOf(plan, pool, decision),
    ...[choiceInWords(plan) ?? []].flat(),
    `${few(plan.ratePerHour)} payments are expected in the next hour, ${few(plan.season)} times the average hour of the week.`,
    measuredLead
      ? `A build takes ${minutes(measuredLead.p50)}, nine of ten at most ${minutes(measuredLead.p90)} (${measuredLead.builds} measured).`
      : `No build was measured yet; ${minutes(lead.planMs)} are assumed.`,
    `Within one, ${few(plan.expectedInLead)} payments are expected; more than ${plan.target} come with a chance of ${percent(plan.chanceOfMore)}.`,
    openCheckouts
      ? `${openCheckouts.count} open checkouts may be paid by then, ${few(openCheckouts.expected)} are expected to be.`
      : "Too few checkouts have ended to learn from the open ones.",
    `One machine more would serve ${few(next.claimsPerDay)} payments a day at once that now wait${
      next.idlePerDay === null || !price.known
        ? ""
        : `, and stand idle for ${price.currency} ${few(next.idlePerDay)} a day`
    }.`,
    price.known
      ? `${plan.target} that wait cost ${price.currency} ${price.month.toFixed(2)} a month (net).`
      : `Price unknown for ${pool.serverType}: ${price.reason}.`,
    measured.share === null
      ? "Nobody has paid within twelve weeks: nothing is measured."
      : `${measured.hits} of ${measured.claims} payments of twelve weeks found a machine ready (${percent(measured.share)}; more than ${percent(measured.atLeast)} with 95 % confidence).`,
    ...(promise ? promiseInWords(promise, measured) : []),
  ];
}
