/**
 * Which policy reaches a hit share for the least money: what each would have come to over the pool's own last weeks. The
 * share has to be proved, not only seen: with few claims a lucky setting looks as good as a safe one.
 */
import { dayMs, hourMs } from "../../clock.ts";
import type { Calendar } from "../forecast/calendar.ts";
import { claimsNeeded, missShareBound } from "../forecast/distributions.ts";
import { type ChosenPolicy, chosenPolicy, chosenText } from "../policy/chosen.ts";
import { type Sized, withinGuards } from "../policy/create.ts";
import type { SizingPolicy } from "../policy/policy.ts";
import type { RefillRules } from "./brakes.ts";
import type { CheckoutRecord } from "./checkouts.ts";
import { drawn, type Experiment } from "./experiment.ts";
import { RecordedForecast } from "./recorded.ts";
import { replay, tickMs } from "./replay.ts";
import type { Trace } from "./trace.ts";

export interface Trial {
  readonly setting: ChosenPolicy;
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
  /** Claims that were scored. */
  readonly claims: number;
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
  /** Epoch ms from which on the pool is filled; a day before it is scored when absent. */
  readonly fillFrom?: number;
  readonly leadMs: number;
  /** Builds as they went, drawn from at random; each takes `leadMs` when absent. */
  readonly builds?: Experiment["lead"]["builds"];
  readonly rules: RefillRules;
  /** Absent where no record of them was kept. */
  readonly checkouts?: CheckoutRecord | undefined;
  /** The pool's floors, campaigns and bounds over a policy of that kind. */
  readonly within?: (policy: SizingPolicy, kind: ChosenPolicy["kind"]) => SizingPolicy;
  /** Static numbers that the pool's bounds leave; 0 to 60 when absent. */
  readonly statics?: { readonly least: number; readonly most: number };
  /** A surplus is kept so long at least, ms; 0 when absent. */
  readonly leastHoldMs?: number;
}

/** What a pool's configuration leaves to choose. */
export function choiceWithin(pool: Sized): Pick<Record, "within" | "statics" | "leastHoldMs"> {
  const { minReady, maxReady, maxTotal, sizing } = pool;
  return {
    // As the daemon has it: adaptive has the open checkouts in its forecast.
    within: (policy, kind) => withinGuards(pool, policy, kind !== "adaptive"),
    statics: { least: minReady, most: maxReady ?? maxTotal },
    leastHoldMs: sizing.policy === "adaptive" ? sizing.holdMs : 0,
  };
}

/** The pool is empty at first: so long before the scored time it begins to fill. */
const fillMs = 24 * hourMs;
/** Older claims are for learning alone: customers change. */
const historyMs = 84 * dayMs;
/** A shorter time has not seen each weekday often enough to be taken for the next. */
const leastScoredMs = 28 * dayMs;
const mostStatic = 60;
const scales = [0.5, 1, 2, 3];
const holdsMs = [0, hourMs, 4 * hourMs];
/** Prices that are tried, in idle hours for one warm claim. */
const worths = Array.from({ length: 48 }, (_, index) => 10 * 1.25 ** index);
const mostWorth = worths.at(-1) ?? 1;

/** What candidates came to; each is run once, whatever shares are asked for. */
export class Trials {
  readonly #record: Record;
  /** Made when the first candidate is tried: it takes seconds. */
  #forecast: RecordedForecast | null = null;
  readonly #recorded: () => RecordedForecast;
  readonly #known = new Map<string, Trial>();

  /** @param forecast when it is known already; it may begin before the record */
  constructor(
    record: Record,
    forecast: { readonly calendar: Calendar } | { readonly recorded: RecordedForecast },
  ) {
    this.#record = record;
    const { trace, leadMs, checkouts } = record;
    this.#recorded = () =>
      "recorded" in forecast
        ? forecast.recorded
        : new RecordedForecast(trace, { calendar: forecast.calendar, leadMs, mostWorth, checkouts });
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

  of(setting: ChosenPolicy): Trial {
    const key = JSON.stringify(setting);
    const known = this.#known.get(key);
    if (known) return known;
    const trial = this.#run(setting);
    this.#known.set(key, trial);
    return trial;
  }

  /** As it is tried: within the pool's bounds, with the forecast of the record. Told of no claim so far. */
  policy(setting: ChosenPolicy): SizingPolicy {
    const { within = (policy) => policy } = this.#record;
    return within(
      chosenPolicy(setting, () => {
        this.#forecast ??= this.#recorded();
        return this.#forecast.demand();
      }),
      setting.kind,
    );
  }

  /** In ascending order, so that one seldom misses more than the one before it. */
  get candidates(): readonly (readonly ChosenPolicy[])[] {
    const { statics = { least: 0, most: mostStatic }, leastHoldMs = 0 } = this.#record;
    const numbers = Math.max(1, Math.min(statics.most, statics.least + mostStatic) - statics.least + 1);
    const holds = [...new Set(holdsMs.map((holdMs) => Math.max(holdMs, leastHoldMs)))];
    return [
      Array.from({ length: numbers }, (_, index) => ({ kind: "static", ready: statics.least + index })),
      scales.map((scale) => ({ kind: "factor", scale })),
      ...holds.map((holdMs) =>
        worths.map((worthHours) => ({ kind: "adaptive", worthHours, holdMs }) as const),
      ),
    ];
  }

  #run(setting: ChosenPolicy): Trial {
    const { trace, scoreFrom, leadMs, rules, checkouts, builds = [] } = this.#record;
    const from = Math.max(trace.from, this.#record.fillFrom ?? scoreFrom - fillMs);
    const first = trace.claims.findIndex((at) => at >= from);
    const result = replay({
      ...{ ...rules, from, to: trace.to, scoreFrom, leadMs, tickMs, checkouts },
      claims: trace.claims.subarray(first < 0 ? trace.claims.length : first),
      policy: this.policy(setting),
      nextBuild: drawn({ planMs: leadMs, builds }),
    });
    const { claims, misses, idleHours, paidHours } = result;
    return {
      ...{ setting, claims, misses, paidHours, idlePerClaim: idleHours / Math.max(1, claims) },
      ...{ hitShare: claims === 0 ? 1 : 1 - misses / claims, atLeast: 1 - missShareBound(misses, claims) },
    };
  }
}

/** From when on a record is scored, epoch ms: its last twelve weeks, after a day for learning at least. */
export const replayedFrom = (from: number, to: number): number =>
  Math.min(Math.max(from + dayMs, to - historyMs), to);

/** @param hitShare asked, 0–1 */
export function chooseByReplay(trials: Trials, hitShare: number): Choice {
  const proves = ({ atLeast }: Trial) => atLeast >= hitShare;
  const { claims, scoredMs } = trials;
  const days = Math.floor(scoredMs / dayMs);
  if (scoredMs < leastScoredMs) {
    const least = leastScoredMs / dayMs;
    const why = `${days} days are too short a history to promise ${atLeastPercent(hitShare)}: it takes ${least}`;
    return { hitShare, claims, chosen: null, bestStatic: null, why };
  }
  const best = 1 - missShareBound(0, claims);
  if (best < hitShare) {
    const needed = claimsNeeded(hitShare);
    const why = `${claims} claims in ${days} days are too few to promise ${atLeastPercent(hitShare)}: without a single miss they prove ${atLeastPercent(best)}, it takes ${needed}`;
    return { hitShare, claims, chosen: null, bestStatic: null, why };
  }
  const proved = trials.candidates.flatMap((settings) =>
    firstThat(settings, (each) => proves(trials.of(each))).map((setting) => trials.of(setting)),
  );
  const bestStatic = proved.find(({ setting }) => setting.kind === "static") ?? null;
  const [chosen] = [...proved].sort((a, b) => a.paidHours - b.paidHours || a.idlePerClaim - b.idlePerClaim);
  if (!chosen) {
    const why = `no candidate proves ${atLeastPercent(hitShare)} over these ${claims} claims`;
    return { hitShare, claims, chosen: null, bestStatic, why };
  }
  const other =
    bestStatic && chosen !== bestStatic
      ? `; a static number that proves it, ${chosenText(bestStatic.setting)}, pays ${Math.round(100 * (bestStatic.paidHours / chosen.paidHours - 1))} % more hours`
      : "";
  const why = `${chosenText(chosen.setting)}: ${atLeastPercent(chosen.hitShare)} of ${claims} claims, 95 % sure at least ${atLeastPercent(chosen.atLeast)}${other}`;
  return { hitShare, claims, chosen, bestStatic, why };
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

/** A bound is never rounded up. */
const atLeastPercent = (share: number): string => `${Number((Math.floor(share * 1e5) / 1e3).toFixed(3))} %`;
