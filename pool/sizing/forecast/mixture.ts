/**
 * A forecast of the claims in the next lead time: a mixture of discounted gamma-Poisson levels (Harvey and Fernandes,
 * Journal of Business & Economic Statistics 7(4), 1989). Each level forgets with a half-life of its own, believes in
 * the season or not, and is as sure of itself as what it remembers allows; which ones are believed follows from how
 * well each foretold the last five-minute bins (dynamic model averaging; Raftery, Kárný and Ettler 2010). What comes
 * out is a distribution, not a number: a pool is sized by its tail.
 */
import { type Calendar, hourMs } from "./calendar.ts";
import { Season } from "./season.ts";

/** A bin is what is closed at once, and judged. */
const binMs = 300_000;

const halfLivesMs = [0.5, 3, 24, 7 * 24].map((hours) => hours * hourMs);
/** Those that know no season are for odd hours and holidays, and for customers whose claims know no week. */
const kinds = [true, false].flatMap((seasonal) =>
  halfLivesMs.map((halfLifeMs) => ({ halfLifeMs, seasonal })),
);
/** Each level is also heard with no more certainty than so many claims give: the same mean, a longer tail. */
const certainties = [0.7, 3, Number.POSITIVE_INFINITY];
const count = kinds.length * certainties.length;

/** What the prior of every level is made of: the average of the last weeks, worth one claim. */
const longHalfLifeMs = 28 * 24 * hourMs;
/** Before the first claim: one a day. */
const firstGuess = 1 / 24;
/** Weights of the past bins fade by this exponent a bin: half after 29 h. */
const forget = 0.998;
/** No component is ever given up: the one for the day that nobody foresaw has to be there. */
const leastWeight = 0.0005;

interface Level {
  readonly seasonal: boolean;
  /** What a bin leaves of what was known before. */
  readonly keep: number;
  /** Claims remembered. */
  alpha: number;
  /** Hours remembered; with the season, average hours. */
  beta: number;
}

/**
 * The components at one moment, in parallel arrays: a year has 100,000 bins, and objects for each took most of the time
 * of a replay. Good until the next forecast.
 */
export interface Forecast {
  /** Of the component in the mixture; they add up to 1. */
  readonly weight: Float64Array;
  /** Of a negative binomial, as its mean. */
  readonly size: Float64Array;
  readonly mean: Float64Array;
  /** Claims an hour at the end of the span, given that D came in it: (size + D) times this. */
  readonly ratePerSize: Float64Array;
}

export class Mixture {
  readonly #season: Season;
  readonly #levels: readonly Level[] = kinds.map(({ halfLifeMs, seasonal }) => ({
    ...{ seasonal, keep: 2 ** (-binMs / halfLifeMs) },
    ...{ alpha: 0, beta: 0 },
  }));
  readonly #long = { keep: 2 ** (-binMs / longHalfLifeMs), alpha: 0, beta: 0 };
  readonly #forecast: Forecast = {
    weight: new Float64Array(count).fill(1 / count),
    size: new Float64Array(count),
    mean: new Float64Array(count),
    ratePerSize: new Float64Array(count),
  };
  readonly #logs = new Float64Array(count);
  #binStart: number;
  #claimsInBin = 0;

  /** @param since epoch ms since when every claim is observed */
  constructor(calendar: Calendar, since: number) {
    this.#season = new Season(calendar);
    this.#binStart = Math.floor(since / binMs) * binMs;
  }

  /** A claim at epoch ms `at`. One from before the open bin, by a clock that was set back, counts as now. */
  claim(at: number): void {
    this.advance(at);
    this.#claimsInBin++;
  }

  /** Closes the bins that have ended: nobody came in those without a claim, which says as much. */
  advance(now: number): void {
    while (now >= this.#binStart + binMs) this.#close();
  }

  /** Of the claims between two moments (epoch ms). */
  forecast(from: number, to: number): Forecast {
    const seasonal = this.#season.weight(from, to);
    const plain = (to - from) / hourMs;
    const factor = this.#season.factor(to);
    const priorHours = (this.#long.beta + 1) / (this.#long.alpha + firstGuess);
    const { size, mean, ratePerSize } = this.#forecast;
    let index = 0;
    for (const level of this.#levels) {
      const exposure = level.seasonal ? seasonal : plain;
      const claims = level.alpha + 1;
      const expected = (claims * exposure) / (level.beta + priorHours);
      for (let certainty = 0; certainty < certainties.length; certainty++) {
        const sure = Math.min(claims, certainties[certainty] ?? claims);
        size[index] = sure;
        mean[index] = expected;
        ratePerSize[index] = ((level.seasonal ? factor : 1) * expected) / (exposure * (sure + expected));
        index++;
      }
    }
    return this.#forecast;
  }

  #close(): void {
    const [start, end, claims] = [this.#binStart, this.#binStart + binMs, this.#claimsInBin];
    this.#judge(this.forecast(start, end), claims);
    const seasonal = this.#season.weight(start, end);
    for (const level of this.#levels) {
      level.alpha = level.alpha * level.keep + claims;
      level.beta = level.beta * level.keep + (level.seasonal ? seasonal : binMs / hourMs);
    }
    this.#long.alpha = this.#long.alpha * this.#long.keep + claims;
    this.#long.beta = this.#long.beta * this.#long.keep + seasonal;
    this.#season.observe(start, end, claims);
    this.#binStart = end;
    this.#claimsInBin = 0;
  }

  /** In logarithms: a burst is so improbable under most components that its chance is none in a double. */
  #judge({ weight, size, mean }: Forecast, claims: number): void {
    const logs = this.#logs;
    let top = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < count; index++) {
      const log = logChance(claims, size[index] ?? 1, mean[index] ?? 0);
      logs[index] = forget * Math.log(weight[index] ?? 1) + log;
      top = Math.max(top, logs[index] ?? top);
    }
    let total = 0;
    for (let index = 0; index < count; index++) {
      weight[index] = Math.exp((logs[index] ?? top) - top);
      total += weight[index] ?? 0;
    }
    let sum = 0;
    for (let index = 0; index < count; index++) {
      weight[index] = Math.max((weight[index] ?? 0) / total, leastWeight);
      sum += weight[index] ?? 0;
    }
    for (let index = 0; index < count; index++) weight[index] = (weight[index] ?? 0) / sum;
  }
}

/** Logarithm of the chance of this count under a negative binomial. */
function logChance(claims: number, size: number, mean: number): number {
  let log = -size * Math.log1p(mean / size);
  const share = mean / (size + mean);
  for (let k = 0; k < claims; k++) log += Math.log((share * (size + k)) / (k + 1));
  return log;
}
