/** What a pool's policy is compared with: other policies within the pool's own bounds, each something one could configure. */
import { hourMs } from "../../clock.ts";
import type { PoolConfig, SizingConfig, SizingWindow } from "../../config/config.ts";
import { createCalendar } from "../forecast/calendar.ts";
import { createPolicy, type Sized } from "../policy/create.ts";
import { type Candidate, type Experiment, type Outcome, scoredFrom, tryOut } from "./experiment.ts";

/** Hit shares that are looked at, ascending. */
export const targets = [0.99, 0.995, 0.999] as const;

/** No pool of some hundred claims a day was seen to need more; the pool's own bound is below. */
const mostStatic = 40;

/** The policy that a pool's configuration makes. */
export const configured = (name: string, pool: Sized, experiment: Experiment): Candidate => ({
  name,
  hindsight: false,
  policy: () => createPolicy(pool, { since: experiment.from, eurPerHour: experiment.pricePerHour }),
});

type OwnSizing<T> = T extends unknown ? Omit<T, "timeZone" | "campaigns" | "floors"> : never;

/** The same pool, sized otherwise; its campaigns, floors and caps stay. */
function other(
  name: string,
  pool: Sized,
  sizing: OwnSizing<SizingConfig>,
  experiment: Experiment,
  { hindsight = false, minReady = 0 } = {},
): Candidate {
  const { timeZone, campaigns, floors } = pool.sizing;
  const changed = { ...sizing, timeZone, campaigns, floors } as SizingConfig;
  return { ...configured(name, { ...pool, minReady, sizing: changed }, experiment), hindsight };
}

/** So many machines always, from none up to the first that missed nobody. */
export function staticOutcomes(pool: Sized, experiment: Experiment): Outcome[] {
  const most = Math.min(pool.maxReady ?? pool.maxTotal, mostStatic);
  const outcomes: Outcome[] = [];
  for (let ready = 0; ready <= most; ready++) {
    const candidate = other(`static ${ready}`, pool, { policy: "static", ready }, experiment, {
      hindsight: true,
    });
    const outcome = tryOut(candidate, experiment);
    outcomes.push(outcome);
    if (outcome.misses === 0) break;
  }
  return outcomes;
}

/** GitLab Runner's scale factor, in the settings that people try. */
export function factorOutcomes(pool: Sized, experiment: Experiment): Outcome[] {
  return [0, 1, 2, 4].flatMap((minReady) =>
    [0.5, 1, 2].map((scale) => {
      const sizing = { policy: "factor", scale, overMs: hourMs, atMost: null } as const;
      const name = `factor ${scale} per claim of 1h, at least ${minReady}`;
      return tryOut(other(name, pool, sizing, experiment, { hindsight: true, minReady }), experiment);
    }),
  );
}

/** An hour of each day at each size that the claims before the scored part would have wanted; empty without claims. */
export function scheduleCandidate(pool: Sized, experiment: Experiment, target: number): Candidate | null {
  const windows = learnedWindows(pool, experiment, target);
  if (windows.length === 0) return null;
  const name = `schedule learned for ${percent(target)}`;
  return other(name, pool, { policy: "schedule", windows }, experiment);
}

export const adaptiveCandidate = (pool: Sized, experiment: Experiment, goal: Goal): Candidate => {
  return other(goalText(goal), pool, { policy: "adaptive", goal, holdMs: 0 }, experiment);
};

type Goal = Extract<SizingConfig, { policy: "adaptive" }>["goal"];

const goalText = (goal: Goal): string =>
  "hitShare" in goal ? `adaptive for ${percent(goal.hitShare)}` : `adaptive at ${goal.valueEur} a claim`;

export const percent = (share: number): string => `${Number((100 * share).toFixed(2))} %`;

/** A pool's policy in a few words. */
export function policyText({ sizing, minReady }: Pick<PoolConfig, "sizing" | "minReady">): string {
  switch (sizing.policy) {
    case "static":
      return `static ${sizing.ready ?? minReady}`;
    case "schedule":
      return `schedule of ${sizing.windows.length} windows`;
    case "factor":
      return `factor ${sizing.scale}`;
    case "adaptive":
      return goalText(sizing.goal);
  }
}

/**
 * For each hour of working days and of weekends the number of machines that was enough for this share of its lead times,
 * in the part of the record that is not scored: the table that an operator would make by hand.
 */
function learnedWindows(pool: Sized, experiment: Experiment, target: number): SizingWindow[] {
  const { claims, from, lead } = experiment;
  const until = scoredFrom(experiment);
  const calendar = createCalendar(pool.sizing.timeZone);
  const counts = Array.from({ length: 48 }, () => [] as number[]);
  let next = 0;
  for (let at = from; at < until; at += lead.planMs) {
    let inSpan = 0;
    for (; (claims[next] ?? until) < at + lead.planMs; next++) inSpan++;
    const { ofWeek } = calendar.hour(at);
    counts[(ofWeek >= 120 ? 24 : 0) + (ofWeek % 24)]?.push(inSpan);
  }
  return counts.flatMap((seen, slot) => {
    const sorted = seen.sort((a, b) => a - b);
    const enough = sorted[Math.min(sorted.length - 1, Math.ceil(target * sorted.length))] ?? 0;
    const ready = Math.min(enough, pool.maxReady ?? pool.maxTotal);
    const days = slot < 24 ? "1-5" : "0,6";
    return ready === 0 ? [] : [{ cron: `0 ${slot % 24} * * ${days}`, lengthMs: hourMs, ready }];
  });
}
