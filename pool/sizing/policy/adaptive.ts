/** Sizes by a forecast and the price of a miss; asked for a hit share instead, it finds the price by its own misses. */
import type { Calendar } from "../forecast/calendar.ts";
import { pricedTarget } from "../forecast/miss-price.ts";
import { Mixture } from "../forecast/mixture.ts";
import { openCheckouts, thinned } from "../forecast/open-checkouts.ts";
import type { SizingPolicy } from "./policy.ts";

export interface AdaptiveOptions {
  readonly calendar: Calendar;
  /** Epoch ms since when every claim was seen. */
  readonly since: number;
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

export function adaptivePolicy({ calendar, since, goal, holdMs }: AdaptiveOptions): SizingPolicy {
  const mixture = new Mixture(calendar, since);
  const held = greatestOf(holdMs);
  const missShare = "missShare" in goal ? goal.missShare : null;
  // A claim that may miss once in n may cost some n idle hours: within a factor of ten on every trace that was tried.
  let worth = "missShare" in goal ? 1 / goal.missShare : goal.worthHours;
  return {
    claim({ at, hit }) {
      mixture.claim(at);
      if (missShare === null) return;
      worth *= Math.exp(step * ((hit ? 0 : 1) - missShare));
      worth = Math.min(Math.max(worth, worthBounds.least), worthBounds.most);
    },
    wanted({ now, leadMs, open }) {
      mixture.advance(now);
      const all = mixture.forecast(now, now + leadMs);
      const { target, ...next } = open
        ? pricedTarget(thinned(all, open.unseen), worth, most, openCheckouts(open.chances, leadMs))
        : pricedTarget(all, worth, most);
      return { target, keep: held(now, target), why: { kind: "priced", worthHours: worth, ...next } };
    },
  };
}

/** The greatest value of the last `spanMs`: a queue of falling values, so that each is looked at once. */
function greatestOf(spanMs: number): (at: number, value: number) => number {
  const falling: { readonly at: number; readonly value: number }[] = [];
  return (at, value) => {
    while ((falling.at(-1)?.value ?? Number.POSITIVE_INFINITY) <= value) falling.pop();
    falling.push({ at, value });
    while ((falling[0]?.at ?? at) < at - spanMs) falling.shift();
    return falling[0]?.value ?? value;
  };
}
