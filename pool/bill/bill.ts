/** The bill of some days, from what the store knows: hours and money by pool and purpose, and what does not agree. */
import { ipv4Price, serverPrice } from "../cloud/prices.ts";
import type { BilledResource, Store } from "../store/store.ts";
import { type Difference, differencesOf, lifeOf } from "./differences.ts";
import { begunHours, overlapMs, type Span } from "./hours.ts";
import { type Purpose, purposes, type Stay, staysOf } from "./purpose.ts";

export interface BillRow {
  /** Null of what no row knew. */
  readonly pool: string | null;
  readonly purpose: Purpose;
  /** Begun hours of servers; an hour with several purposes is divided by time. */
  readonly hours: number;
  /** In the bill's currency, with the servers' addresses; without VAT, and with it. */
  readonly net: number;
  readonly gross: number;
}

export interface Bill {
  /** Epoch ms, `until` exclusive. Hours count that begin in between. */
  readonly from: number;
  readonly until: number;
  /** Null while no price list was read. */
  readonly currency: string | null;
  readonly rows: readonly BillRow[];
  /** Begun hours of servers, and of primary IPv4 addresses. */
  readonly hours: number;
  readonly addressHours: number;
  readonly net: number;
  readonly gross: number;
  /** Hours that are in `hours` and in no sum of money, and why. */
  readonly unpriced: readonly { readonly reason: string; readonly hours: number }[];
  readonly differences: readonly Difference[];
}

export type BillStore = Pick<Store, "billed" | "listedSpans" | "machineStates" | "prices" | "billDays">;

/** Hetzner writes ten digits; more are only the noise of adding up. */
const round = (amount: number): number => Math.round(amount * 1e9) / 1e9;

export function makeBill(store: BillStore, period: Span, now: number): Bill {
  const sums = new Map<
    string,
    { pool: string | null; purpose: Purpose; hours: number; net: number; gross: number }
  >();
  const unpriced = new Map<string, number>();
  const listed = store.listedSpans();
  const resources = store.billed(period.from, period.until);
  // Not from the rows: thirds of an hour, rounded, do not add up to it.
  const total = { hours: 0, addressHours: 0, net: 0, gross: 0 };

  function add(resource: BilledResource, kind: "server" | "address", stays: readonly Stay[]): void {
    const { price } = resource;
    const agreed = kind === "address" && resource.kind === "server" ? price?.address : price?.own;
    for (const { existed, cost } of begunHours(lifeOf(resource, now), agreed ?? null, period)) {
      total[kind === "address" ? "addressHours" : "hours"] += 1;
      total.net += cost?.net ?? 0;
      total.gross += cost?.gross ?? 0;
      if (cost === null) {
        const reason = whyUnpriced(store, resource, kind);
        unpriced.set(reason, (unpriced.get(reason) ?? 0) + 1);
      }
      for (const [purpose, share] of sharesOf(existed, stays)) {
        const pool = resource.pool;
        const key = `${pool} ${purpose}`;
        const sum = sums.get(key) ?? { pool, purpose, hours: 0, net: 0, gross: 0 };
        if (kind === "server") sum.hours += share;
        sum.net += share * (cost?.net ?? 0);
        sum.gross += share * (cost?.gross ?? 0);
        sums.set(key, sum);
      }
    }
  }

  for (const resource of resources) {
    const stays = staysDuring(store, resource, now);
    if (resource.kind === "server") add(resource, "server", stays);
    if (resource.kind === "primary_ip" || resource.hasIpv4) add(resource, "address", stays);
  }
  const rows = [...sums.values()]
    .map((row) => ({ ...row, hours: round(row.hours), net: round(row.net), gross: round(row.gross) }))
    .sort(byPoolAndPurpose);
  return {
    ...period,
    currency:
      resources.find(({ price }) => price !== null)?.price?.currency ?? store.prices()?.currency ?? null,
    rows,
    ...total,
    net: round(total.net),
    gross: round(total.gross),
    unpriced: [...unpriced].map(([reason, hours]) => ({ reason, hours })),
    differences: resources
      .flatMap((resource) => differencesOf(resource, listed, now))
      .filter((difference) => overlapMs(difference, period) > 0 || isWithin(difference.from, period)),
  };
}

/** What no row knew comes last. */
export function byPoolAndPurpose(a: BillRow, b: BillRow): number {
  if (a.pool === b.pool) return purposes.indexOf(a.purpose) - purposes.indexOf(b.purpose);
  if (a.pool === null || b.pool === null) return a.pool === null ? 1 : -1;
  return a.pool < b.pool ? -1 : 1;
}

const isWithin = (at: number, { from, until }: Span): boolean => at >= from && at < until;

/** Before the store counted it and after, nobody knew what it was for. */
function staysDuring(store: BillStore, resource: BilledResource, now: number): Stay[] {
  const { machine, countedFrom, countedUntil } = resource;
  if (machine === null || countedFrom === null) return [];
  const counted = { from: countedFrom, until: countedUntil ?? Math.max(now, countedFrom + 1) };
  return staysOf(store.machineStates(machine)).flatMap((stay) => {
    const from = Math.max(stay.from, counted.from);
    const until = Math.min(stay.until, counted.until);
    return from < until ? [{ ...stay, from, until }] : [];
  });
}

/** The purposes' shares of one begun hour; they add up to 1. */
function sharesOf(existed: Span, stays: readonly Stay[]): [Purpose, number][] {
  const length = existed.until - existed.from;
  if (length === 0) {
    const stay = stays.find((one) => isWithin(existed.from, one)) ?? stays.at(-1);
    return [[stay?.purpose ?? "unknown", 1]];
  }
  const shares = new Map<Purpose, number>();
  let known = 0;
  for (const stay of stays) {
    const ms = overlapMs(stay, existed);
    if (ms > 0) shares.set(stay.purpose, (shares.get(stay.purpose) ?? 0) + ms / length);
    known += ms;
  }
  if (known < length) shares.set("unknown", (length - known) / length);
  return [...shares];
}

function whyUnpriced(store: BillStore, resource: BilledResource, kind: "server" | "address"): string {
  const { type: serverType, location, price } = resource;
  const prices = price === null ? null : store.prices();
  const answer =
    kind === "server" ? serverPrice(prices, { serverType, location }) : ipv4Price(prices, location);
  const what = kind === "server" ? serverType : "a primary IPv4";
  return answer.known ? `no price for ${what} at ${location} when it was ordered` : answer.reason;
}
