/**
 * Tells a person of each paid order that waits for its machine longer than builds explain, why as far as is known, and
 * what ends it. Not every wait ends by itself: its region may be sold out, its pool full, or no pool may have its region any
 * more, and none of these shows at a pool that has enough elsewhere. Looked at once a minute.
 */
import type { Logger } from "pino";
import { type Clock, minuteMs } from "../clock.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import type { Order } from "../order/order.ts";
import { assumedLeadMs, leadTimeMs } from "../sizing/lead-time.ts";
import type { Store } from "../store/store.ts";
import { comingStates } from "./budget.ts";
import { inStock, uncovered, waiting } from "./offers.ts";

/** Ends with its order's wait, too: pool/store/attempts.ts. */
const orderWaits = "order-waits";

/** Nobody is told sooner, however fast builds are: a build that failed and the one after it are no reason yet. */
const leastMs = 15 * minuteMs;

/** Median builds after which a wait is no build's any more: one that fails late, and the next. */
const builds = 2;

/** Flags each order that waits for too long, with a text that stays while nothing changes; takes it back when it does not. */
export function raiseWaits({
  store,
  config,
  clock,
  log,
}: {
  store: Store;
  config: Config;
  clock: Clock;
  log: Logger;
}): void {
  const queued = store
    .orders({ states: ["queued"], limit: Number.MAX_SAFE_INTEGER })
    .filter(({ suspendedFor }) => suspendedFor === null)
    .sort((a, b) => (a.paidAt ?? 0) - (b.paidAt ?? 0) || (a.id < b.id ? -1 : 1));
  const told = new Map(
    store.flags().flatMap((flag) => (flag.kind === orderWaits ? [[flag.subject, flag] as const] : [])),
  );
  for (const order of queued) {
    const before = told.get(order.id);
    const longMs = Math.max(leastMs, builds * (leadTimeMs(store, order.plan) ?? assumedLeadMs));
    // Its history is read only where it may matter.
    if (!before && clock.now() - (order.paidAt ?? 0) <= longMs) continue;
    const since = waitsSince(store, order);
    // What was told of this wait stays told, also where builds have come to take longer.
    const isTold = before !== undefined && before.at >= since;
    if (clock.now() - since <= longMs && !isTold) continue;
    told.delete(order.id);
    const why = reasonOf(store, config, order);
    // Between two tries of a build nothing seems to be wrong; it is over when the order has a machine.
    if (isTold && why === null) continue;
    const text =
      `order ${order.id} is paid and waits for a machine since ${new Date(since).toISOString()}: ` +
      (why ??
        `no reason is known; \`clawpool orders show ${order.id}\` and \`clawpool machines\` tell what is tried`);
    if (store.flag(orderWaits, order.id, text)) log.error({ order: order.id, alert: orderWaits }, text);
  }
  for (const id of told.keys()) store.clearFlag(orderWaits, id, "it does not wait any more, or waits anew");
}

/**
 * Epoch ms: when it was last put in line, or its suspension ended there. Not its payment: what was started again after days,
 * or was paused as long, has not waited for a machine meanwhile.
 */
function waitsSince(store: Store, { id, paidAt }: Order): number {
  const last = store
    .auditRows({ subject: id })
    .findLast(({ after }) => after?.state === "queued" || after?.suspendedFor === null);
  return last?.at ?? paidAt ?? 0;
}

/** Why the order has no machine and what a person can do; null when one is on its way, or is tried, as far as is known. */
function reasonOf(store: Store, config: Config, order: Order): string | null {
  const giveUp = "or cancel its subscription in Stripe and refund it";
  if (store.quarantine()) return "nothing is claimed in quarantine; see `clawpool recover status`";
  const ofPlan = config.pools.filter(({ plan }) => plan === order.plan);
  if (ofPlan.length === 0) {
    return `no pool of the configuration has its plan ${order.plan}; add one, ${giveUp}`;
  }
  const there = config.regions[order.region] ?? [];
  const pools = ofPlan.filter(({ locations }) => locations.some((location) => there.includes(location)));
  if (pools.length === 0) {
    const lack = `no pool of plan ${order.plan} has a location of its region ${order.region}`;
    return `${lack}; add ${order.region} to the regions of a pool, ${giveUp}`;
  }
  const first = firstOf(store, order);
  if (first !== null) return `its customer gets one machine at a time, and order ${first} comes first`;
  const [frozen] = store.frozen();
  if (frozen) {
    const who = frozen.border === "cloud" ? "Hetzner" : "Tailscale";
    return `${who} refuses the account (flag frozen): mend that, \`clawpool resume\` then tries at once`;
  }
  const obstacles = pools.map((pool) => obstacleOf(store, config, pool, order, there));
  const known = obstacles.filter((obstacle) => obstacle !== null);
  return known.length < pools.length ? null : `${known.join("; ")}; ${giveUp}`;
}

/** The order of the same customer that is served before this one; null when there is none. */
function firstOf(store: Store, { id, plan, customer }: Order): string | null {
  const served = store.orders({ states: ["provisioning"], limit: Number.MAX_SAFE_INTEGER });
  const first = [...served, ...waiting(store, plan)].find((other) => other.customer === customer);
  return first === undefined || first.id === id ? null : first.id;
}

/** What keeps this pool from building for the order, and the remedy. @param there locations of the order's region */
function obstacleOf(
  store: Store,
  config: Config,
  pool: PoolConfig,
  order: Order,
  there: readonly string[],
): string | null {
  const { name } = pool;
  if (store.refill(name).stop) {
    return `refill of pool ${name} is stopped (flag refill-stopped); mend its builds, then \`clawpool resume ${name}\``;
  }
  const live = store.machines({ live: true });
  const isBought = live.some(
    ({ pool: of, state, location, withheld, held, serverId }) =>
      of === name &&
      comingStates.includes(state) &&
      there.includes(location) &&
      serverId !== null &&
      !withheld &&
      held === null,
  );
  if (!isBought && !inStock(store, pool).some(({ location }) => there.includes(location))) {
    const where = pool.locations.filter((location) => there.includes(location)).join(" and ");
    const remedy = `name more under other_server_types, or another location in region ${order.region}`;
    return `${where} has none of pool ${name}'s types to sell (each is asked for again now and then); ${remedy}`;
  }
  // One that is on its way to it has its place already.
  if (!uncovered(store, config, pool).some(({ id }) => id === order.id)) return null;
  if (live.filter((machine) => machine.pool === name).length >= pool.maxTotal) {
    return `pool ${name} has its max_total of ${pool.maxTotal} machines; raise it`;
  }
  if (live.length >= config.maxTotal) {
    return `all pools together have max_total (${config.maxTotal}) machines; raise it`;
  }
  return null;
}
