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
import { none, type OpenCheckouts, withCheckouts } from "./open-checkouts.ts";

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

/** What the next machine would bring when so many are kept already. */
export interface Margin {
  /** Claims an hour that only it would serve at once. */
  readonly serves: number;
  /** Share of the time that it would stand idle: that no more claims come in one lead time than there are machines. */
  readonly idles: number;
  /** Chance that exactly so many come. */
  readonly exactly: number;
}

/**
 * @param worth idle machine-hours that one warm claim may cost: its value divided by the price of an hour
 * @param most the answer's bound, whatever the price
 * @param open checkouts that may be paid within the lead time, beyond what the forecast says
 */
export function pricedTarget(
  forecast: Forecast,
  worth: number,
  most: number,
  open: OpenCheckouts | null = null,
): Priced {
  const expected = expectedOf(forecast) + (open?.expected ?? 0);
  const margin = margins(forecast, open);
  for (let target = 0; ; target++) {
    const { serves, idles } = margin.next().value;
    if (!isWorth(serves, idles, worth) || target >= most) {
      return { target, expected, short: Math.max(0, 1 - idles), nextServes: serves, nextIdles: idles };
    }
  }
}

/** Of a margin. Below what will surely be claimed one machine more never stands idle. */
export const isWorth = (serves: number, idles: number, worth: number): boolean =>
  worth * serves > idles || idles < leastIdle;

/** Smaller chances are those of rounding. */
const leastIdle = 1e-12;

/** Claims in the span. */
export function expectedOf({ weight, mean }: Forecast): number {
  let expected = 0;
  for (let index = 0; index < weight.length; index++) expected += (weight[index] ?? 0) * (mean[index] ?? 0);
  return expected;
}

/** What the first machine brings, the second, and so on without end. */
export function margins(forecast: Forecast, open: OpenCheckouts | null = null): Generator<Margin, never> {
  return open === null ? ofForecast(forecast) : withCheckouts(ofForecast(forecast), open);
}

function* ofForecast({ weight, size, mean, ratePerSize }: Forecast): Generator<Margin, never> {
  const chances = new Float64Array(weight.length);
  for (let index = 0; index < chances.length; index++) {
    chances[index] = (weight[index] ?? 0) * none(size[index] ?? 1, mean[index] ?? 0);
  }
  let idles = 0;
  for (let machines = 0; ; machines++) {
    let [serves, exactly] = [0, 0];
    for (let index = 0; index < chances.length; index++) {
      const chance = chances[index] ?? 0;
      const own = size[index] ?? 1;
      const average = mean[index] ?? 0;
      // E(rate | D = S) = (size + S) × ratePerSize: exact for a gamma-Poisson.
      serves += (ratePerSize[index] ?? 0) * (own + machines) * chance;
      exactly += chance;
      chances[index] = (chance * average * (own + machines)) / ((own + average) * (machines + 1));
    }
    idles += exactly;
    yield { serves, idles, exactly };
  }
}
