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
  return { order, secrets: { env: {}, gatewayToken: "" }, bare: true };
}

/**
 * The rows that must change so that orders and machines name each other.
 *
 * @param machines as judged
 */
export function alignOrders(
  orders: ReadonlyMap<string, KnownOrder>,
  machines: readonly Machine[],
  entitled: (order: string) => boolean,
  now: number,
): RecoveredOrder[] {
  const holder = new Map<string, Machine>();
  for (const machine of machines) {
    if (machine.order && (isBound(machine) || machine.state === "releasing"))
      holder.set(machine.order, machine);
  }
  const live = new Set<MachineName>(machines.map(({ name }) => name));
  return [...orders.values()].map(({ order, secrets, bare }) => {
    const machine = holder.get(order.id);
    if (machine) return { order: onMachine(order, machine, now), secrets, why: `${machine.name} has it` };
    if (bare) {
      const reason = "paid, but its environment was lost with the database: ask the customer for it";
      return { order: { ...order, state: "failed", reason }, secrets, why: reason };
    }
    const placed = ["provisioning", "running", "suspended", "releasing"].includes(order.state);
    if (!placed || (order.machine && !live.has(order.machine) && order.state === "releasing")) {
      const over = order.state === "releasing" ? ({ state: "released" } as const) : {};
      return { order: { ...order, ...over }, secrets, why: "no machine has it" };
    }
    if (!entitled(order.id)) {
      const ended = { endedAt: order.endedAt ?? now, releaseAt: order.releaseAt ?? now };
      return {
        order: { ...order, ...ended, state: "released" },
        secrets,
        why: "it has ended, and no machine has it",
      };
    }
    const again = { state: "queued", machine: null, paidAt: order.paidAt ?? now } as const;
    return { order: { ...order, ...again }, secrets, why: "it is paid for, and no machine has it" };
  });
}

function onMachine(order: Order, machine: Machine, now: number): Order {
  const own = {
    machine: machine.name,
    paidAt: order.paidAt ?? now,
    reason: order.endedAt ? order.reason : null,
  };
  if (machine.state === "releasing") {
    return {
      ...order,
      ...own,
      state: "releasing",
      endedAt: order.endedAt ?? now,
      releaseAt: order.releaseAt ?? now,
    };
  }
  if (customersStates.includes(machine.state)) {
    const served = machine.state === "serving" ? "running" : "suspended";
    const state = order.endedAt === null ? served : "releasing";
    return { ...order, ...own, state, servingAt: order.servingAt ?? now };
  }
  return { ...order, ...own, state: order.endedAt === null ? "provisioning" : "releasing" };
}
