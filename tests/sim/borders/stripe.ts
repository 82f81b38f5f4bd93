/** Stripe's API as the daemon uses it. Webhooks are made in the story; here they are only believed. */
import { BorderError } from "../../../pool/errors.ts";
import { canonicalJson } from "../../../pool/store/audit-chain.ts";
import {
  type Charge,
  type CheckoutSession,
  type Claim,
  InvalidWebhookError,
  type Listing,
  type StripeEvent,
  type StripeGateway,
  type Subscription,
} from "../../../pool/stripe/stripe.ts";
import { hasPaid, type SimSession, type SimSubscription, type World } from "../world.ts";

const customerOf = (subscription: string) => subscription.replace("sub_", "cus_");

export function shownSession(session: SimSession): CheckoutSession {
  return {
    id: session.id,
    createdAt: session.createdAt,
    status: session.status,
    paymentStatus: session.paymentStatus,
    mode: "subscription",
    reference: session.order,
    subscription: session.subscription,
    customer: session.subscription === null ? null : customerOf(session.subscription),
    url: session.status === "open" ? `https://checkout.example/${session.id}` : null,
    metadata: session.metadata,
    prices: [session.price],
  };
}

function shownSubscription(subscription: SimSubscription, now: number): Subscription {
  const over = subscription.status === "canceled";
  if (over) subscription.endedAt ??= now;
  return {
    id: subscription.id,
    status: subscription.status,
    customer: customerOf(subscription.id),
    metadata: subscription.metadata,
    endedAt: subscription.endedAt ?? null,
    cancelReason: over ? "cancellation_requested" : null,
    endsAt: null,
    pausedBecause: subscription.status === "paused" ? "pause_requested" : null,
    collectionPaused: false,
    latestInvoice: { id: `in_${subscription.id}`, status: "paid", reason: "subscription_cycle" },
  };
}

function shownCharge({ id, dispute, refunded }: SimSubscription): Charge {
  const disputes = dispute === null ? [] : [{ id: `du_${id}`, status: dispute }];
  return { id: `ch_${id}`, amount: 900, amountRefunded: refunded ? 900 : 0, disputes };
}

const claimOf = (kind: "dispute" | "refund" | "charge", { id }: SimSubscription): Claim => ({
  id: `${{ dispute: "du", refund: "re", charge: "ch" }[kind]}_${id}`,
  customer: customerOf(id),
});

/** What the account sells: the price of the example configuration's plan. */
const prices: readonly string[] = ["price_small"];

const refuse = (kind: "permanent" | "auth", code: string) =>
  new BorderError(code, { border: "stripe", kind, code });

/** @param key with another than the account's every call is refused */
export function simulatedStripe(world: World, key: "right" | "wrong" = "right"): StripeGateway {
  const call = async () => {
    await world.takes(60, 400);
    if (world.silent === "stripe") await new Promise(() => {});
    if (key === "wrong") throw refuse("auth", "api_key_invalid");
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
    async createCheckout({ idempotencyKey, ...request }) {
      await call();
      const { reference, price, metadata } = request;
      if (!prices.includes(price)) throw refuse("permanent", "resource_missing");
      const known = world.idempotent.get(idempotencyKey);
      const text = canonicalJson(request);
      if (known && known.request !== text) throw refuse("permanent", "StripeIdempotencyError");
      const id = known?.session ?? `cs_${world.id()}`;
      if (!known) {
        world.idempotent.set(idempotencyKey, { request: text, session: id });
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
      if (!session) return null;
      const isActive = world.subscriptions.get(session.subscription ?? "")?.status === "active";
      const shown = shownSession(session);
      return session.collected && isActive ? { ...shown, paymentStatus: "paid" } : shown;
    },
    async fetchSubscription(id) {
      await call();
      const subscription = world.subscriptions.get(id);
      return subscription ? shownSubscription(subscription, world.clock.now()) : null;
    },
    async fetchStanding(id) {
      await call();
      const subscription = world.subscriptions.get(id);
      if (!subscription) return null;
      const session = world.sessions.get(subscription.session);
      const charges =
        session && hasPaid(session) && subscription.status !== "canceled" ? [shownCharge(subscription)] : [];
      return { subscription: shownSubscription(subscription, world.clock.now()), charges };
    },
    async fetchClaim(kind, id) {
      await call();
      const found = [...world.subscriptions.values()].map((one) => claimOf(kind, one));
      return found.find((claim) => claim.id === id) ?? null;
    },
    async claims({ kind, limit }) {
      await call();
      const fitting = [...world.subscriptions.values()].filter(({ dispute, refunded }) =>
        kind === "dispute" ? dispute !== null : refunded,
      );
      return listing(
        fitting.map((one) => claimOf(kind, one)),
        limit,
      );
    },
    async cancelSubscription(id) {
      await call();
      const subscription = world.subscriptions.get(id);
      if (subscription) subscription.status = "canceled";
      world.note(`the daemon cancels subscription ${id}`);
    },
    async sessions({ status, createdSince, limit }) {
      await call();
      const fitting = [...world.sessions.values()].filter(
        (session) => session.status === status && session.createdAt >= createdSince,
      );
      // Lists never tell what was sold.
      const shown = fitting.map((session) => ({ ...shownSession(session), prices: [] }));
      return listing(shown, limit);
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
