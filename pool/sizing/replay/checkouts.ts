/** What the daemon knew of open checkouts at each moment of a record, by the rules that it goes by itself. */
import type { Checkout } from "../../store/store.ts";
import { learnedFrom, learnPaying, type Paying, type Reservations, reservations } from "../reservations.ts";

export interface CheckoutRecord {
  /** Those that ended, of all pools, by their end: how customers pay is learned from them. */
  readonly ended: readonly Checkout[];
  /** The pool's own, by their opening, open to this day or not. */
  readonly own: readonly Checkout[];
}

/** @returns null while too few had ended to learn from */
export type OpenAt = (now: number, leadMs: number) => Reservations | null;

/** The daemon learns anew with each that ends; with every tenth a replay is not longer for it. */
const learnedEvery = 10;

/** @returns what is asked with growing times (epoch ms), by one run over the record */
export function readCheckouts({ ended, own }: CheckoutRecord): OpenAt {
  let [endedBy, opened, learnedBy] = [0, 0, 0];
  let paying: Paying | null = null;
  let open: readonly Checkout[] = [];
  const endOf = (checkout: Checkout | undefined) => checkout?.closedAt ?? Number.POSITIVE_INFINITY;
  return (now, leadMs) => {
    while (endOf(ended[endedBy]) <= now) endedBy++;
    if (endedBy - learnedBy >= learnedEvery) {
      learnedBy = endedBy - (endedBy % learnedEvery);
      paying = learnPaying(ended.slice(Math.max(0, learnedBy - learnedFrom), learnedBy));
    }
    const first = opened;
    while ((own[opened]?.openedAt ?? Number.POSITIVE_INFINITY) <= now) opened++;
    if (opened > first || open.some((checkout) => endOf(checkout) <= now))
      open = [...open, ...own.slice(first, opened)].filter((checkout) => endOf(checkout) > now);
    return paying && reservations(paying, open, now, leadMs);
  };
}
