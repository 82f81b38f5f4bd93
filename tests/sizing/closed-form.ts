/** A base stock under Poisson claims, replayed and by theory. */

import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { hourMs } from "../../pool/clock.ts";
import { poisson } from "../../pool/sizing/forecast/distributions.ts";
import { staticPolicy } from "../../pool/sizing/policy/static.ts";
import { replay } from "../../pool/sizing/replay/replay.ts";

export interface ClosedForm {
  /** Claims in one lead time. */
  readonly load: number;
  readonly hit: number;
  readonly hitInTheory: number;
  /** Machines. */
  readonly idle: number;
  readonly idleInTheory: number;
}

const from = Date.UTC(2026, 0, 1);
const leadMs = 300_000;

/** Feeney and Sherbrooke 1966: a claim is served at once with P(D < S), and E[(S - D)+] machines stand idle. */
export function closedForms(count: number): ClosedForm[] {
  return (
    [
      [0.347, 3],
      [0.868, 4],
      [1.736, 6],
      [3.472, 8],
    ] as const
  ).map(([load, machines]) => {
    const random = xoroshiro128plus(machines);
    const scoreFrom = from + hourMs;
    let at = scoreFrom;
    const claims = Float64Array.from({ length: count }, () => {
      at += (-Math.log1p(-uniformFloat64(random)) * leadMs) / load;
      return at;
    });
    const result = replay({
      ...{ claims, from, to: at, scoreFrom, leadMs, policy: staticPolicy(machines) },
      ...{ slots: 1_000, tickMs: leadMs, nextBuild: () => ({ ms: leadMs, failed: false }) },
    });
    let [hitInTheory, idleInTheory] = [0, 0];
    const chances = poisson(load);
    for (let k = 0; k < machines; k++) {
      const chance = chances.next().value;
      hitInTheory += chance;
      idleInTheory += (machines - k) * chance;
    }
    const idle = result.idleHours / ((at - scoreFrom) / hourMs);
    return { load, hit: 1 - result.misses / count, hitInTheory, idle, idleInTheory };
  });
}
