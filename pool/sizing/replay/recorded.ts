/**
 * What the forecast said at each moment of a record. Policies that differ in their price or in what they hold all hear
 * the same forecast: it takes nine tenths of a replay, and is made once for all of them.
 */
import type { Calendar } from "../forecast/calendar.ts";
import { expectedOf, isWorth, margins, type Priced } from "../forecast/miss-price.ts";
import { Mixture } from "../forecast/mixture.ts";
import { openCheckouts, thinned } from "../forecast/open-checkouts.ts";
import type { Demand } from "../policy/adaptive.ts";
import { type CheckoutRecord, type OpenAt, readCheckouts } from "./checkouts.ts";
import { tickMs } from "./replay.ts";
import type { Trace } from "./trace.ts";

export class RecordedForecast {
  /** Epoch ms of each news, what was expected then, and where its margins begin. */
  readonly #at: number[] = [];
  readonly #expected: number[] = [];
  readonly #begins: number[] = [];
  /** One machine after the other, as long as one more is worth it at the highest price. */
  readonly #serves: number[] = [];
  readonly #idles: number[] = [];
  readonly #open: OpenAt;

  /**
   * @param mostWorth a higher price gets the target of this one
   * @param checkouts heard of when something else happens: five minutes late at most
   */
  constructor(
    { claims, from, to }: Pick<Trace, "claims" | "from" | "to">,
    {
      calendar,
      leadMs,
      mostWorth,
      checkouts,
    }: { calendar: Calendar; leadMs: number; mostWorth: number; checkouts?: CheckoutRecord | undefined },
  ) {
    this.#open = checkouts ? readCheckouts(checkouts) : () => null;
    const mixture = new Mixture(calendar, from);
    let next = 0;
    for (let at = Math.floor(from / tickMs) * tickMs; at <= to; at += tickMs) {
      this.#note(mixture, at, leadMs, mostWorth);
      for (let claim = claims[next]; claim !== undefined && claim < at + tickMs; ) {
        mixture.claim(claim);
        const after = claims[++next];
        if (after !== claim) this.#note(mixture, claim, leadMs, mostWorth);
        claim = after;
      }
    }
  }

  #note(mixture: Mixture, at: number, leadMs: number, mostWorth: number): void {
    const all = mixture.outlook(at, leadMs);
    const known = this.#open(at, leadMs);
    const forecast = known ? thinned(all, known.unseen) : all;
    const open = known && openCheckouts(known.chances, leadMs);
    this.#at.push(at);
    this.#expected.push(expectedOf(forecast) + (open?.expected ?? 0));
    this.#begins.push(this.#serves.length);
    for (const { serves, idles } of margins(forecast, open)) {
      this.#serves.push(serves);
      this.#idles.push(idles);
      if (!isWorth(serves, idles, mostWorth)) return;
    }
  }

  /** As a policy hears it that runs over the record once, from its begin on. */
  demand(): Demand {
    let place = 0;
    return {
      claim: () => {},
      priced: ({ now }, worth) => {
        while ((this.#at[place + 1] ?? Number.POSITIVE_INFINITY) <= now) place++;
        return this.#priced(place, worth);
      },
    };
  }

  #priced(place: number, worth: number): Priced {
    const begin = this.#begins[place] ?? 0;
    const last = (this.#begins[place + 1] ?? this.#serves.length) - 1;
    let index = begin;
    while (index < last && isWorth(this.#serves[index] ?? 0, this.#idles[index] ?? 1, worth)) index++;
    const nextIdles = this.#idles[index] ?? 1;
    return {
      ...{ target: index - begin, expected: this.#expected[place] ?? 0, short: Math.max(0, 1 - nextIdles) },
      ...{ nextServes: this.#serves[index] ?? 0, nextIdles },
    };
  }
}
