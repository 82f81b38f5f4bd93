/** What a change of the configuration means in machines and money: by its bounds, and by own history where there is enough. */
import { dayMs } from "../../clock.ts";
import type { Config, PoolConfig } from "../../config/config.ts";
import type { ReadableStore } from "../../store/reading.ts";
import { priceOf } from "../price.ts";
import { configured, percent, policyText } from "../replay/candidates.ts";
import { monthHours, tryOut } from "../replay/experiment.ts";
import { NoHistoryError, ownHistory, setting } from "../replay/setting.ts";

/** Of one pool under one configuration. */
export interface Sized {
  /** The policy in a few words. */
  readonly policy: string;
  /** Warm machines that it may keep. */
  readonly least: number;
  readonly most: number;
  /** What those cost a month, net; null while the price is not known. */
  readonly leastCost: number | null;
  readonly mostCost: number | null;
  /** Over the last weeks; null when they say too little. */
  readonly expected: Expected | null;
}

export interface Expected {
  readonly claims: number;
  readonly hitShare: number;
  readonly costAMonth: number | null;
}

export interface PoolEffect {
  readonly pool: string;
  /** Null: there was, or will be, no such pool. */
  readonly before: Sized | null;
  readonly after: Sized | null;
  /** ISO 4217; null while the price is not known. */
  readonly currency: string | null;
}

/** What is replayed: half of what a season remembers. */
const historyMs = 8 * 7 * dayMs;
/** Fewer claims than this, or fewer days, foretell nothing. */
const fewestClaims = 50;
const fewestMs = 14 * dayMs;

/**
 * Of the pools whose size or price is another.
 *
 * @param now epoch ms; null leaves the replay of own history out, which takes seconds
 */
export function effectOf(
  before: Config | null,
  after: Config,
  store: ReadableStore | null,
  now: number | null,
): PoolEffect[] {
  const names = [...new Set([...(before?.pools ?? []), ...after.pools].map(({ name }) => name))];
  return names.flatMap((name) => {
    const [old, next] = [before, after].map(
      (config) => config?.pools.find((pool) => pool.name === name) ?? null,
    );
    if (key(before, old) === key(after, next)) return [];
    const size = (config: Config | null, pool: PoolConfig | null | undefined) =>
      config && pool ? sized(config, pool, store, now) : null;
    const currency = store?.prices()?.currency ?? null;
    return [{ pool: name, before: size(before, old), after: size(after, next), currency }];
  });
}

/** Everything that the number of machines, or what they cost, hangs on. */
const key = (config: Config | null, pool: PoolConfig | null | undefined): string =>
  JSON.stringify([
    ...[pool?.minReady, pool?.maxReady, pool?.maxTotal, pool?.maxBuildsPerMinute, pool?.sizing],
    ...[pool?.serverType, pool?.locations[0], pool?.failureBudget, pool && config?.maxParallelBuilds],
  ]);

function sized(config: Config, pool: PoolConfig, store: ReadableStore | null, now: number | null): Sized {
  const price = store && priceOf(store, pool);
  const perMonth = price?.known ? price.price.hourly.net * monthHours : null;
  const { least, most } = bounds(pool);
  const cost = (machines: number) => (perMonth === null ? null : machines * perMonth);
  return {
    ...{ policy: policyText(pool), least, most, leastCost: cost(least), mostCost: cost(most) },
    expected: store && now !== null ? expected(config, pool, store, now) : null,
  };
}

/** The fewest and the most warm machines that a policy can want, whatever the customers do. */
export function bounds(pool: PoolConfig): { readonly least: number; readonly most: number } {
  const { sizing, minReady } = pool;
  const maxReady = pool.maxReady ?? pool.maxTotal;
  const added = sizing.campaigns.reduce((sum, { add }) => sum + add, 0);
  const floor = Math.max(minReady, ...sizing.floors.map(({ ready }) => ready));
  const within = (count: number, atLeast: number) => Math.min(Math.max(count, atLeast), maxReady);
  const of = (fewest: number, greatest: number) => ({
    least: within(fewest, minReady),
    most: within(greatest + added, floor),
  });
  switch (sizing.policy) {
    case "static": {
      const ready = sizing.ready ?? minReady;
      return of(ready, ready);
    }
    case "schedule":
      return of(0, Math.max(0, ...sizing.windows.map(({ ready }) => ready)));
    case "factor":
      return of(0, sizing.atMost ?? maxReady);
    case "adaptive":
      return of(0, maxReady);
  }
}

function expected(config: Config, pool: PoolConfig, store: ReadableStore, now: number): Expected | null {
  try {
    const trace = ownHistory(store, config, pool, { since: now - historyMs, now });
    if (trace.claims.length < fewestClaims || trace.to - trace.from < fewestMs) return null;
    const { experiment } = setting(pool, config, trace, store, null);
    const { claims, hitShare, costAMonth } = tryOut(configured(pool.name, pool, experiment), experiment);
    return { claims, hitShare, costAMonth };
  } catch (error) {
    if (error instanceof NoHistoryError) return null;
    throw error;
  }
}

/** One line for a person: `small-eu: static 3 → adaptive for 99 %; 3 → 0 to 10 machines, EUR 17.52 → 0.00 to 58.40 a month`. */
export function effectText({ pool, before, after, currency }: PoolEffect): string {
  const both = (text: (side: Sized) => string) =>
    [...new Set([before, after].map((side) => (side ? text(side) : "none")))].join(" → ");
  const range = (least: string, most: string) => (least === most ? least : `${least} to ${most}`);
  const machines = both(({ least, most }) => range(String(least), String(most)));
  const costs = both(({ leastCost, mostCost }) =>
    leastCost === null || mostCost === null ? "unknown" : range(leastCost.toFixed(2), mostCost.toFixed(2)),
  );
  const money = currency === null ? "price unknown" : `${currency} ${costs} a month`;
  const replayed = both(({ expected: found }) => {
    if (!found) return "too little to say";
    const cost =
      found.costAMonth === null || currency === null
        ? "price unknown"
        : `${currency} ${found.costAMonth.toFixed(2)}`;
    return `${cost} at a hit share of ${percent(found.hitShare)} (${found.claims} claims)`;
  });
  const known = before?.expected || after?.expected;
  const history = known ? `; by own history ${replayed}` : "";
  return `${pool}: ${both(({ policy }) => policy)}; ${machines} machines to keep, ${money}${history}`;
}
