/** The rows of one trace's table. */
import { hourMs } from "../../../pool/clock.ts";
import { createCalendar } from "../../../pool/sizing/forecast/calendar.ts";
import { missShareBound } from "../../../pool/sizing/forecast/distributions.ts";
import { adaptivePolicy } from "../../../pool/sizing/policy/adaptive.ts";
import { factorPolicy } from "../../../pool/sizing/policy/factor.ts";
import type { SizingPolicy } from "../../../pool/sizing/policy/policy.ts";
import { staticPolicy } from "../../../pool/sizing/policy/static.ts";
import { RecordedForecast } from "../../../pool/sizing/replay/recorded.ts";
import type { Trace } from "../../../pool/sizing/replay/trace.ts";
import { atLeast, ewmaPoisson, seasonalPoisson, seasonalQuantile } from "./baselines.ts";
import { cheapest, clairvoyantIdle, Knob, leadMs, type Point, pointOf, score } from "./sweep.ts";

export const levels = [0.99, 0.995, 0.999] as const;

export interface Row {
  readonly name: string;
  /** Idle hours a claim for each level; null where no setting reached it. */
  readonly cells: readonly (number | null)[];
}

/** What came of being asked for a miss share, without hindsight. */
export interface Asked {
  readonly share: number;
  readonly real: number;
  /** 95 % sure that the true miss share is below this. */
  readonly bound: number;
  readonly idle: number;
  readonly claims: number;
  /** 95 % sure that the true miss share is above what was asked. */
  readonly isMissed: boolean;
}

const calendar = createCalendar("UTC");
const mostWorth = 1e6;

export const recordedOf = (trace: Trace): RecordedForecast =>
  new RecordedForecast(trace, { calendar, leadMs, mostWorth });

export const rowNames = {
  static: "static number",
  factor: "GitLab's scale_factor with its floor",
  ewma: "EWMA-Poisson, best of three half-lives",
  season: "hours of the week, Poisson or quantile",
  own: "**clawpool**, surplus goes at the end of its hour",
  held: "clawpool, surplus held for an hour longer",
  clairvoyant: "clairvoyant",
} as const;

export function hindsightRows(trace: Trace, recorded: RecordedForecast): Row[] {
  const run = (policy: SizingPolicy): Point => pointOf(score(trace, policy));
  const row = (name: string, cell: (level: number) => Point | null): Row => ({
    name,
    cells: levels.map((level) => cell(level)?.idle ?? null),
  });
  const statics: Point[] = [];
  const hardest = levels[levels.length - 1] ?? 1;
  while (statics.length < 60 && (statics.at(-1)?.hit ?? 0) < hardest) {
    statics.push(run(staticPolicy(statics.length)));
  }
  const factors = [0, 1, 2, 3, 4, 6, 8, 12].map((floor) => {
    return [0.25, 0.5, 1, 2, 4].map((factor) =>
      run(atLeast(floor, factorPolicy({ factor, windowMs: hourMs }))),
    );
  });
  const odds = (make: (share: number) => SizingPolicy, most = 1e9) =>
    new Knob((odds) => run(make(1 - 1 / odds)), [1.2, most], 1.3);
  const averages = [1, 6, 24].map((hours) => odds((share) => ewmaPoisson(trace.from, hours * hourMs, share)));
  const seasons = [
    odds((share) => seasonalPoisson(calendar, trace.from, share)),
    odds((share) => seasonalQuantile(trace.from, share), 1e4),
  ];
  const best = (knobs: readonly Knob[]) => (level: number) =>
    cheapest(
      knobs.flatMap((knob) => knob.cheapest(level) ?? []),
      level,
    );
  const priced = (holdMs: number) => {
    const make = (worthHours: number) =>
      adaptivePolicy({ demand: recorded.demand(), goal: { worthHours }, holdMs });
    return new Knob((worth) => run(make(worth)), [1, mostWorth], 1.06);
  };
  const [own, held] = [priced(0), priced(hourMs)];
  return [
    row(rowNames.static, (level) => cheapest(statics, level)),
    row(rowNames.factor, (level) => cheapest(factors.flat(), level)),
    row(rowNames.ewma, best(averages)),
    row(rowNames.season, best(seasons)),
    row(rowNames.own, (level) => own.cheapest(level, 8)),
    row(rowNames.held, (level) => held.cheapest(level, 8)),
    { name: rowNames.clairvoyant, cells: levels.map(() => clairvoyantIdle(trace)) },
  ];
}

/** The policy finds its price by its own misses. */
export function askedRows(trace: Trace, recorded: RecordedForecast): Asked[] {
  return levels.map((level) => {
    const missShare = 1 - level;
    const policy = adaptivePolicy({ demand: recorded.demand(), goal: { missShare }, holdMs: 0 });
    return asked(missShare, score(trace, policy));
  });
}

export const asked = (
  share: number,
  { claims, misses, idleHours }: { claims: number; misses: number; idleHours: number },
): Asked => ({
  ...{ share, claims, real: misses / claims },
  ...{ bound: missShareBound(misses, claims), idle: idleHours / claims },
  isMissed: missShareBound(claims - misses, claims) < 1 - share,
});
