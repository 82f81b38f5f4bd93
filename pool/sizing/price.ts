/** What one machine of a pool costs, by Hetzner's price list. */
import { machinePrice, type PriceAnswer } from "../cloud/prices.ts";
import type { PoolConfig } from "../config/config.ts";
import type { Store } from "../store/store.ts";

/** Where it is built first, of the pool's own type. */
export const priceOf = (
  store: Pick<Store, "prices">,
  { serverType, locations }: Pick<PoolConfig, "serverType" | "locations">,
): PriceAnswer => machinePrice(store.prices(), { serverType, location: locations[0] ?? "" });
