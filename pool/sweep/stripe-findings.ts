/** What a fetched object of Stripe's says that the store does not know yet. Decisions alone: nothing is asked or written. */
import { instanceMetadataKey, isPaid, orderIdFrom, orderMetadataKey } from "../order/confirm.ts";
import { hasEnded } from "../order/entitlement.ts";
import type { Order } from "../order/order.ts";
import { isForeign, orderOf, unservedFlag } from "../order/payments.ts";
import type { Review } from "../order/review.ts";
import type { Flag, Store } from "../store/store.ts";
import type { CheckoutSession, Subscription } from "../stripe/stripe.ts";

export interface StripeFinding {
  /**
   * `payment`: a paid session whose order waits for the payment. `unknown-payment`: one of no order that we have.
   * `expiry`: an expired session whose order waits. `end`: an ended subscription whose order goes on. Each of these means
   * that a webhook was lost, and so do `suspend` and `resume`: what a subscription entitles to has changed. No webhook tells
   * of these: `due`, a suspension whose time has come, and `unserved`, a subscription that lives on though its order is not
   * served.
   */
  readonly kind: "payment" | "unknown-payment" | "expiry" | "end" | "suspend" | "resume" | "due" | "unserved";
  /** Stripe's id of the session or subscription. */
  readonly subject: string;
  readonly order: string | null;
  readonly text: string;
}

export interface Known {
  readonly store: Pick<Store, "order" | "orderBySession" | "orderBySubscription">;
  readonly instance: () => string;
  /** What a person was told already. */
  readonly flags: readonly Flag[];
  /** When this installation first compared (epoch ms): what was sold before, without a word of ours, is not ours. */
  readonly since: number;
}

export function sessionFinding(session: CheckoutSession, known: Known): StripeFinding | null {
  const order = orderOf(session, known.store);
  const subject = session.id;
  if (session.status === "expired") {
    if (order?.state !== "awaiting-payment") return null;
    return { kind: "expiry", subject, order: order.id, text: "the checkout expired, its order still waits" };
  }
  if (session.status !== "complete" || !isPaid(session)) return null;
  if (order) {
    if (order.paidAt !== null) return null;
    return { kind: "payment", subject, order: order.id, text: `paid, and its order is ${order.state}` };
  }
  if (isForeign(session, known) || isFlagged(known, "payment-for-unknown-order", subject)) return null;
  const named = session.metadata[instanceMetadataKey] !== undefined;
  if (!named && session.createdAt < known.since) return null;
  return { kind: "unknown-payment", subject, order: null, text: "paid, and no order has this session" };
}

/** @param subscription as Stripe shows it now */
export function endFinding(subscription: Subscription, { store }: Known): StripeFinding | null {
  const order = store.orderBySubscription(subscription.id);
  if (!order || !isOpen(order) || !hasEnded(subscription)) return null;
  const text = `${subscription.status}, and its order is ${order.state}`;
  return { kind: "end", subject: subscription.id, order: order.id, text };
}

/**
 * A subscription that somebody may go on paying for though nobody is served: the order has ended without it, or its first
 * payment failed after the checkout. To end it, or to serve after all, is a person's decision.
 */
export function unservedFinding(subscription: Subscription, known: Known): StripeFinding | null {
  if (hasEnded(subscription) || isFlagged(known, unservedFlag, subscription.id)) return null;
  const order = orderOfSubscription(subscription, known);
  if (!order) return null;
  const over = ["expired", "failed", "released"].includes(order.state);
  const unpaid =
    order.state === "awaiting-payment" && ["past_due", "unpaid", "paused"].includes(subscription.status);
  if (!over && !unpaid) return null;
  const text =
    `subscription ${subscription.id} is ${subscription.status}, but its order ${order.id} is ${order.state}: ` +
    "cancel it in Stripe, or make a new order by hand";
  return { kind: "unserved", subject: subscription.id, order: order.id, text };
}

/** Orders that an ended subscription should have ended. */
export const openStates = ["queued", "provisioning", "running", "suspended", "failed"] as const;

const isOpen = (order: Order): boolean =>
  order.endedAt === null && openStates.some((state) => state === order.state);

/**
 * Subscriptions whose standing has to be fetched: what the list shows, or the row says, is not plainly in order, or their
 * customer wants money back.
 */
export function suspects(
  orders: readonly Order[],
  listed: readonly Subscription[],
  claimants: ReadonlySet<string | null>,
): string[] {
  const status = new Map(listed.map((one) => [one.id, one.status]));
  const suspicious = orders.filter((order) => {
    const shown = status.get(order.subscription ?? "") ?? "active";
    if (order.suspendedFor !== null || order.overdueSince !== null) return true;
    return (shown !== "active" && shown !== "trialing") || claimants.has(order.stripeCustomer);
  });
  return suspicious.flatMap(({ subscription }) => subscription ?? []);
}

/** What a review would change, or has changed. */
export function standingFinding(review: Review | null): StripeFinding | null {
  if (!review?.change) return null;
  const { order, change } = review;
  return { kind: change.kind, subject: order.subscription ?? "", order: order.id, text: change.text };
}

/** By the store's own word, else by the metadata that our checkouts put into the subscription. */
function orderOfSubscription(subscription: Subscription, { store, instance }: Known): Order | null {
  const bound = store.orderBySubscription(subscription.id);
  if (bound) return bound;
  if (subscription.metadata[instanceMetadataKey] !== instance()) return null;
  const id = orderIdFrom(subscription.metadata[orderMetadataKey]);
  return id === null ? null : store.order(id);
}

const isFlagged = ({ flags }: Known, kind: string, subject: string): boolean =>
  flags.some((flag) => flag.kind === kind && flag.subject === subject);
