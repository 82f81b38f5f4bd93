/**
 * The store's count against what Hetzner's lists showed. Hetzner has no invoice by resource in its API; what its lists
 * show is what it charges for.
 */
import type { BilledResource, ListedSpan } from "../store/store.ts";
import { countBegun, overlapMs, type Span } from "./hours.ts";

/**
 * What a list is behind or ahead of a row, and the longest that the lists leave between two looks at the same thing.
 * A row is closed when Hetzner says that the server is gone, seconds after it ceased to be charged for.
 */
export const slackMs = 15 * 60_000;

export interface Difference extends Span {
  /** `not-counted`: Hetzner showed it while the store knew nothing of it. `not-seen`: the reverse. */
  readonly kind: "not-counted" | "not-seen";
  /** `server 1004` */
  readonly resource: string;
  readonly name: string;
  /** Begun hours between the two. */
  readonly hours: number;
  /** Without VAT, in the price list's currency; null without a price. */
  readonly net: number | null;
  readonly text: string;
}

/** How long it was charged for: by the store's count, and beyond that where Hetzner showed it all the same. */
export function lifeOf(resource: BilledResource, now: number): Span {
  const { countedFrom, countedUntil, seenFrom, seenUntil } = resource;
  const counted = { from: countedFrom ?? seenFrom ?? now, until: countedUntil ?? now };
  if (countedFrom === null) return { from: counted.from, until: Math.max(seenUntil ?? now, counted.from) };
  return {
    from: seenFrom !== null && seenFrom < counted.from - slackMs ? seenFrom : counted.from,
    until: seenUntil !== null && seenUntil > counted.until + slackMs ? seenUntil : counted.until,
  };
}

/** @param listed when whole lists were read: what nobody looked for cannot be missed */
export function differencesOf(
  resource: BilledResource,
  listed: readonly ListedSpan[],
  now: number,
): Difference[] {
  const { kind, id, name, price, countedFrom, countedUntil, seenFrom, seenUntil } = resource;
  const found: Difference[] = [];
  const add = (what: Difference["kind"], from: number, until: number, text: string) => {
    const hours = countBegun(from, until);
    const hourly = price?.own ? price.own.hourly.net + (price.address?.hourly.net ?? 0) : null;
    const resourceName = `${kind} ${id}`;
    found.push({
      ...{ kind: what, resource: resourceName, name, from, until, hours },
      net: hourly === null ? null : hourly * hours,
      text: `${resourceName} (${name}) ${text}`,
    });
  };
  const looked = (from: number, until: number) =>
    listed.reduce((sum, span) => sum + overlapMs(span, { from, until }), 0);

  if (countedFrom === null) {
    if (seenFrom !== null && seenUntil !== null) add("not-counted", seenFrom, seenUntil, "was never counted");
    return found;
  }
  const until = countedUntil ?? now;
  if (seenFrom !== null && seenFrom < countedFrom - slackMs)
    add("not-counted", seenFrom, countedFrom, "existed before the store knew of it");
  if (seenUntil !== null && seenUntil > until + slackMs)
    add("not-counted", until, seenUntil, "was seen after its row was closed");
  const missedFrom = seenUntil ?? countedFrom;
  if (looked(missedFrom + slackMs, until) > 0)
    add("not-seen", missedFrom, until, seenUntil === null ? "was in no list" : "was in no list any more");
  return found;
}
