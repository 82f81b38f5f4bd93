/**
 * Open checkouts as the leading signal: who is about to pay. How many pay, and how soon, is learned from the pool's own
 * checkouts: q is the share that is paid at all, F the distribution of the time until then. A checkout that has been open
 * for a pays within the next L with
 *
 *     q (F(a + L) - F(a)) / (1 - q F(a))
 *
 * and of the claims of a lead time only the share (1/L) ∫ F(u) du, u from 0 to L, comes from checkouts nobody has seen yet.
 */
import type { Checkout } from "../store/store.ts";

/** So many of the newest that have ended are learned from. */
export const learnedFrom = 500;

/** Fewer say too little of how customers pay. */
const least = { closed: 20, paid: 5 };

export interface Reservations {
  /** Of each checkout that is open, the chance (0–1) that it is paid within the lead time. */
  readonly chances: readonly number[];
  /** Share (0–1) of the lead time's claims whose checkouts are opened later than now. */
  readonly unseen: number;
}

/** How the customers pay, as their checkouts told. */
export interface Paying {
  /** Share (0–1) of the checkouts that are paid. */
  readonly share: number;
  /** Times in ms from opening to paying, ascending. */
  readonly times: readonly number[];
}

/** @returns null as long as too few checkouts have ended */
export function learnPaying(closed: readonly Checkout[]): Paying | null {
  const times = closed
    .filter(({ outcome }) => outcome === "paid")
    .map(({ openedAt, closedAt }) => Math.max(0, (closedAt ?? openedAt) - openedAt))
    .sort((a, b) => a - b);
  if (closed.length < least.closed || times.length < least.paid) return null;
  return { share: times.length / closed.length, times };
}

export function reservations(
  { share, times }: Paying,
  open: readonly Checkout[],
  now: number,
  leadMs: number,
): Reservations {
  const within = (ms: number): number => countUpTo(times, ms) / times.length;
  const chances = open.flatMap(({ openedAt }) => {
    const age = Math.max(0, now - openedAt);
    const [before, after] = [within(age), within(age + leadMs)];
    const still = 1 - share * before;
    const chance = still <= 0 ? 0 : (share * (after - before)) / still;
    return chance > 0 ? [Math.min(1, chance)] : [];
  });
  const covered = times.reduce((sum, ms) => sum + Math.max(0, leadMs - ms), 0);
  return { chances, unseen: leadMs <= 0 ? 0 : covered / (times.length * leadMs) };
}

/** How many machines the open checkouts are expected to take within the lead time. */
export const expectedFrom = ({ chances }: Reservations): number =>
  chances.reduce((sum, chance) => sum + chance, 0);

/** How many of the ascending values are at most `bound`. */
function countUpTo(values: readonly number[], bound: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((values[middle] ?? 0) <= bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
