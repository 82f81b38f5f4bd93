/** Which candidate a hit share asks for: the cheapest of those that are surely at or above it. */
import { missShareBound } from "../forecast/distributions.ts";
import { percent } from "./candidates.ts";
import type { Outcome } from "./experiment.ts";

export interface Choice {
  readonly target: number;
  /** Null when none came near. */
  readonly chosen: Outcome | null;
  /** False: its share was reached, but so few claims prove nothing. */
  readonly sure: boolean;
  readonly why: string;
}

/** @param claims that were scored, the same for all outcomes */
export function choose(outcomes: readonly Outcome[], target: number): Choice {
  const claims = outcomes[0]?.claims ?? 0;
  const surely = cheapest(outcomes.filter(({ hitShareAtLeast }) => hitShareAtLeast >= target));
  if (surely) return { target, chosen: surely, sure: true, why: reason(surely, outcomes, target) };
  const best = 1 - missShareBound(0, claims);
  const few =
    best < target
      ? `${claims} claims are too few to promise ${percent(target)}: without a single miss they prove ${percent(floor(best))}; it takes ${claimsFor(target)}`
      : `no candidate is surely at ${percent(target)} by these ${claims} claims`;
  const seen = cheapest(outcomes.filter(({ hitShare }) => hitShare >= target));
  if (!seen || claims === 0)
    return { target, chosen: null, sure: false, why: `${few}; none reached it either` };
  const why = `${few}. The cheapest that reached it: ${percent(seen.hitShare)}, surely ${percent(floor(seen.hitShareAtLeast))}`;
  return { target, chosen: seen, sure: false, why };
}

function reason(chosen: Outcome, outcomes: readonly Outcome[], target: number): string {
  const { hitShare, hitShareAtLeast, claims } = chosen;
  const said = `${percent(hitShare)} of ${claims} claims, surely ${percent(floor(hitShareAtLeast))}`;
  const cheaper = cheapest(
    outcomes.filter((each) => each.paidHoursAMonth < chosen.paidHoursAMonth && each.hitShareAtLeast < target),
    "dearest",
  );
  return cheaper
    ? `${said}; ${cheaper.candidate.name} is the next cheaper one, surely ${percent(floor(cheaper.hitShareAtLeast))}`
    : `${said}; none is cheaper`;
}

/** By what is paid, then by what stands idle. */
function cheapest(outcomes: readonly Outcome[], end: "cheapest" | "dearest" = "cheapest"): Outcome | null {
  const [first = null] = [...outcomes]
    .sort((a, b) => a.paidHoursAMonth - b.paidHoursAMonth || a.idlePerClaim - b.idlePerClaim)
    .slice(end === "cheapest" ? 0 : -1);
  return first;
}

/** A bound is never rounded up. */
const floor = (share: number): number => Math.floor(share * 10_000) / 10_000;

/** Claims without a miss that prove the share, 95 % sure. */
const claimsFor = (target: number): number => Math.ceil(Math.log(0.05) / Math.log(target));
