/**
 * Which policy reaches a hit share for the least money: what each would have come to over the pool's own last weeks. The
 * share has to be proved, not only seen: with few claims a lucky setting looks as good as a safe one.
 */
import type { Calendar } from "../forecast/calendar.ts";
import { hourMs } from "../forecast/calendar.ts";
import { missShareBound } from "../forecast/distributions.ts";
import { adaptivePolicy } from "../policy/adaptive.ts";
import { factorPolicy } from "../policy/factor.ts";
import type { SizingPolicy } from "../policy/policy.ts";
import { staticPolicy } from "../policy/static.ts";
import type { RefillRules } from "./brakes.ts";
import { RecordedForecast } from "./recorded.ts";
import { type ReplayOptions, replay } from "./replay.ts";
import type { Trace } from "./trace.ts";

/** What can be chosen. */
export type Setting =
  | { readonly kind: "static"; readonly ready: number }
  | { readonly kind: "factor"; readonly scale: number }
  | { readonly kind: "adaptive"; readonly worthHours: number; readonly holdMs: number };

export interface Trial {
  readonly setting: Setting;
  readonly claims: number;
  readonly misses: number;
  readonly hitShare: number;
  /** What the share is at least, 95 % sure (Clopper and Pearson). */
  readonly atLeast: number;
  readonly idlePerClaim: number;
  /** Hours that are billed for the pool within the scored time. */
  readonly paidHours: number;
}

export interface Choice {
  readonly hitShare: number;
  /** Null: nothing proves the share; until then `adaptive` is to find its price by its own misses. */
  readonly chosen: Trial | null;
  /** The best static number that proves it too, to compare with; null when none does. */
  readonly bestStatic: Trial | null;
  /** In words, with the bound; a warning when the history is too short. */
  readonly why: string;
}

export interface Record {
  /** Claims and the span in which each was seen. */
  readonly trace: Pick<Trace, "claims" | "from" | "to">;
  /** Epoch ms from which on it is scored; what is before is for learning. */
  readonly scoreFrom: number;
  readonly leadMs: number;
  readonly nextBuild?: () => ReturnType<ReplayOptions["nextBuild"]>;
  readonly rules: RefillRules;
  /** The pool's floors, campaigns and bounds over a policy. */
  readonly within?: (policy: SizingPolicy) => SizingPolicy;
}

/** As the daemon looks when nothing happens. */
const tickMs = 300_000;
/** The pool is empty at first: so long before the scored time it begins to fill. */
const fillMs = 24 * hourMs;
/** A shorter time has not seen each weekday often enough to be taken for the next. */
const leastScoredMs = 28 * 24 * hourMs;
const mostStatic = 60;
const scales = [0.5, 1, 2, 3];
const holdsMs = [0, hourMs, 4 * hourMs];
/** Prices that are tried, in idle hours for one warm claim. */
const worths = Array.from({ length: 48 }, (_, index) => 10 * 1.25 ** index);
const mostWorth = worths.at(-1) ?? 1;

/** What candidates came to; each is run once, whatever shares are asked for. */
export class Trials {
  readonly #record: Record;
  readonly #forecast: RecordedForecast;
  readonly #known = new Map<string, Trial>();

  /** @param forecast when it is known already; it may begin before the record */
  constructor(
    record: Record,
    forecast: { readonly calendar: Calendar } | { readonly recorded: RecordedForecast },
  ) {
    this.#record = record;
    const { trace, leadMs } = record;
    this.#forecast =
      "recorded" in forecast
        ? forecast.recorded
        : new RecordedForecast(trace, { calendar: forecast.calendar, leadMs, mostWorth });
  }

  /** Scored, whatever the candidate. */
  get claims(): number {
    const { trace, scoreFrom } = this.#record;
    const first = trace.claims.findIndex((at) => at >= scoreFrom);
    return first < 0 ? 0 : trace.claims.length - first;
  }

  get scoredMs(): number {
    return this.#record.trace.to - this.#record.scoreFrom;
  }

  of(setting: Setting): Trial {
    const key = JSON.stringify(setting);
    const known = this.#known.get(key);
    if (known) return known;
    const trial = this.#run(setting);
    this.#known.set(key, trial);
    return trial;
  }

  #run(setting: Setting): Trial {
    const { trace, scoreFrom, leadMs, rules, nextBuild, within = (policy) => policy } = this.#record;
    const from = Math.max(trace.from, scoreFrom - fillMs);
    const first = trace.claims.findIndex((at) => at >= from);
    const result = replay({
      ...{ ...rules, from, to: trace.to, scoreFrom, leadMs, tickMs },
      claims: trace.claims.subarray(first < 0 ? trace.claims.length : first),
      policy: within(policyOf(setting, this.#forecast)),
      nextBuild: nextBuild ?? (() => ({ ms: leadMs, failed: false })),
    });
    const { claims, misses, idleHours, paidHours } = result;
    return {
      ...{ setting, claims, misses, paidHours, idlePerClaim: idleHours / Math.max(1, claims) },
      ...{ hitShare: claims === 0 ? 1 : 1 - misses / claims, atLeast: 1 - missShareBound(misses, claims) },
    };
  }
}

/** @param forecast heard from the begin of its record on */
export function policyOf(setting: Setting, forecast: Pick<RecordedForecast, "demand">): SizingPolicy {
  switch (setting.kind) {
    case "static":
      return staticPolicy(setting.ready);
    case "factor":
      return factorPolicy({ factor: setting.scale, windowMs: hourMs });
    case "adaptive": {
      const { worthHours, holdMs } = setting;
      return adaptivePolicy({ demand: forecast.demand(), goal: { worthHours }, holdMs });
    }
  }
}

/** @param hitShare asked, 0–1 */
export function chooseByReplay(trials: Trials, hitShare: number): Choice {
  const proves = ({ atLeast }: Trial) => atLeast >= hitShare;
  const { claims, scoredMs } = trials;
  if (scoredMs < leastScoredMs) {
    const [days, least] = [scoredMs, leastScoredMs].map((ms) => Math.floor(ms / hourMs / 24));
    const why = `${days} days are too short a history to promise ${percent(hitShare)}: it takes ${least}`;
    return { hitShare, chosen: null, bestStatic: null, why };
  }
  const best = 1 - missShareBound(0, claims);
  if (best < hitShare) {
    const needed = Math.ceil(Math.log(0.05) / Math.log(hitShare));
    const why = `${claims} claims are too few to promise ${percent(hitShare)}: without a single miss they prove ${percent(best)}, it takes ${needed}`;
    return { hitShare, chosen: null, bestStatic: null, why };
  }
  const ascending = (settings: readonly Setting[]) => firstThat(settings, (each) => proves(trials.of(each)));
  const statics = Array.from({ length: mostStatic + 1 }, (_, ready) => ({ kind: "static", ready }) as const);
  const bestStatic = ascending(statics).map((setting) => trials.of(setting))[0] ?? null;
  const found = [
    ...ascending(scales.map((scale) => ({ kind: "factor", scale }))),
    ...holdsMs.flatMap((holdMs) =>
      ascending(worths.map((worthHours) => ({ kind: "adaptive", worthHours, holdMs }))),
    ),
  ].map((setting) => trials.of(setting));
  const proved = [...found, ...(bestStatic ? [bestStatic] : [])].filter(proves);
  const [chosen] = proved.sort((a, b) => a.paidHours - b.paidHours || a.idlePerClaim - b.idlePerClaim);
  if (!chosen) {
    const why = `no candidate proves ${percent(hitShare)} over these ${claims} claims`;
    return { hitShare, chosen: null, bestStatic, why };
  }
  const other =
    bestStatic && chosen !== bestStatic
      ? `; a static number that proves it, ${named(bestStatic.setting)}, pays ${Math.round(100 * (bestStatic.paidHours / chosen.paidHours - 1))} % more hours`
      : "";
  const why = `${named(chosen.setting)}: ${percent(chosen.hitShare)} of ${claims} claims, 95 % sure at least ${percent(chosen.atLeast)}${other}`;
  return { hitShare, chosen, bestStatic, why };
}

/**
 * The first of ascending settings for which it holds, and the one before where the share wobbles; by halving, because
 * more machines seldom miss more.
 */
function firstThat<T>(settings: readonly T[], holds: (setting: T) => boolean): T[] {
  let [low, high] = [-1, settings.length];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (holds(settings[middle] as T)) high = middle;
    else low = middle;
  }
  const near = settings.slice(Math.max(0, high - 3), high + 1);
  return near.filter(holds);
}

function named(setting: Setting): string {
  switch (setting.kind) {
    case "static":
      return `static ${setting.ready}`;
    case "factor":
      return `factor ${setting.scale} over an hour`;
    case "adaptive": {
      const held = setting.holdMs === 0 ? "" : `, surplus held ${setting.holdMs / hourMs} h`;
      return `adaptive, ${Math.round(setting.worthHours)} idle hours for a warm claim${held}`;
    }
  }
}

/** A bound is never rounded up. */
const percent = (share: number): string => `${Number((Math.floor(share * 1e5) / 1e3).toFixed(3))} %`;
