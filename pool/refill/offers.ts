/**
 * Which server type and location the next machine of a pool is built with: the configured ones in their order, without
 * those that were sold out a moment ago, and where the customer who waits wants it.
 */
import type { Config, PoolConfig } from "../config/config.ts";
import type { Machine, MachineName } from "../machine/machine.ts";
import type { Order } from "../order/order.ts";
import type { OrderLimits, Store } from "../store/store.ts";
import { comingStates } from "./budget.ts";

export interface Offer {
  readonly serverType: string;
  readonly location: string;
}

/** What an order may cost that gets machines of this pool. */
export function orderLimits(config: Pick<Config, "pools" | "regions">, poolName: string): OrderLimits {
  const pool = config.pools.find(({ name }) => name === poolName);
  return {
    limit: pool?.failureBudget.buildsPerOrder ?? 5,
    locationsOf: (region) => config.regions[region] ?? [],
  };
}

/** Every offer of the pool: first its own type everywhere, then the others. */
export function offersOf(pool: PoolConfig): Offer[] {
  return [pool.serverType, ...pool.otherServerTypes].flatMap((serverType) =>
    pool.locations.map((location) => ({ serverType, location })),
  );
}

/** Those of them that are not remembered as sold out. */
export function inStock(store: Store, pool: PoolConfig): Offer[] {
  const out = store.stockOuts();
  return offersOf(pool).filter(
    (offer) =>
      !out.some(({ serverType, location }) => serverType === offer.serverType && location === offer.location),
  );
}

/** One order of each customer that waits for a machine of this plan, the longest-waiting first. */
export function waiting(store: Store, plan: string): Order[] {
  const busy = new Set<string>();
  return store
    .orders({ states: ["queued"] })
    .filter((order) => order.plan === plan && order.suspendedFor === null)
    .sort((a, b) => (a.paidAt ?? 0) - (b.paidAt ?? 0) || (a.id < b.id ? -1 : 1))
    .filter(({ customer }) => {
      const isFirst = !busy.has(customer);
      busy.add(customer);
      return isFirst;
    });
}

/**
 * Orders for which nothing comes that would be in their region, though the pool could build there.
 *
 * @param except a machine that is about to be built elsewhere
 */
export function uncovered(store: Store, config: Config, pool: PoolConfig, except?: MachineName): Order[] {
  const coming = store
    .machines({ pool: pool.name, states: comingStates })
    .filter(({ name, withheld, held }) => name !== except && !withheld && held === null);
  return waiting(store, pool.plan).filter((order) => {
    const there = config.regions[order.region] ?? [];
    if (!pool.locations.some((location) => there.includes(location))) return false;
    const index = coming.findIndex(({ location }) => there.includes(location));
    if (index >= 0) coming.splice(index, 1);
    return index < 0;
  });
}

/** Where the next machine is tried; null when nothing is in stock where it is wanted. */
export function nextOffer(
  store: Store,
  config: Config,
  pool: PoolConfig,
  machine?: Pick<Machine, "name">,
): Offer | null {
  const [order] = uncovered(store, config, pool, machine?.name);
  const wanted = order ? (config.regions[order.region] ?? []) : pool.locations;
  return inStock(store, pool).find(({ location }) => wanted.includes(location)) ?? null;
}

/** With everything sold out: the one that was asked for the longest ago, where the machine is wanted. */
export function oldestOffer(store: Store, config: Config, pool: PoolConfig): Offer {
  const [order] = uncovered(store, config, pool);
  const wanted = order ? (config.regions[order.region] ?? []) : pool.locations;
  const offers = offersOf(pool).filter(({ location }) => wanted.includes(location));
  const until = (offer: Offer) =>
    store
      .stockOuts()
      .find(({ serverType, location }) => serverType === offer.serverType && location === offer.location)
      ?.until ?? 0;
  const [oldest] = offers.sort((a, b) => until(a) - until(b));
  return oldest ?? { serverType: pool.serverType, location: pool.locations[0] ?? "" };
}
