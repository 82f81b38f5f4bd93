/** Sizes by a forecast and the price of a miss; asked for a hit share instead, it finds the price by its own misses. */
import type { Calendar } from "../forecast/calendar.ts";
import { type Priced, pricedTarget } from "../forecast/miss-price.ts";
import { Mixture } from "../forecast/mixture.ts";
import { openCheckouts, thinned } from "../forecast/open-checkouts.ts";
import type { Situation, SizingPolicy } from "./policy.ts";

/** What is known of the claims to come. */
export interface Demand {
  claim(at: number): void;
  /** @param worth idle machine-hours that one warm claim may cost */
  priced(situation: Situation, worth: number): Priced;
}

export interface AdaptiveOptions {
  readonly demand: Demand;
  /** What is asked: idle machine-hours that one warm claim may cost, or the share of claims that may miss. */
  readonly goal: { readonly worthHours: number } | { readonly missShare: number };
  /** A surplus machine is kept until nothing wanted it for so long: where bursts come back, it is soon wanted again. */
  readonly holdMs: number;
}

/**
 * How far one claim moves the logarithm of the worth. Any step gives the share in the long run (Gibbs and Candès,
 * Adaptive conformal inference, 2021); a larger one is sooner there and swings more.
 */
const step = 0.35;
const worthBounds = { least: 0.01, most: 1e7 };
/** No forecast asks for more; `max_ready` and the caps are below. */
const most = 1_000;

/** @param since epoch ms since when every claim is seen */
export function forecastDemand(calendar: Calendar, since: number): Demand {
  const mixture = new Mixture(calendar, since);
  return {
    claim: (at) => mixture.claim(at),
    priced({ now, leadMs, open }, worth) {
      const all = mixture.outlook(now, leadMs);
      if (!open) return pricedTarget(all, worth, most);
      return pricedTarget(thinned(all, open.unseen), worth, most, openCheckouts(open.chances, leadMs));
    },
  };
}

export function adaptivePolicy({ demand, goal, holdMs }: AdaptiveOptions): SizingPolicy {
  const held = greatestOf(holdMs);
  const missShare = "missShare" in goal ? goal.missShare : null;
  // A claim that may miss once in n may cost some n idle hours: within a factor of ten on every trace that was tried.
  let worth = "missShare" in goal ? 1 / goal.missShare : goal.worthHours;
  return {
    claim({ at, hit }) {
      demand.claim(at);
      if (missShare === null) return;
      worth *= Math.exp(step * ((hit ? 0 : 1) - missShare));
      worth = Math.min(Math.max(worth, worthBounds.least), worthBounds.most);
    },
    wanted(situation) {
      const { target, ...next } = demand.priced(situation, worth);
      return {
        target,
        keep: held(situation.now, target),
        why: { kind: "priced", worthHours: worth, ...next },
      };
    },
  };
}

/** The greatest value of the last `spanMs`: a queue of falling values, so that each is looked at once. */
function greatestOf(spanMs: number): (at: number, value: number) => number {
  const falling: { readonly at: number; readonly value: number }[] = [];
  return (at, value) => {
    while ((falling.at(-1)?.value ?? Number.POSITIVE_INFINITY) <= value) falling.pop();
    // What is later than now was said by a clock that was set back since.
    while ((falling.at(-1)?.at ?? at) > at) falling.pop();
    falling.push({ at, value });
    while ((falling[0]?.at ?? at) < at - spanMs) falling.shift();
    return falling[0]?.value ?? value;
  };
}
