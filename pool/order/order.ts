/**
 * An order: a checkout and the agent it buys.
 *
 *   awaiting-payment  made by the product team's web app; the agent's environment is sealed
 *   queued            paid, no machine yet (the claim found the pool empty); has a position
 *   provisioning      paid and bound to a machine; the hand-over runs
 *   running           the agent serves
 *   suspended         may not be served now: its machine is switched off and kept (or resumes and is not proved yet)
 *   releasing         the subscription has ended; the machine goes after the grace
 *   released          the machine is gone; terminal
 *   failed            cannot be served without a person; terminal until retried
 *   expired           the checkout ended without a payment; terminal
 */
import type { MachineName, OrderId } from "../machine/machine.ts";
import type { SuspensionReason } from "./entitlement.ts";

export const orderStates = [
  "awaiting-payment",
  "queued",
  "provisioning",
  "running",
  "suspended",
  "releasing",
  "released",
  "failed",
  "expired",
] as const;
export type OrderState = (typeof orderStates)[number];

export interface Order {
  readonly id: OrderId;
  readonly state: OrderState;
  /** The product team's own id of the customer, at most 200 of A-Z a-z 0-9 . _ : @ + | / = -. */
  readonly customer: string;
  readonly plan: string;
  readonly region: string;
  readonly agentName: string;
  readonly createdAt: number;
  readonly checkoutSession: string | null;
  readonly checkoutUrl: string | null;
  readonly subscription: string | null;
  readonly stripeCustomer: string | null;
  readonly paidAt: number | null;
  readonly machine: MachineName | null;
  readonly servingAt: number | null;
  /** When the subscription's end was accepted; the machine goes at `releaseAt`. */
  readonly endedAt: number | null;
  readonly releaseAt: number | null;
  readonly reason: string | null;
  /** Since when a payment is overdue, as far as we saw (epoch ms). */
  readonly overdueSince: number | null;
  /** Why the order may not be served now; null while it may. What its machine does about it is the machine's state. */
  readonly suspendedFor: SuspensionReason | null;
  readonly suspendedAt: number | null;
  /** In words, for customer and operator. */
  readonly suspendedWhy: string | null;
  /** A person's word, which goes before Stripe's: off, or on whatever Stripe says while the subscription lives. */
  readonly held: "suspend" | "serve" | null;
  /** Since when a person forbids that the machine is destroyed, whatever ends. */
  readonly keptAt: number | null;
}

/** One line of an order's history, what `GET /v1/orders/:id/events` streams. `seq` grows by one for each order. */
export interface OrderEvent {
  readonly order: OrderId;
  readonly seq: number;
  readonly at: number;
  readonly type: "state" | "step" | "health";
  readonly data: Readonly<Record<string, string | number | boolean | null>>;
}

/** What an order carries for its machine; sealed in the store, opened only for the hand-over. */
export interface AgentSecrets {
  readonly env: Readonly<Record<string, string>>;
  /** The gateway token made for this order; the customer gets it, the pool's own dies. */
  readonly gatewayToken: string;
}
