/** Stripe's API as the daemon uses it. Webhooks are made in the story; here they are only believed. */
import { BorderError } from "../../../pool/errors.ts";
import {
  type CheckoutSession,
  InvalidWebhookError,
  type Listing,
  type StripeEvent,
  type StripeGateway,
  type Subscription,
} from "../../../pool/stripe/stripe.ts";
import type { SimSession, SimSubscription, World } from "../world.ts";

export function shownSession(session: SimSession): CheckoutSession {
  return {
    id: session.id,
    createdAt: session.createdAt,
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

function shownSubscription(subscription: SimSubscription, now: number): Subscription {
  const over = subscription.status === "canceled";
  return {
    id: subscription.id,
    status: subscription.status,
    customer: "cus_1",
    metadata: subscription.metadata,
    endedAt: over ? now : null,
    cancelReason: over ? "cancellation_requested" : null,
  };
}

export function simulatedStripe(world: World): StripeGateway {
  const call = async () => {
    await world.takes(60, 400);
    if (world.strikes(0.03))
      throw new BorderError("Stripe answered 500", { border: "stripe", kind: "transient" });
  };
  /** Now and then a list lacks what it should have, and does not say so. */
  const listing = <T>(objects: readonly T[], limit: number): Listing<T> => {
    const shown = world.strikes(0.05) ? objects.filter(() => world.chance.happens(0.5)) : objects;
    const newestFirst = [...shown].reverse();
    return { found: newestFirst.slice(0, limit), complete: shown.length <= limit };
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
          createdAt: world.clock.now(),
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
      return subscription ? shownSubscription(subscription, world.clock.now()) : null;
    },
    async sessions({ status, createdSince, limit }) {
      await call();
      const fitting = [...world.sessions.values()].filter(
        (session) => session.status === status && session.createdAt >= createdSince,
      );
      return listing(fitting.map(shownSession), limit);
    },
    async subscriptions(limit) {
      await call();
      const fitting = [...world.subscriptions.values()].filter(({ status }) => status !== "canceled");
      return listing(
        fitting.map((subscription) => shownSubscription(subscription, world.clock.now())),
        limit,
      );
    },
    verify(raw, header) {
      if (header !== "signed") throw new InvalidWebhookError("not signed");
      return JSON.parse(Buffer.from(raw).toString("utf8")) as StripeEvent;
    },
  };
}
