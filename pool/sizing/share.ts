/**
 * Many pools, one budget: where `max_total` or the day's spend leaves less than all pools want, machines go where one more
 * saves the most, again and again (marginal analysis, as METRIC shares a stock; Sherbrooke, Operations Research 16(1),
 * 1968). What every pool keeps at least comes first, shared out in the same way.
 */

export interface Bidder {
  readonly name: string;
  /** Warm machines that the pool keeps at least, and those that it wants. */
  readonly least: number;
  readonly wanted: number;
  /** Warm ones and those on the way: paid for already, in part. */
  readonly have: number;
  /** Claims an hour that one machine more would serve at once when so many are kept. */
  readonly serves: (machines: number) => number;
  /** What such a claim is worth; in the currency of the prices. */
  readonly value: number;
  /** What one machine costs an hour; 0 while the price is not known, as the next. */
  readonly hourly: number;
  /** What one costs for the rest of the day: a new one, and one whose running hour is spent already. */
  readonly restOfDay: { readonly built: number; readonly kept: number };
}

export type Bound = "max_total" | "max_spend_per_day";

export interface Share {
  readonly machines: number;
  /** What cut it below what the pool wants; null when nothing did. */
  readonly cutBy: Bound | null;
}

/**
 * A machine that is there is worth somewhat more than another like it that is still to be built: two pools that want the
 * same do not take turns with it.
 */
const incumbent = 1.25;

/** Where no price is known every machine costs the same. */
const anyPrice = 1;

/**
 * @param room warm machines that all pools together may have
 * @param money that they may cost for the rest of the day; null: any
 */
export function shareOut(
  bidders: readonly Bidder[],
  room: number,
  money: number | null,
): ReadonlyMap<string, Share> {
  const all = bidders.reduce((sum, { wanted }) => sum + wanted, 0);
  const cost = bidders.reduce((sum, { wanted, have, restOfDay: { kept, built } }) => {
    const there = Math.min(wanted, have);
    return sum + there * kept + (wanted - there) * built;
  }, 0);
  if (all <= room && (money === null || cost <= money))
    return new Map(bidders.map(({ name, wanted }) => [name, { machines: wanted, cutBy: null }]));
  const got = new Map(bidders.map(({ name }) => [name, 0]));
  const cut = new Map<string, Bound>();
  let [left, rest] = [Math.max(0, room), money ?? Number.POSITIVE_INFINITY];
  const gain = ({ name, serves, value, hourly, have }: Bidder): number => {
    const machines = got.get(name) ?? 0;
    return ((serves(machines) * value) / (hourly || anyPrice)) * (machines < have ? incumbent : 1);
  };
  const costOfNext = ({ name, have, restOfDay: { kept, built } }: Bidder): number =>
    (got.get(name) ?? 0) < have ? kept : built;
  const fill = (most: (bidder: Bidder) => number): void => {
    for (;;) {
      let best: { readonly bidder: Bidder; readonly gain: number } | null = null;
      for (const bidder of bidders) {
        if (cut.has(bidder.name) || (got.get(bidder.name) ?? 0) >= most(bidder)) continue;
        if (left < 1) cut.set(bidder.name, "max_total");
        else if (costOfNext(bidder) > rest) cut.set(bidder.name, "max_spend_per_day");
        else {
          const its = gain(bidder);
          if (best === null || its > best.gain) best = { bidder, gain: its };
        }
      }
      if (best === null) return;
      const { bidder } = best;
      left -= 1;
      rest -= costOfNext(bidder);
      got.set(bidder.name, (got.get(bidder.name) ?? 0) + 1);
    }
  };
  fill(({ least, wanted }) => Math.min(least, wanted));
  fill(({ wanted }) => wanted);
  return new Map(
    bidders.map(({ name }) => [name, { machines: got.get(name) ?? 0, cutBy: cut.get(name) ?? null }]),
  );
}
