/** What is expected of a pool's customers, whatever policy sizes it: for people, and for sharing one budget. */
import { hourMs } from "../clock.ts";
import { type Margin, margins } from "./forecast/miss-price.ts";
import type { Mixture } from "./forecast/mixture.ts";
import { openCheckouts, thinned } from "./forecast/open-checkouts.ts";
import type { Reservations } from "./reservations.ts";

export interface Outlook {
  /** Claims that are expected within the next hour. */
  readonly ratePerHour: number;
  /** That, as a multiple of the average hour of the coming week. */
  readonly season: number;
  /** Claims that are expected within one lead time, open checkouts included. */
  readonly expected: number;
  /** What one machine more would bring when so many are kept. */
  margin(machines: number): Margin;
}

const weekHours = 168;

/** @param mixture told of everything up to now */
export function outlookOf(mixture: Mixture, open: Reservations | null, now: number, leadMs: number): Outlook {
  const claimsWithin = (ms: number): number => {
    const { weight, mean } = mixture.forecast(now, now + ms);
    return weight.reduce((sum, each, index) => sum + each * (mean[index] ?? 0), 0);
  };
  mixture.advance(now);
  const ratePerHour = claimsWithin(hourMs);
  const usual = claimsWithin(weekHours * hourMs) / weekHours;
  // What the mixture gives is good until it is asked again.
  const own = thinned(mixture.forecast(now, now + leadMs), open?.unseen ?? 1);
  const coming = open && openCheckouts(open.chances, leadMs);
  const known: Margin[] = [];
  const further = margins(own, coming);
  return {
    ratePerHour,
    season: usual > 0 ? ratePerHour / usual : 1,
    expected: own.weight.reduce(
      (sum, each, index) => sum + each * (own.mean[index] ?? 0),
      coming?.expected ?? 0,
    ),
    margin(machines) {
      while (known.length <= machines) known.push(further.next().value);
      return known[machines] ?? further.next().value;
    },
  };
}
