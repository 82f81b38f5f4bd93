/** The rows of one trace's table. */
import { createCalendar, hourMs } from "../../../pool/sizing/forecast/calendar.ts";
import { missShareBound } from "../../../pool/sizing/forecast/distributions.ts";
import { adaptivePolicy } from "../../../pool/sizing/policy/adaptive.ts";
import { factorPolicy } from "../../../pool/sizing/policy/factor.ts";
import { guarded } from "../../../pool/sizing/policy/guards.ts";
import type { SizingPolicy } from "../../../pool/sizing/policy/policy.ts";
import { staticPolicy } from "../../../pool/sizing/policy/static.ts";
import type { Trace } from "../../../pool/sizing/replay/trace.ts";
import { ewmaPoisson, seasonalPoisson, seasonalQuantile } from "./baselines.ts";
import { cheapest, clairvoyantIdle, type Point, pointOf, score, scoredFrom, search } from "./sweep.ts";

export const levels = [0.99, 0.995, 0.999];

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
}

const calendar = createCalendar("UTC");
const holds = [0, hourMs];

const adaptive = (trace: Trace, holdMs: number, goal: { worthHours: number } | { missShare: number }) =>
  adaptivePolicy({ calendar, since: trace.from, goal, holdMs });

/** The hold that was cheaper on what came before the scored part, asked for this miss share. */
function learnedHold(trace: Trace, missShare: number): number {
  const before = { ...trace, to: scoredFrom(trace) };
  const idle = holds.map((hold) => {
    const { hit, idle } = pointOf(score(before, adaptive(trace, hold, { missShare })));
    // Who missed more is charged as if it had bought the rest at the price of its own idle time.
    return idle * Math.max(1, (1 - hit) / missShare);
  });
  return holds[idle.indexOf(Math.min(...idle))] ?? 0;
}

export function hindsightRows(trace: Trace): Row[] {
  const run = (policy: SizingPolicy): Point => pointOf(score(trace, policy));
  const row = (name: string, points: (level: number) => readonly Point[]): Row => ({
    name,
    cells: levels.map((level) => cheapest(points(level), level)?.idle ?? null),
  });
  const fixed = (name: string, points: readonly Point[]) => row(name, () => points);
  const priced = (hold: (level: number) => number) => (level: number) =>
    search((worthHours) => run(adaptive(trace, hold(level), { worthHours })), level, [1, 1e7]);
  return [
    fixed(
      "static number",
      Array.from({ length: 60 }, (_, machines) => run(staticPolicy(machines))),
    ),
    fixed(
      "GitLab's scale_factor with its floor",
      [0, 1, 2, 3, 4, 6, 8, 12, 16, 24].flatMap((floor) =>
        [0.25, 0.5, 1, 1.5, 2, 3, 5].map((factor) =>
          run(atLeast(floor, factorPolicy({ factor, windowMs: hourMs }))),
        ),
      ),
    ),
    row("EWMA-Poisson, best of three half-lives", (level) =>
      [1, 6, 24].flatMap((hours) =>
        search((odds) => run(ewmaPoisson(trace.from, hours * hourMs, 1 - 1 / odds)), level, [1.2, 1e12]),
      ),
    ),
    row("hours of the week, Poisson or quantile", (level) => [
      ...search((odds) => run(seasonalPoisson(calendar, trace.from, 1 - 1 / odds)), level, [1.2, 1e12]),
      ...search((odds) => run(seasonalQuantile(trace.from, 1 - 1 / odds)), level, [1.2, 1e4]),
    ]),
    row(
      "clawpool, surplus goes at once",
      priced(() => 0),
    ),
    row(
      "clawpool, surplus held for an hour",
      priced(() => hourMs),
    ),
    row(
      "**clawpool, hold learned before**",
      priced((level) => learnedHold(trace, 1 - level)),
    ),
    { name: "clairvoyant", cells: levels.map(() => clairvoyantIdle(trace)) },
  ];
}

export function askedRows(trace: Trace): Asked[] {
  return levels.map((level) => {
    const share = 1 - level;
    const result = score(trace, adaptive(trace, learnedHold(trace, share), { missShare: share }));
    return {
      ...{ share, claims: result.claims, real: result.misses / result.claims },
      ...{ bound: missShareBound(result.misses, result.claims), idle: result.idleHours / result.claims },
    };
  });
}

function atLeast(minReady: number, policy: SizingPolicy): SizingPolicy {
  const guards = { minReady, maxReady: 1_000, campaigns: [], floor: () => 0, addsCheckouts: false };
  return {
    claim: policy.claim,
    wanted: (situation) => guarded(policy.wanted(situation), guards, situation),
  };
}
