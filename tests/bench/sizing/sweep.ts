/** Finds what a policy's knob has to be set to for a hit share, and what that costs. */
import { hourMs } from "../../../pool/clock.ts";
import type { SizingPolicy } from "../../../pool/sizing/policy/policy.ts";
import { scoredFrom } from "../../../pool/sizing/replay/experiment.ts";
import { type ReplayResult, replay, tickMs } from "../../../pool/sizing/replay/replay.ts";
import type { Trace } from "../../../pool/sizing/replay/trace.ts";

export const leadMs = 300_000;
export const slots = 10;

export interface Point {
  readonly hit: number;
  /** Idle machine-hours a claim. */
  readonly idle: number;
}

export function score(trace: Trace, policy: SizingPolicy): ReplayResult {
  const build = { ms: leadMs, failed: false };
  return replay({
    ...{ ...trace, policy, leadMs, slots, tickMs },
    ...{ scoreFrom: scoredFrom(trace), nextBuild: () => build },
  });
}

export const pointOf = ({ claims, misses, idleHours }: ReplayResult): Point => ({
  hit: 1 - misses / claims,
  idle: idleHours / claims,
});

/** The cheapest of the points that reach the hit share. */
export function cheapest(points: readonly Point[], hit: number): Point | null {
  return points
    .filter((point) => point.hit >= hit)
    .reduce<Point | null>((best, each) => {
      return best && best.idle <= each.idle ? best : each;
    }, null);
}

/**
 * A knob that costs more the more it serves, on a grid of equal ratios that all levels share: what was run for one is
 * known for the next.
 */
export class Knob {
  readonly #run: (setting: number) => Point;
  readonly #settings: readonly number[];
  readonly #points = new Map<number, Point>();

  constructor(run: (setting: number) => Point, [least, most]: readonly [number, number], ratio: number) {
    this.#run = run;
    const count = Math.ceil(Math.log(most / least) / Math.log(ratio)) + 1;
    this.#settings = Array.from({ length: count }, (_, index) => least * ratio ** index);
  }

  /** Halves the range, then looks below: the hit share wobbles by a claim or two from one setting to the next. */
  cheapest(hit: number, around = 4): Point | null {
    let [low, high] = [-1, this.#settings.length];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.#at(middle).hit >= hit) high = middle;
      else low = middle;
    }
    for (let index = Math.max(0, high - around); index < high; index++) this.#at(index);
    return cheapest([...this.#points.values()], hit);
  }

  #at(index: number): Point {
    const known = this.#points.get(index);
    if (known) return known;
    const point = this.#run(this.#settings[index] ?? Number.NaN);
    this.#points.set(index, point);
    return point;
  }
}

/**
 * Idle hours a claim of somebody who knows all claims and builds just in time: the machine for the i-th claim is ready
 * at its claim, or one lead time before the (i + slots)-th is, whichever is sooner.
 */
export function clairvoyantIdle(trace: Trace): number {
  const { claims } = trace;
  const ready = new Float64Array(claims.length);
  let idle = 0;
  let counted = 0;
  for (let index = claims.length - 1; index >= 0; index--) {
    const at = claims[index] ?? 0;
    ready[index] = Math.min(at, (ready[index + slots] ?? Number.POSITIVE_INFINITY) - leadMs);
    if (at < scoredFrom(trace)) continue;
    idle += at - (ready[index] ?? at);
    counted++;
  }
  return idle / counted / hourMs;
}
