/**
 * A forecast of the claims in the next lead time: a mixture of discounted gamma-Poisson levels (Harvey and Fernandes,
 * Journal of Business & Economic Statistics 7(4), 1989). Each level forgets with a half-life of its own and believes in
 * the season or not; each is heard in several forms, from as sure of itself as what it remembers allows to bursts and
 * batches. Levels are weighed by how well they foretold the last five-minute bins (dynamic model averaging; Raftery,
 * Kárný and Ettler 2010): a day changes within hours. Forms are weighed over weeks: what tail the claims have is told by
 * rare bins, and a burst that is forgotten in a day is paid for again at its return. What comes out is a distribution,
 * not a number: a pool is sized by its tail.
 */
import { hourMs } from "../../clock.ts";
import type { Calendar } from "./calendar.ts";
import { Season } from "./season.ts";

/** A bin is what is closed at once, and judged. */
const binMs = 300_000;
/** A longer silence is not walked through: the clock jumped, or nobody watched; all but the season is forgotten anyway. */
const longestGapMs = 90 * 24 * hourMs;

const halfLivesMs = [0.5, 3, 24, 7 * 24].map((hours) => hours * hourMs);
/** Those that know no season are for odd hours and holidays, and for customers whose claims know no week. */
const kinds = [true, false].flatMap((seasonal) =>
  halfLivesMs.map((halfLifeMs) => ({ halfLifeMs, seasonal })),
);

/** The size of a negative binomial for a level that remembers so many claims and expects so many. */
type Form = (claims: number, expected: number) => number;

/** No more certainty than so many claims give: the same mean, a longer tail. */
const atMost =
  (claims: number): Form =>
  (remembered) =>
    Math.min(remembered, claims);
/**
 * Claims come in batches, whose sizes have a logarithmic distribution: counts have `dispersion` times the variance of
 * Poisson's, at any rate (Feeney and Sherbrooke's compound Poisson demand, 1966).
 */
const inBatches =
  (dispersion: number): Form =>
  (_, expected) =>
    expected / (dispersion - 1);

const forms = [atMost(0.2), atMost(3), atMost(Number.POSITIVE_INFINITY), inBatches(1.2), inBatches(2)];
const count = kinds.length * forms.length;

/** What the prior of every level is made of: the average of the last weeks, worth one claim. */
const longHalfLifeMs = 28 * 24 * hourMs;
/** Before the first claim: one a day. */
const firstGuess = 1 / 24;
/** Weights of the past bins fade by this exponent a bin: half after 29 h for levels, after 24 days for forms. */
const forget = { level: 0.998, form: 0.9999 };
/** Nothing is ever given up: the one for the day that nobody foresaw has to be there. */
const leastWeight = { level: 0.0005, form: 0.0001 };

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

/** Components are ordered form by form, within each level by level. */
const components = (): Forecast => ({
  weight: new Float64Array(count).fill(1 / count),
  size: new Float64Array(count),
  mean: new Float64Array(count),
  ratePerSize: new Float64Array(count),
});

export class Mixture {
  readonly #season: Season;
  readonly #levels: readonly Level[] = kinds.map(({ halfLifeMs, seasonal }) => ({
    ...{ seasonal, keep: 2 ** (-binMs / halfLifeMs) },
    ...{ alpha: 0, beta: 0 },
  }));
  readonly #long = { keep: 2 ** (-binMs / longHalfLifeMs), alpha: 0, beta: 0 };
  readonly #forecast = components();
  /** What was foretold of the open bin when it was opened. */
  readonly #open = components();
  /** Of levels within their form, and of the forms. */
  readonly #within = equal(count, kinds.length);
  readonly #forms = equal(forms.length, forms.length);
  readonly #logs = new Float64Array(count);
  #binStart: number;
  #claimsInBin = 0;
  #news: number;
  #foretold = { news: Number.NaN, leadMs: Number.NaN };

  /** @param since epoch ms since when every claim is observed */
  constructor(calendar: Calendar, since: number) {
    this.#season = new Season(calendar);
    this.#binStart = Math.floor(since / binMs) * binMs;
    this.#news = this.#binStart;
    this.#foretell(this.#open, this.#binStart, this.#binStart + binMs);
  }

  /** A claim at epoch ms `at`. One from before the open bin, by a clock that was set back, counts as now. */
  claim(at: number): void {
    if (at >= this.#binStart) this.advance(at);
    this.#claimsInBin++;
    this.#news = Math.max(at, this.#binStart);
    this.#foretold.news = Number.NaN;
  }

  /**
   * Closes the bins that have ended: nobody came in those without a claim, which says as much. When the clock was set
   * back, the bins go on from there.
   */
  advance(now: number): void {
    if (now - this.#binStart > longestGapMs || now < this.#binStart - binMs) this.#jump(now);
    while (now >= this.#binStart + binMs) this.#close();
  }

  /**
   * Of the claims of one lead time, as of the latest news: the latest claim, or the bin that was closed last. So it is
   * the same however often somebody looks in between, and costs nothing.
   */
  outlook(now: number, leadMs: number): Forecast {
    this.advance(now);
    if (this.#foretold.news !== this.#news || this.#foretold.leadMs !== leadMs) {
      this.#foretold = { news: this.#news, leadMs };
      this.#foretell(this.#forecast, this.#news, this.#news + leadMs);
    }
    return this.#forecast;
  }

  /** Of the claims between two moments (epoch ms). Those of the open bin are known already. */
  forecast(from: number, to: number): Forecast {
    this.#foretold.news = Number.NaN;
    this.#foretell(this.#forecast, from, to);
    return this.#forecast;
  }

  #jump(now: number): void {
    this.#close();
    const to = Math.floor((now > this.#binStart ? now - longestGapMs : now) / binMs) * binMs;
    const silent = Math.max(0, (to - this.#binStart) / binMs);
    for (const memory of [this.#long, ...this.#levels]) {
      const keep = memory.keep ** silent;
      memory.alpha *= keep;
      memory.beta = memory.beta * keep + ((binMs / hourMs) * (1 - keep)) / (1 - memory.keep);
    }
    this.#binStart = to;
    this.#news = to;
    this.#foretell(this.#open, to, to + binMs);
  }

  #foretell({ size, mean, ratePerSize }: Forecast, from: number, to: number): void {
    const seasonal = this.#season.weight(from, to);
    const plain = (to - from) / hourMs;
    const factor = this.#season.factor(to);
    const since = Math.min(Math.max(from - this.#binStart, 0), binMs) / hourMs;
    const priorHours = (this.#long.beta + 1) / (this.#long.alpha + firstGuess);
    for (let nth = 0; nth < this.#levels.length; nth++) {
      const level = this.#levels[nth] as Level;
      const exposure = level.seasonal ? seasonal : plain;
      const claims = level.alpha + this.#claimsInBin + 1;
      const seen = level.beta + since * (level.seasonal ? factor : 1) + priorHours;
      const expected = (claims * exposure) / seen;
      const rate = ((level.seasonal ? factor : 1) * expected) / exposure;
      for (let form = 0; form < forms.length; form++) {
        const index = form * kinds.length + nth;
        const own = forms[form]?.(claims, expected) ?? claims;
        size[index] = own;
        mean[index] = expected;
        ratePerSize[index] = rate / (own + expected);
      }
    }
  }

  #close(): void {
    const [start, end, claims] = [this.#binStart, this.#binStart + binMs, this.#claimsInBin];
    this.#judge(claims);
    const seasonal = this.#season.weight(start, end);
    for (const level of this.#levels) {
      level.alpha = level.alpha * level.keep + claims;
      level.beta = level.beta * level.keep + (level.seasonal ? seasonal : binMs / hourMs);
    }
    this.#long.alpha = this.#long.alpha * this.#long.keep + claims;
    this.#long.beta = this.#long.beta * this.#long.keep + seasonal;
    this.#season.observe(start, end, claims);
    this.#binStart = end;
    this.#news = end;
    this.#claimsInBin = 0;
    this.#foretell(this.#open, end, end + binMs);
  }

  /** In logarithms: a burst is so improbable under most components that its chance is none in a double. */
  #judge(claims: number): void {
    const { size, mean } = this.#open;
    const [within, logs] = [this.#within, this.#logs];
    for (let form = 0; form < forms.length; form++) {
      const [from, to] = [form * kinds.length, (form + 1) * kinds.length];
      let top = Number.NEGATIVE_INFINITY;
      for (let index = from; index < to; index++) {
        const log = logChance(claims, size[index] ?? 1, mean[index] ?? 0);
        logs[index] = log;
        if (log > top) top = log;
      }
      let chance = 0;
      for (let index = from; index < to; index++) {
        const log = (logs[index] ?? top) - top;
        chance += (within.share[index] ?? 0) * Math.exp(log);
        within.log[index] = forget.level * (within.log[index] ?? 0) + log;
      }
      normalise(within, from, to, leastWeight.level);
      this.#forms.log[form] = forget.form * (this.#forms.log[form] ?? 0) + top + Math.log(chance);
    }
    const top = this.#forms.log.reduce((most, log) => Math.max(most, log));
    for (let form = 0; form < forms.length; form++)
      this.#forms.log[form] = (this.#forms.log[form] ?? top) - top;
    normalise(this.#forms, 0, forms.length, leastWeight.form);
    const { weight } = this.#forecast;
    for (let form = 0; form < forms.length; form++) {
      const whole = this.#forms.share[form] ?? 0;
      for (let nth = 0; nth < kinds.length; nth++) {
        const index = form * kinds.length + nth;
        weight[index] = whole * (within.share[index] ?? 0);
      }
    }
  }
}

/** Weights and their logarithms: taking logarithms anew for each bin took a third of a replay. */
interface Weights {
  readonly share: Float64Array;
  readonly log: Float64Array;
}

const equal = (length: number, of: number): Weights => ({
  share: new Float64Array(length).fill(1 / of),
  log: new Float64Array(length).fill(-Math.log(of)),
});

/** Makes weights of logarithms that are at most 0: they add up to 1, none is below the least. */
function normalise({ share, log }: Weights, from: number, to: number, least: number): void {
  let total = 0;
  for (let index = from; index < to; index++) {
    share[index] = Math.exp(log[index] ?? 0);
    total += share[index] ?? 0;
  }
  let sum = 0;
  for (let index = from; index < to; index++) {
    share[index] = Math.max((share[index] ?? 0) / total, least);
    sum += share[index] ?? 0;
  }
  const [logTotal, logLeast, logSum] = [Math.log(total), Math.log(least), Math.log(sum)];
  for (let index = from; index < to; index++) {
    share[index] = (share[index] ?? 0) / sum;
    log[index] = Math.max((log[index] ?? 0) - logTotal, logLeast) - logSum;
  }
}

/** Logarithm of the chance of this count under a negative binomial. */
function logChance(claims: number, size: number, mean: number): number {
  let log = -size * Math.log1p(mean / size);
  const share = mean / (size + mean);
  for (let k = 0; k < claims; k++) log += Math.log((share * (size + k)) / (k + 1));
  return log;
}
