/** What all pools share just now, `max_total` and the day's spend, and what each gets of it. */

import { makeBill } from "../bill/bill.ts";
import { dayOf, periodOf } from "../bill/days.ts";
import { hourMs } from "../clock.ts";
import { machinePrice } from "../cloud/prices.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import type { Machine } from "../machine/machine.ts";
import { comingStates } from "../refill/budget.ts";
import type { Store } from "../store/store.ts";
import type { Outlook } from "./outlook.ts";
import type { Guarded } from "./policy/guards.ts";
import { priceOf } from "./price.ts";
import { type Bidder, type Share, shareOut } from "./share.ts";

/** What a warm claim is worth where nobody said so: the same in all such pools. */
const plainValue = 1;

interface Shared {
  readonly store: Store;
  readonly config: Config;
  readonly now: number;
  readonly ask: (pool: PoolConfig) => { readonly wanted: Guarded };
  readonly outlook: (pool: PoolConfig) => Outlook;
}

export function shareBetween({ store, config, now, ask, outlook }: Shared): ReadonlyMap<string, Share> {
  const live = store.machines({ live: true });
  const isComing = ({ pool, state, held }: Machine) =>
    held === null && comingStates.includes(state) && config.pools.some(({ name }) => name === pool);
  const others = live.filter((machine) => !isComing(machine));
  const queued = [...new Set(config.pools.map(({ plan }) => plan))].reduce(
    (sum, plan) => sum + store.queued(plan),
    0,
  );
  const room = config.maxTotal - others.length - queued;
  const money = config.maxSpendPerDay === null ? null : moneyLeft(store, config, others, queued, now);
  const wanted = config.pools.map((pool) => {
    const own = others.filter((machine) => machine.pool === pool.name).length + store.queued(pool.plan);
    return Math.max(0, Math.min(ask(pool).wanted.target, pool.maxTotal - own));
  });
  const bidders = config.pools.map((pool, index) =>
    bidderOf({ store, config, now, ask, outlook }, pool, wanted[index] ?? 0, live.filter(isComing)),
  );
  return shareOut(bidders, room, money);
}

function bidderOf(
  { store, now, ask, outlook }: Shared,
  pool: PoolConfig,
  wanted: number,
  coming: readonly Machine[],
): Bidder {
  const price = priceOf(store, pool);
  const hourly = price.known ? price.price.hourly.net : 0;
  let known: Outlook | null = null;
  return {
    ...{ name: pool.name, least: pool.minReady, wanted, hourly },
    restOfDay: { built: hourly * Math.ceil(hoursLeft(now)), kept: hourly * hoursLeft(now) },
    have: coming.filter((machine) => machine.pool === pool.name).length,
    value: worthOf(pool, ask(pool).wanted, hourly),
    // Asked only when there is less than all want.
    serves(machines) {
      known ??= outlook(pool);
      return known.margin(machines).serves;
    },
  };
}

/** A share that is to be reached has a price, too: the one at which it is reached. */
function worthOf({ sizing }: PoolConfig, { why }: Guarded, hourly: number): number {
  if (sizing.policy !== "adaptive") return plainValue;
  if ("valueEur" in sizing.goal) return sizing.goal.valueEur;
  return why.kind === "priced" && hourly > 0 ? why.worthHours * hourly : plainValue;
}

/**
 * Until the day's end. A new machine pays for each hour it begins, and begins one at once; those that are there begin theirs at
 * any minute, and the running one is in what was spent.
 */
const hoursLeft = (now: number): number => (periodOf(dayOf(now)).until - now) / hourMs;

/**
 * What of the day's spend is left for machines that wait: without what was spent since midnight (UTC), and without what
 * the others cost until the next. What has no price is counted for nothing; `clawpool plan` and the bill name it.
 */
function moneyLeft(
  store: Store,
  config: Config,
  others: readonly Machine[],
  queued: number,
  now: number,
): number {
  const today = periodOf(dayOf(now));
  const spent = makeBill(store, { from: today.from, until: now + 1 }, now).net;
  const prices = store.prices();
  const hours = hoursLeft(now);
  const coming = others.reduce((sum, machine) => {
    const price = machinePrice(prices, machine);
    return sum + (price.known ? price.price.hourly.net * hours : 0);
  }, 0);
  const dearest = Math.max(
    0,
    ...config.pools.map((pool) => {
      const price = priceOf(store, pool);
      return price.known ? price.price.hourly.net : 0;
    }),
  );
  return (config.maxSpendPerDay ?? 0) - spent - coming - queued * dearest * hours;
}
