/** What a policy would have come to over recorded claims: hit share with its bound, idle hours, money, waits, waste. */
import { hourMs } from "../../clock.ts";
import { spread } from "../../random.ts";
import { missShareBound } from "../forecast/distributions.ts";
import type { SizingPolicy } from "../policy/policy.ts";
import type { RefillRules } from "./brakes.ts";
import type { CheckoutRecord } from "./checkouts.ts";
import { type ReplayOptions, type ReplayResult, replay, tickMs } from "./replay.ts";

export interface Experiment {
  /** Epoch ms of each claim, ascending. */
  readonly claims: Float64Array;
  readonly from: number;
  readonly to: number;
  readonly lead: {
    /** What policies plan with. */
    readonly planMs: number;
    /** Builds as they went, drawn from at random; without any each takes `planMs`. */
    readonly builds: readonly { readonly ms: number; readonly failed: boolean }[];
  };
  readonly rules: RefillRules;
  /** Absent where no record of them was kept. */
  readonly checkouts?: CheckoutRecord;
  /** Of one machine for one hour, net; null while no price list says. */
  readonly pricePerHour: number | null;
}

export interface Candidate {
  readonly name: string;
  /** Its setting was picked by the very claims that it is judged by. */
  readonly hindsight: boolean;
  /** A new one, told of no claim so far. */
  readonly policy: () => SizingPolicy;
}

export interface Outcome {
  readonly candidate: Candidate;
  readonly claims: number;
  readonly misses: number;
  /** Share of claims that found a machine ready, and what it is at least, 95 % sure (Clopper and Pearson). */
  readonly hitShare: number;
  readonly hitShareAtLeast: number;
  /** Idle machine-hours for each claim. */
  readonly idlePerClaim: number;
  /** Hours that are billed for the pool, a month. */
  readonly paidHoursAMonth: number;
  /** Net; null while the price is not known. */
  readonly costAMonth: number | null;
  /** Of the customers who found nothing ready, ms; null when there was none. */
  readonly wait: { readonly p50: number; readonly p95: number } | null;
  readonly wasted: number;
  readonly rebuilt: number;
  readonly failed: number;
  readonly stops: number;
}

/** Hours of an average month. */
export const monthHours = 730;

/** Two weeks or a quarter of the span, at most half, are for learning. */
export function scoredFrom({ from, to }: Pick<Experiment, "from" | "to">): number {
  return from + Math.min(Math.max(14 * 24 * hourMs, (to - from) / 4), (to - from) / 2);
}

export function tryOut(
  candidate: Candidate,
  experiment: Experiment,
  options: Pick<ReplayOptions, "hysteresis" | "observe"> & { readonly policy?: SizingPolicy } = {},
): Outcome {
  const { claims, from, to, lead, rules, checkouts, pricePerHour } = experiment;
  const { policy = candidate.policy(), ...rest } = options;
  const scoreFrom = scoredFrom(experiment);
  const result = replay({
    ...{ claims, from, to, scoreFrom, policy, checkouts, tickMs, leadMs: lead.planMs },
    ...{ ...rules, ...rest, nextBuild: drawn(lead) },
  });
  return outcome(candidate, result, (to - scoreFrom) / hourMs, pricePerHour);
}

function outcome(
  candidate: Candidate,
  result: ReplayResult,
  hours: number,
  pricePerHour: number | null,
): Outcome {
  const { claims, misses, idleHours, paidHours, wasted, rebuilt, failed, stops } = result;
  const paidHoursAMonth = (paidHours / hours) * monthHours;
  const waits = [...result.waits].sort((a, b) => a - b);
  const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(share * waits.length))] ?? 0;
  return {
    ...{ candidate, claims, misses, paidHoursAMonth, wasted, rebuilt, failed, stops },
    hitShare: claims === 0 ? 1 : 1 - misses / claims,
    hitShareAtLeast: 1 - missShareBound(misses, claims),
    idlePerClaim: idleHours / Math.max(1, claims),
    costAMonth: pricePerHour === null ? null : paidHoursAMonth * pricePerHour,
    wait: waits.length === 0 ? null : { p50: at(0.5), p95: at(0.95) },
  };
}

/** The same draws for each candidate, so that none is lucky. */
export function drawn({ planMs, builds }: Experiment["lead"]): ReplayOptions["nextBuild"] {
  const usual = { ms: planMs, failed: false };
  let number = 0;
  return () => builds[Math.floor(spread(`build ${number++}`) * builds.length)] ?? usual;
}
