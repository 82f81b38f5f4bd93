/**
 * The second look at a payment. The signed event starts the hand-over at once; before the customer gets anything the
 * session, fetched from Stripe, must say the same, and must be a session for this order and this plan.
 */
import type { OrderId } from "../machine/machine.ts";
import type { CheckoutSession } from "../stripe/stripe.ts";
import type { Order } from "./order.ts";

/** The key under which our own checkouts carry the order's id. Only holders of an API key can set metadata. */
export const orderMetadataKey = "clawpool_order";
/** The key under which they carry the name of the installation. */
export const instanceMetadataKey = "clawpool_instance";

export const isPaid = (session: CheckoutSession): boolean =>
  session.paymentStatus === "paid" || session.paymentStatus === "no_payment_required";

/**
 * Why the session does not pay for the order, in words for the operator; null when it does.
 *
 * A session of ours is known by its metadata and sells what we put into it, even if the plan has another price by
 * now. In a session of the caller's the reference is free text that a buyer can set through a payment link, so it
 * must also sell the plan's price: else the cheapest plan would buy the dearest machine.
 */
export function objection(
  session: CheckoutSession | null,
  order: Order,
  facts: { readonly price: string | null; readonly isOrder: (id: string) => boolean },
): string | null {
  if (session === null) return "Stripe has no such session";
  if (session.id !== order.checkoutSession) return `Stripe answered with session ${session.id}`;
  if (session.mode !== "subscription") return `the session's mode is ${session.mode}`;
  if (session.status !== "complete") return `the session is ${session.status}`;
  if (!isPaid(session)) return `the session's payment_status is ${session.paymentStatus}`;
  const named = session.metadata[orderMetadataKey];
  if (named !== undefined) return named === order.id ? null : "the session was made for another order";
  if (session.reference !== order.id && session.reference !== null && facts.isOrder(session.reference)) {
    return "the session's client_reference_id names another order";
  }
  if (facts.price === null)
    return `plan ${order.plan} is not offered any more, so its price cannot be checked`;
  if (!session.prices.includes(facts.price)) {
    return `the session sells ${session.prices.join(", ") || "nothing"}, plan ${order.plan} costs ${facts.price}`;
  }
  return null;
}

/** Orders' ids as they come back from Stripe: ours have this form, anything else is somebody's free text. */
export function orderIdFrom(text: string | null | undefined): OrderId | null {
  return text != null && /^ord_[a-z2-7]{24}$/.test(text) ? (text as OrderId) : null;
}
