/**
 * What a webhook does to an order. Stripe delivers at least once and in any order, so each branch may run again and
 * before its predecessor: payments are recognised by checkout session, ends of subscriptions leave a tombstone.
 *
 *   checkout.session.completed, paid              inbox row, payment and claim in one transaction; answered at once
 *   checkout.session.completed, unpaid            kept; the payment clears later or not
 *   checkout.session.async_payment_succeeded      as completed, paid
 *   checkout.session.async_payment_failed/expired fetched again; the order expires unless it was paid after all
 *   customer.subscription.deleted                 fetched again; must be over; the order ends after the grace
 *   customer.subscription.updated, of no order    its checkout is fetched: what did not clear may have been collected since
 *   customer.subscription.updated/paused/resumed, charge.dispute.*, charge.refunded, refund.*, customer.deleted
 *                                                 reviewed: fetched and judged anew (review.ts)
 *   anything else                                 not ours to act on
 *
 * What the sweep (pool/sweep/stripe.ts) fetched goes the same ways, without an event.
 */
import type { Clock } from "../clock.ts";
import type { Machine } from "../machine/machine.ts";
import type { InboxEvent, Payment, Store } from "../store/store.ts";
import type { CheckoutSession, StripeEvent, StripeGateway, Subscription } from "../stripe/stripe.ts";
import { instanceMetadataKey, isPaid, orderIdFrom, orderMetadataKey } from "./confirm.ts";
import { hasEnded } from "./entitlement.ts";
import type { Order } from "./order.ts";
import type { Reviewer } from "./review.ts";

/** The flag that tells a person of a subscription that lives on unserved. */
export const unservedFlag = "subscription-unserved";

export type WebhookOutcome =
  | { readonly kind: "claimed"; readonly order: Order; readonly machine: Machine }
  | { readonly kind: "queued"; readonly order: Order }
  | { readonly kind: "duplicate"; readonly order: Order }
  | { readonly kind: "ended" | "expired"; readonly order: Order }
  | { readonly kind: "reviewed"; readonly orders: readonly Order[] }
  | { readonly kind: "awaiting-payment" | "unknown-order" | "disagreed" | "ignored" | "noted" };

export interface PaymentContext {
  readonly store: Store;
  readonly stripe: StripeGateway;
  readonly clock: Clock;
  readonly instance: () => string;
  readonly locationsOf: (region: string) => readonly string[];
  readonly graceMs: () => number;
}

/** Acts on a verified event. @throws BorderError when Stripe cannot be asked, or the store's error: then nothing was
 *  kept, and Stripe will deliver the event again. */
export async function acceptEvent(
  event: StripeEvent,
  context: PaymentContext,
  reviewer: Reviewer,
): Promise<WebhookOutcome> {
  switch (event.type) {
    case "checkout.session.completed":
    case "checkout.session.async_payment_succeeded":
      return accept(event, event.session ?? (await fetchSession(event, context)), context);
    case "checkout.session.async_payment_failed":
    case "checkout.session.expired":
      return checkoutEnded(event, await fetchSession(event, context), context);
    case "customer.subscription.deleted":
      return subscriptionEnded(event, context);
    default:
      return review(event, context, reviewer);
  }
}

/** A paid session, from an event or found so when a caller attached it or by the sweep (then `event` is null). */
export function acceptPaidSession(
  event: InboxEvent | null,
  session: CheckoutSession,
  context: PaymentContext,
): WebhookOutcome {
  const { store } = context;
  const order = orderOf(session, store);
  const payment: Payment = {
    order: order?.id ?? null,
    checkoutSession: session.id,
    subscription: session.subscription,
    stripeCustomer: session.customer,
  };
  const outcome = store.acceptPayment(event, payment, order ? context.locationsOf(order.region) : []);
  if (order && session.subscription) {
    store.clearFlag(unservedFlag, session.subscription, `its payment was collected for order ${order.id}`);
  }
  return outcome;
}

function accept(
  event: StripeEvent,
  session: CheckoutSession | null,
  context: PaymentContext,
): WebhookOutcome {
  const kept = inboxEvent(event);
  if (session === null) {
    return disagreed(
      event,
      `Stripe has no session ${event.object}, though it signed that it completed`,
      context,
    );
  }
  if (orderOf(session, context.store) === null && isForeign(session, context)) return { kind: "ignored" };
  if (isPaid(session)) return acceptPaidSession(kept, session, context);
  context.store.keepEvent(kept);
  return { kind: "awaiting-payment" };
}

/** The account may sell other things, too, and serve other installations of clawpool: those payments are not lost. */
export function isForeign(session: CheckoutSession, context: { readonly instance: () => string }): boolean {
  const instance = session.metadata[instanceMetadataKey];
  return session.mode !== "subscription" || (instance !== undefined && instance !== context.instance());
}

function checkoutEnded(
  event: StripeEvent,
  session: CheckoutSession | null,
  context: PaymentContext,
): WebhookOutcome {
  if (session === null) return disagreed(event, `Stripe has no session ${event.object}`, context);
  if (isPaid(session)) return acceptPaidSession(inboxEvent(event), session, context);
  const reason =
    event.type === "checkout.session.expired" ? "the checkout expired" : "the payment did not clear";
  return expireCheckout(inboxEvent(event), session, reason, context);
}

/** A session that will not be paid; `event` is null when it was found so. */
export function expireCheckout(
  event: InboxEvent | null,
  session: CheckoutSession,
  reason: string,
  { store }: PaymentContext,
): WebhookOutcome {
  const order = orderOf(session, store);
  // A caller's own session is known to us by its reference only, until something happens to it.
  if (order && order.checkoutSession === null)
    store.attachCheckout(order.id, { session: session.id, url: null });
  const expired = store.expireOrder(event, session.id, reason);
  return expired ? { kind: "expired", order: expired } : { kind: "noted" };
}

async function subscriptionEnded(event: StripeEvent, context: PaymentContext): Promise<WebhookOutcome> {
  const id = event.object;
  if (id === null) return { kind: "ignored" };
  const subscription = await context.stripe.fetchSubscription(id);
  if (subscription === null || !hasEnded(subscription)) {
    const status = subscription === null ? "unknown to Stripe" : subscription.status;
    return disagreed(event, `Stripe signed that subscription ${id} ended, but it is ${status}`, context);
  }
  return endSubscription(inboxEvent(event), subscription, context);
}

async function review(
  event: StripeEvent,
  context: PaymentContext,
  reviewer: Reviewer,
): Promise<WebhookOutcome> {
  const kept = inboxEvent(event);
  const orders = await reviewer.reviewEvent(kept);
  const [first] = orders;
  if (orders.length === 1 && first?.endedAt != null) return { kind: "ended", order: first };
  if (orders.length > 0) return { kind: "reviewed", orders };
  // Never paid for the first time, it ends without `deleted`; nobody has an order of it, but its payment may be on its way.
  const mayMatter = event.status === null || event.status === "active" || hasEnded({ status: event.status });
  if (event.type !== "customer.subscription.updated" || !mayMatter) return { kind: "ignored" };
  const subscription = event.object === null ? null : await context.stripe.fetchSubscription(event.object);
  if (subscription === null) return { kind: "ignored" };
  if (hasEnded(subscription)) return endSubscription(kept, subscription, context);
  const waiting = uncollectedOrder(subscription, context);
  const session = waiting && (await context.stripe.fetchSession(waiting.session));
  if (!session || session.subscription !== subscription.id || !isPaid(session)) return { kind: "ignored" };
  return acceptPaidSession(kept, session, context);
}

/** The order that a subscription in good standing was to pay for and has not, as far as we know, and its checkout. */
export function uncollectedOrder(
  { status, metadata }: Subscription,
  { store, instance }: Pick<PaymentContext, "store" | "instance">,
): { readonly order: Order; readonly session: string } | null {
  if (status !== "active" || metadata[instanceMetadataKey] !== instance()) return null;
  const id = orderIdFrom(metadata[orderMetadataKey]);
  const order = id === null ? null : store.order(id);
  if (!order || order.checkoutSession === null || order.paidAt !== null) return null;
  return { order, session: order.checkoutSession };
}

/** A subscription that Stripe, asked for it, shows as ended; `event` is null when nobody told of it. */
export function endSubscription(
  event: InboxEvent | null,
  subscription: Subscription,
  { store, clock, graceMs }: PaymentContext,
): WebhookOutcome {
  const order = store.endSubscription(event, {
    subscription: subscription.id,
    releaseAt: clock.now() + graceMs(),
    reason: `subscription ended: ${subscription.cancelReason ?? "no reason given"}`,
  });
  return order ? { kind: "ended", order } : { kind: "noted" };
}

function disagreed(event: StripeEvent, text: string, { store }: PaymentContext): WebhookOutcome {
  store.keepEvent(inboxEvent(event));
  const subject = event.object ?? event.id;
  store.audit("stripe", "event.disagreed", subject, { why: text, run: event.id, type: event.type });
  store.flag("stripe-disagrees", subject, text);
  return { kind: "disagreed" };
}

/**
 * The order that a session pays for: the one it is attached to, else the one its reference names. A reference to an
 * order that has another session already counts for nothing; that payment is flagged as one for an unknown order.
 */
export function orderOf(
  session: CheckoutSession,
  store: Pick<Store, "order" | "orderBySession">,
): Order | null {
  const attached = store.orderBySession(session.id);
  if (attached) return attached;
  const id = orderIdFrom(session.reference);
  const named = id === null ? null : store.order(id);
  return named?.checkoutSession == null ? named : null;
}

async function fetchSession(event: StripeEvent, { stripe }: PaymentContext): Promise<CheckoutSession | null> {
  return event.object === null ? null : stripe.fetchSession(event.object);
}

function inboxEvent(event: StripeEvent): InboxEvent {
  const { id, type, object, createdAt, body } = event;
  return { id, type, object: object ?? "", createdAt, body };
}
