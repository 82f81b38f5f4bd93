/** The orders' rows as machines and Stripe have them; pure. */
import type { Config } from "../config/config.ts";
import { customersStates, type Machine, type MachineName, type OrderId } from "../machine/machine.ts";
import { instanceMetadataKey, orderIdFrom, orderMetadataKey } from "../order/confirm.ts";
import type { AgentSecrets, Order } from "../order/order.ts";
import type { RecoveredOrder } from "../store/store.ts";
import type { CheckoutSession, Subscription } from "../stripe/stripe.ts";
import { isBound } from "./judge.ts";
import type { OrderRecord } from "./records.ts";

/** What is known of an order, with its secrets where they are not the row's. */
export interface KnownOrder {
  readonly order: Order;
  readonly secrets: AgentSecrets | null;
  /** Stripe alone knows it: its environment is lost. */
  readonly bare: boolean;
}

/** An order's id in Stripe's objects; null for those that are not ours. */
export function orderOfObject(
  { metadata }: Pick<CheckoutSession | Subscription, "metadata">,
  instance: string,
): OrderId | null {
  if (metadata[instanceMetadataKey] !== instance) return null;
  return orderIdFrom(metadata[orderMetadataKey]);
}

/** The newest of row and record: an order only ever gains payment, machine and end. */
export function newestOrder(row: Order | null, record: OrderRecord | null): KnownOrder | null {
  const steps = ({ paidAt, machine, servingAt, endedAt }: Order): number =>
    [paidAt, machine, servingAt, endedAt].filter((value) => value !== null).length;
  if (record && (!row || steps(record.order) >= steps(row))) {
    return { order: record.order, secrets: record.secrets, bare: false };
  }
  return row && { order: row, secrets: null, bare: false };
}

const nothing: AgentSecrets = { env: {}, gatewayToken: "" };

/** False for an order whose secrets were lost: each has a token from its beginning. */
export const isWhole = ({ gatewayToken }: AgentSecrets): boolean => gatewayToken !== nothing.gatewayToken;

/** An order that only Stripe knows. `secrets` are empty: nobody has them any more. */
export function orderFromStripe(
  id: OrderId,
  { plans, regions }: Pick<Config, "plans" | "regions">,
  found: {
    readonly session: CheckoutSession | null;
    readonly subscription: Subscription | null;
    readonly machine: Machine | null;
    readonly now: number;
  },
): KnownOrder {
  const { session, subscription, machine, now } = found;
  const priced = plans.find(({ price }) => session?.prices.includes(price))?.name;
  const region = Object.entries(regions).find(([, locations]) =>
    locations.includes(machine?.location ?? ""),
  )?.[0];
  const order: Order = {
    id,
    state: "queued",
    customer: "unknown",
    plan: machine?.plan ?? priced ?? plans[0]?.name ?? "unknown",
    region: region ?? Object.keys(regions)[0] ?? "unknown",
    agentName: "recovered",
    createdAt: session?.createdAt ?? now,
    checkoutSession: session?.id ?? null,
    checkoutUrl: null,
    subscription: subscription?.id ?? session?.subscription ?? null,
    stripeCustomer: subscription?.customer ?? session?.customer ?? null,
    paidAt: now,
    machine: null,
    servingAt: null,
    endedAt: null,
    releaseAt: null,
    reason: null,
    overdueSince: null,
    suspendedFor: null,
    suspendedAt: null,
    suspendedWhy: null,
    held: null,
    keptAt: null,
  };
  return { order, secrets: nothing, bare: true };
}

/** The order with what its checkout tells; a record may be of before it was attached. */
export function withPayment(order: Order, session: CheckoutSession | null): Order {
  if (!session) return order;
  return {
    ...order,
    checkoutSession: order.checkoutSession ?? session.id,
    subscription: order.subscription ?? session.subscription,
    stripeCustomer: order.stripeCustomer ?? session.customer,
  };
}

/**
 * The orders' rows so that orders and machines name each other.
 *
 * @param machines as judged
 * @param isOver Stripe says of the order's own subscription that it has ended
 */
export function alignOrders(
  orders: ReadonlyMap<string, KnownOrder>,
  machines: readonly Machine[],
  isOver: (order: string) => boolean,
  { now, graceMs }: { readonly now: number; readonly graceMs: number },
): RecoveredOrder[] {
  const holder = new Map<string, Machine>();
  const hasEnded = (id: string) => (orders.get(id)?.order.endedAt ?? null) !== null || isOver(id);
  for (const machine of machines) {
    if (!machine.order) continue;
    // One that goes although the subscription lives on has failed its order, which is another machine's now.
    const goesWithIt = machine.state === "releasing" && hasEnded(machine.order);
    // A machine that failed the order earlier may still be going beside the one that has it now.
    if (isBound(machine) || (goesWithIt && !holder.has(machine.order))) holder.set(machine.order, machine);
  }
  const live = new Set<MachineName>(machines.map(({ name }) => name));
  return [...orders.values()].map(({ order, secrets, bare }) => {
    const over = hasEnded(order.id);
    const ended = { endedAt: order.endedAt ?? now, reason: order.reason ?? "its subscription has ended" };
    const machine = holder.get(order.id);
    if (machine) {
      const own = { machine: machine.name, paidAt: order.paidAt ?? now };
      const isServed = customersStates.includes(machine.state);
      const served = isServed ? { servingAt: order.servingAt ?? now } : {};
      const placed = isServed ? "suspended" : "provisioning";
      const state = machine.state === "serving" ? "running" : placed;
      // One that ended while nobody knew that it was served was given no grace.
      const releaseAt = isServed && order.servingAt === null ? null : order.releaseAt;
      const end = { ...ended, releaseAt: releaseAt ?? now + graceMs, state: "releasing" } as const;
      const change = over ? end : { state, reason: null };
      return {
        order: { ...order, ...own, ...served, ...change } as Order,
        secrets,
        why: `${machine.name} has it`,
      };
    }
    if (closed.includes(order.state)) return { order, secrets, why: "it is closed" };
    if (over && (order.paidAt !== null || bare)) {
      const released = { ...order, ...ended, releaseAt: order.releaseAt ?? now, state: "released" } as const;
      return { order: released, secrets, why: "it has ended, and no machine has it" };
    }
    if (bare) {
      const reason = "paid, but its environment was lost with the database: ask the customer for it";
      return { order: { ...order, state: "failed", reason }, secrets, why: reason };
    }
    if (!["provisioning", "running", "suspended", "releasing"].includes(order.state)) {
      return { order, secrets, why: "no machine has it" };
    }
    const lost = order.machine === null || !live.has(order.machine) || order.state !== "releasing";
    if (!lost) return { order, secrets, why: "its machine goes" };
    if (order.servingAt !== null) {
      const reason =
        "paid, but its machine is gone and its environment was forgotten when it ran: ask the customer for it";
      return { order: { ...order, state: "failed", machine: null, reason }, secrets, why: reason };
    }
    const again = { state: "queued", machine: null, paidAt: order.paidAt ?? now } as const;
    return { order: { ...order, ...again }, secrets, why: "it is paid for, and no machine has it" };
  });
}

const closed: readonly Order["state"][] = ["released", "expired"];

/**
 * Orders that are paid for, and of which nothing says that a machine serves them. Those that failed are among them: a
 * person may have tried them again since, and an environment that is lost may be on a machine that does not answer.
 *
 * @param orders what rows and records know
 * @param paidFor orders whose checkout is paid, by Stripe
 * @param served see `servedOrders`
 */
export function unserved(
  orders: ReadonlyMap<string, KnownOrder>,
  paidFor: readonly string[],
  served: ReadonlySet<string>,
): string[] {
  const known = [...orders.values()].map(({ order }) => order);
  const paid = new Set([...paidFor, ...known.filter(({ paidAt }) => paidAt !== null).map(({ id }) => id)]);
  return [...paid].filter((id) => {
    const order = orders.get(id)?.order;
    const isOver = order !== undefined && (order.endedAt !== null || closed.includes(order.state));
    return !served.has(id) && !isOver;
  });
}
