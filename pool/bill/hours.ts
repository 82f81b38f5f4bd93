/**
 * What Hetzner charges for something that exists for a while: each begun hour in full, switched on or not, and in a
 * calendar month never more than the monthly price (https://docs.hetzner.com/cloud/billing/faq). Months are UTC's; an
 * hour belongs to the day and month in which it begins. The first begins with the resource, so there is at least one.
 */
import { hourMs } from "../clock.ts";
import type { Money, Price } from "../cloud/prices.ts";

/** Epoch ms, `until` exclusive. */
export interface Span {
  readonly from: number;
  readonly until: number;
}

export interface BegunHour {
  /** The part of the hour in which the resource existed. */
  readonly existed: Span;
  /** Null without a price. */
  readonly cost: Money | null;
}

/** How many hours are charged for what exists between these moments, epoch ms. */
export const countBegun = (from: number, until: number): number =>
  Math.max(1, Math.ceil((until - from) / hourMs));

/** The begun hours of a resource that exists during `life`, as far as they begin within `period`, oldest first. */
export function begunHours(life: Span, price: Price | null, period: Span): BegunHour[] {
  const count = countBegun(life.from, life.until);
  const first = indexFrom(life.from, period.from);
  const end = Math.min(count, indexFrom(life.from, period.until));
  return Array.from({ length: Math.max(0, end - first) }, (_, offset) => {
    const index = first + offset;
    const from = life.from + index * hourMs;
    const inMonth = index - indexFrom(life.from, monthOf(from));
    return {
      existed: { from, until: Math.max(from, Math.min(from + hourMs, life.until)) },
      cost: price && { net: next(inMonth, price, "net"), gross: next(inMonth, price, "gross") },
    };
  });
}

/** The number of the first hour that begins at `at` or later; hours are counted from `from`. */
const indexFrom = (from: number, at: number): number => Math.max(0, Math.ceil((at - from) / hourMs));

function monthOf(at: number): number {
  const date = new Date(at);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth());
}

/** What the hour after the month's first `hours` costs. */
function next(hours: number, { hourly, monthly }: Price, by: keyof Money): number {
  const sum = (n: number) => Math.min(n * hourly[by], monthly[by]);
  return sum(hours + 1) - sum(hours);
}

/** How much of `a` is in `b`, in ms. */
export const overlapMs = (a: Span, b: Span): number =>
  Math.max(0, Math.min(a.until, b.until) - Math.max(a.from, b.from));
