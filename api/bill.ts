/** What the machines cost, for operators: `GET /v1/bill?month=2026-11` or `?day=2026-11-21`; this month without either. */
import Router from "@koa/router";
import type { Middleware } from "koa";
import type { Bill } from "../pool/bill/bill.ts";
import { billOf, monthOf, periodOf } from "../pool/bill/days.ts";
import type { Span } from "../pool/bill/hours.ts";
import type { Clock } from "../pool/clock.ts";
import type { Store } from "../pool/store/store.ts";
import { operatorOf } from "./auth.ts";
import { Problem } from "./problem.ts";

interface BillOptions {
  readonly store: Store;
  readonly clock: Clock;
}

export function billRoutes(options: BillOptions): Middleware {
  const router = new Router();
  router.get("/v1/bill", (context) => {
    operatorOf(context);
    context.body = viewBill(readBill(options, context.URL.searchParams));
  });
  return router.routes() as Middleware;
}

/** @throws Problem 400 naming the parameter */
export function readBill({ store, clock }: BillOptions, query: URLSearchParams): Bill {
  const now = clock.now();
  return billOf(store, readPeriod(query, now), now);
}

function readPeriod(query: URLSearchParams, now: number): Span {
  const field = [...query.keys()].find((key) => key !== "day" && key !== "month") ?? null;
  const bad = (name: string, remedy: string) =>
    new Problem({ status: 400, code: "period", title: "The bill of which time?", field: name, remedy });
  if (field !== null) throw bad(field, "day or month");
  if (query.size > 1) throw bad("month", "one day or one month");
  const [[name, text] = ["month", monthOf(now)]] = query;
  try {
    if (name === "day" && text.length !== "2026-11-21".length) throw new RangeError(text);
    if (name === "month" && text.length !== "2026-11".length) throw new RangeError(text);
    return periodOf(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw bad(name, name === "day" ? "a day such as 2026-11-21" : "a month such as 2026-11");
  }
}

const iso = (at: number): string => new Date(at).toISOString();

const viewBill = ({ from, until, addressHours, differences, ...bill }: Bill) => ({
  from: iso(from),
  until: iso(until),
  ...bill,
  address_hours: addressHours,
  differences: differences.map((one) => ({ ...one, from: iso(one.from), until: iso(one.until) })),
});
