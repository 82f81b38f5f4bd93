/**
 * How many machines to keep when an idle hour and a miss both have their price. One machine more is worth it as long as
 * the claims that would find just this one ready, times what each is worth, exceed the time it stands idle:
 *
 *     worth × rate × P(D = S)  >  P(D ≤ S)
 *
 * D are the claims of one lead time, S the machines kept, worth the idle hours that one warm claim may cost. Under
 * Poisson claims this is Smith's rule for the Erlang loss system (Management Science 23(5), 1977). A fixed quantile
 * would pay as much for a quiet night as for a busy noon, and miss more.
 */
import type { Forecast } from "./mixture.ts";

export interface Priced {
  /** Machines to keep, those being built included. */
  readonly target: number;
  /** Claims that come in one lead time, on average. */
  readonly expected: number;
  /** Chance that more claims come in one lead time than there are machines. */
  readonly short: number;
  /** Claims an hour that one machine more would serve at once, beside the share of the time that it stands idle. */
  readonly nextServes: number;
  readonly nextIdles: number;
}

/**
 * @param worth idle machine-hours that one warm claim may cost: its value divided by the price of an hour
 * @param most the answer's bound, whatever the price
 */
export function pricedTarget(forecast: Forecast, worth: number, most: number): Priced {
  const { weight, size, mean, ratePerSize } = forecast;
  const chances = new Float64Array(weight.length);
  for (let index = 0; index < chances.length; index++) {
    chances[index] = (weight[index] ?? 0) * none(size[index] ?? 1, mean[index] ?? 0);
  }
  let expected = 0;
  for (let index = 0; index < chances.length; index++) expected += (weight[index] ?? 0) * (mean[index] ?? 0);
  let atMost = 0;
  for (let target = 0; ; target++) {
    let serves = 0;
    for (let index = 0; index < chances.length; index++) {
      const chance = chances[index] ?? 0;
      const own = size[index] ?? 1;
      const average = mean[index] ?? 0;
      // E(rate | D = S) = (size + S) × ratePerSize: exact for a gamma-Poisson.
      serves += (ratePerSize[index] ?? 0) * (own + target) * chance;
      atMost += chance;
      chances[index] = (chance * average * (own + target)) / ((own + average) * (target + 1));
    }
    if (worth * serves <= atMost || target >= most) {
      return { target, expected, short: Math.max(0, 1 - atMost), nextServes: serves, nextIdles: atMost };
    }
  }
}

/** Chance of no claim under a negative binomial. */
const none = (size: number, mean: number): number => Math.exp(-size * Math.log1p(mean / size));
