/** Days and months of bills. A day (UTC) is closed once its last hours are over, and then kept as it was. */
import { dayMs, hourMs } from "../clock.ts";
import type { Store } from "../store/store.ts";
import { type Bill, type BillRow, type BillStore, byPoolAndPurpose, makeBill } from "./bill.ts";
import type { Span } from "./hours.ts";

/** The hours that began in a day are over an hour after it; what was seen last is written down some minutes later. */
const closedAfterMs = hourMs + 30 * 60_000;

/** `2026-11-21` */
export const dayOf = (at: number): string => new Date(at).toISOString().slice(0, 10);
/** `2026-11` */
export const monthOf = (at: number): string => dayOf(at).slice(0, 7);
const startOf = (day: string): number => Date.parse(`${day}T00:00:00Z`);
const spanOf = (day: string): Span => ({ from: startOf(day), until: startOf(day) + dayMs });

/** A day (`2026-11-21`) or a month (`2026-11`), UTC. @throws RangeError that says what is wanted */
export function periodOf(text: string): Span {
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text);
  const from = isDay ? startOf(text) : /^\d{4}-\d{2}$/.test(text) ? startOf(`${text}-01`) : Number.NaN;
  if (Number.isNaN(from) || !new Date(from).toISOString().startsWith(text)) {
    throw new RangeError(`${text}: want a day such as 2026-11-21 or a month such as 2026-11`);
  }
  if (isDay) return spanOf(text);
  const date = new Date(from);
  return { from, until: Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1) };
}

/** What is known of it so far: closed days as they were closed, the others as they are now. */
export function billOf(store: BillStore, period: Span, now: number): Bill {
  const closed = new Map(
    store
      .billDays(dayOf(period.from), dayOf(period.until))
      .map(({ day, document }): [string, Bill] => [day, JSON.parse(document)]),
  );
  const bills: Bill[] = [];
  for (let at = period.from; at < Math.min(period.until, now + 1); at += dayMs) {
    const day = dayOf(at);
    bills.push(closed.get(day) ?? makeBill(store, spanOf(day), now));
  }
  return added(bills, period);
}

/** Closes the days that are over and were not closed. @returns which */
export function closeDays(store: BillStore & Pick<Store, "closeBillDay">, now: number): string[] {
  const all = store.billed(0, Number.MAX_SAFE_INTEGER);
  const begins = all.map(({ countedFrom, seenFrom }) => Math.min(countedFrom ?? now, seenFrom ?? now));
  const first = Math.min(now, ...begins);
  const closed: string[] = [];
  const known = new Set(store.billDays("", "9999").map(({ day }) => day));
  for (let at = startOf(dayOf(first)); at + dayMs + closedAfterMs <= now; at += dayMs) {
    const day = dayOf(at);
    if (known.has(day)) continue;
    store.closeBillDay(day, JSON.stringify(makeBill(store, spanOf(day), now)), "the day is over");
    closed.push(day);
  }
  return closed;
}

const round = (amount: number): number => Math.round(amount * 1e9) / 1e9;

/** Days beside each other; what differs for several days is told once, as the newest has it. */
function added(bills: readonly Bill[], period: Span): Bill {
  const rows = new Map<string, BillRow>();
  const unpriced = new Map<string, number>();
  const differences = new Map<string, Bill["differences"][number]>();
  for (const bill of bills) {
    for (const row of bill.rows) {
      const key = `${row.pool} ${row.purpose}`;
      const sum = rows.get(key) ?? { ...row, hours: 0, net: 0, gross: 0 };
      rows.set(key, {
        ...sum,
        hours: round(sum.hours + row.hours),
        net: round(sum.net + row.net),
        gross: round(sum.gross + row.gross),
      });
    }
    for (const { reason, hours } of bill.unpriced) unpriced.set(reason, (unpriced.get(reason) ?? 0) + hours);
    for (const one of bill.differences) differences.set(`${one.kind} ${one.resource} ${one.from}`, one);
  }
  const total = (by: "hours" | "addressHours" | "net" | "gross") =>
    round(bills.reduce((sum, bill) => sum + bill[by], 0));
  return {
    ...period,
    currency: bills.find(({ currency }) => currency !== null)?.currency ?? null,
    rows: [...rows.values()].sort(byPoolAndPurpose),
    hours: total("hours"),
    addressHours: total("addressHours"),
    net: total("net"),
    gross: total("gross"),
    unpriced: [...unpriced].map(([reason, hours]) => ({ reason, hours })),
    differences: [...differences.values()],
  };
}
