/** Stripe's API as the daemon uses it. Webhooks are made in the story; here they are only believed. */
import { BorderError } from "../../../pool/errors.ts";
import {
  type CheckoutSession,
  InvalidWebhookError,
  type StripeEvent,
  type StripeGateway,
} from "../../../pool/stripe/stripe.ts";
import type { SimSession, World } from "../world.ts";

export function shownSession(session: SimSession): CheckoutSession {
  return {
    id: session.id,
    status: session.status,
    paymentStatus: session.paymentStatus,
    mode: "subscription",
    reference: session.order,
    subscription: session.subscription,
    customer: session.subscription === null ? null : "cus_1",
    url: session.status === "open" ? `https://checkout.example/${session.id}` : null,
    metadata: session.metadata,
    prices: [session.price],
  };
}

export function simulatedStripe(world: World): StripeGateway {
  const call = async () => {
    await world.takes(60, 400);
    if (world.strikes(0.03))
      throw new BorderError("Stripe answered 500", { border: "stripe", kind: "transient" });
  };
  return {
    async createCheckout({ reference, price, metadata, idempotencyKey }) {
      await call();
      const known = world.idempotent.get(idempotencyKey);
      const id = known ?? `cs_${world.id()}`;
      if (!known) {
        world.idempotent.set(idempotencyKey, id);
        world.sessions.set(id, {
          id,
          order: reference,
          metadata,
          price,
          status: "open",
          paymentStatus: "unpaid",
          subscription: null,
        });
      }
      return { session: id, url: `https://checkout.example/${id}` };
    },
    async fetchSession(id) {
      await call();
      const session = world.sessions.get(id);
      return session ? shownSession(session) : null;
    },
    async fetchSubscription(id) {
      await call();
      const subscription = world.subscriptions.get(id);
      if (!subscription) return null;
      const over = subscription.status === "canceled";
      return {
        id,
        status: subscription.status,
        customer: "cus_1",
        metadata: {},
        endedAt: over ? world.clock.now() : null,
        cancelReason: over ? "cancellation_requested" : null,
      };
    },
    verify(raw, header) {
      if (header !== "signed") throw new InvalidWebhookError("not signed");
      return JSON.parse(Buffer.from(raw).toString("utf8")) as StripeEvent;
    },
  };
}
