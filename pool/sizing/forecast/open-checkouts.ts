/** Joins what is known of open checkouts to a forecast: some claims have already begun. */
import { hourMs } from "../../clock.ts";
import type { Margin } from "./miss-price.ts";
import type { Forecast } from "./mixture.ts";

export interface OpenCheckouts {
  /** Chances that 0, 1, 2 … of them are paid within the lead time. */
  readonly chances: Float64Array;
  /** How many are paid within it, on average. */
  readonly expected: number;
  readonly leadHours: number;
}

/** Beyond so many the rest counts for nothing: what is likely comes first. */
const most = 200;

/**
 * The number of them that are paid is Poisson-binomial: each has a chance of its own. By adding one after the other.
 *
 * @param chances of each checkout, that it is paid within the lead time
 */
export function openCheckouts(chances: readonly number[], leadMs: number): OpenCheckouts {
  const likely = [...chances].sort((a, b) => b - a).slice(0, most);
  const counts = new Float64Array(likely.length + 1);
  counts[0] = 1;
  for (const [done, chance] of likely.entries()) {
    for (let count = done + 1; count > 0; count--) {
      counts[count] = (counts[count] ?? 0) * (1 - chance) + (counts[count - 1] ?? 0) * chance;
    }
    counts[0] = (counts[0] ?? 0) * (1 - chance);
  }
  const expected = likely.reduce((sum, chance) => sum + chance, 0);
  return { chances: counts, expected, leadHours: leadMs / hourMs };
}

/** What is left of a forecast when only this share (0–1) of its claims is not counted otherwise. */
export function thinned(forecast: Forecast, share: number): Forecast {
  const { weight, size } = forecast;
  const mean = forecast.mean.map((each) => each * share);
  // The rate behind the span is that of all claims; what it is known by are fewer.
  const ratePerSize = forecast.ratePerSize.map((each, index) => {
    const own = size[index] ?? 1;
    return (each * (own + (forecast.mean[index] ?? 0))) / (own + (mean[index] ?? 0));
  });
  return { weight, size, mean, ratePerSize };
}

/**
 * The sum of both: claims of the forecast and checkouts that are paid. A checkout that is paid finds the others, so the
 * rate of those that find exactly k others is (k + 1) P(k + 1 are paid) in a lead time.
 */
export function* withCheckouts(
  unseen: Generator<Margin, never>,
  { chances, leadHours }: OpenCheckouts,
): Generator<Margin, never> {
  const seen: Margin[] = [];
  for (;;) {
    const margin = unseen.next().value;
    seen.push(margin);
    let [serves, idles, exactly] = [0, 0, 0];
    const last = seen.length - 1;
    for (let paid = 0; paid < chances.length && paid <= last; paid++) {
      const rest = seen[last - paid] ?? margin;
      const chance = chances[paid] ?? 0;
      serves += chance * rest.serves;
      idles += chance * rest.idles;
      exactly += chance * rest.exactly;
      if (leadHours > 0) serves += ((paid + 1) * (chances[paid + 1] ?? 0) * rest.exactly) / leadHours;
    }
    yield { serves, idles, exactly };
  }
}

/** Chance of no claim under a negative binomial. */
export const none = (size: number, mean: number): number => Math.exp(-size * Math.log1p(mean / size));
