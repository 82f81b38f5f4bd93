/** Reads Hetzner's price list once a day; the store keeps the last, so that a restart without Hetzner still has prices. */
import type { Logger } from "pino";
import { type Clock, dayMs } from "../clock.ts";
import type { Cloud } from "../cloud/cloud.ts";
import type { Store } from "../store/store.ts";

/** After so long without an answer a person is told; the old prices go on counting. */
const staleMs = 3 * dayMs;
/** While there is a list, a new one is asked for again so soon. */
const retryMs = 10 * 60_000;

/** The kind of the flag that says so. */
export const stalePricesFlag = "prices-stale";

export interface PriceReadingOptions {
  readonly store: Store;
  readonly cloud: Pick<Cloud, "prices">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** @returns what the daemon does each minute; it never throws for a list that could not be had */
export function createPriceReading({ store, cloud, clock, log }: PriceReadingOptions): () => Promise<void> {
  let triedAt = Number.NEGATIVE_INFINITY;
  return async () => {
    const now = clock.now();
    const readAt = store.prices()?.readAt ?? null;
    // A clock that was set back would otherwise wait until it is where it was.
    const isFresh = readAt !== null && Math.abs(now - readAt) < dayMs;
    if (isFresh || (readAt !== null && Math.abs(now - triedAt) < retryMs)) return;
    triedAt = now;
    try {
      store.rememberPrices(await cloud.prices());
    } catch (err) {
      log.warn({ err }, "could not read Hetzner's price list");
      if (readAt === null || now - readAt < staleMs) return;
      const since = new Date(readAt).toISOString();
      store.flag(
        stalePricesFlag,
        "hetzner",
        `Hetzner's price list was last read at ${since}; its prices count until a newer one can be read`,
      );
      return;
    }
    store.clearFlag(stalePricesFlag, "hetzner", "the price list was read");
  };
}
