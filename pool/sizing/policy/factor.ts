/**
 * So many for each claim of the last while: GitLab Runner's `scale_factor` with its limit, for people who come from
 * there. There it counts the machines in use, which end with their jobs; here machines leave with their customers, so
 * the claims of a window take their place.
 */
import type { SizingPolicy } from "./policy.ts";

export interface FactorOptions {
  /** Machines for each claim of the window. */
  readonly factor: number;
  readonly windowMs: number;
  /** GitLab's `scale_factor_limit`. */
  readonly atMost?: number;
}

export function factorPolicy({
  factor,
  windowMs,
  atMost = Number.POSITIVE_INFINITY,
}: FactorOptions): SizingPolicy {
  const claims: number[] = [];
  return {
    claim: ({ at }) => {
      claims.push(at);
    },
    wanted({ now }) {
      while ((claims[0] ?? now) < now - windowMs) claims.shift();
      // What is later than now was said by a clock that was set back since.
      while ((claims.at(-1) ?? now) > now) claims.pop();
      const target = Math.min(Math.ceil(factor * claims.length), atMost);
      return { target, keep: target, why: { kind: "factor", claims: claims.length, windowMs } };
    },
  };
}
