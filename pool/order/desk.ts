/** Where orders are made, paid and ended: everything between the product team's web app, Stripe and the store. */
import { createHash } from "node:crypto";
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import { BorderError } from "../errors.ts";
import type { MachineName, OrderId } from "../machine/machine.ts";
import type { Random } from "../random.ts";
import type { Secret } from "../secrets/secret.ts";
import type { NewOrder, Store } from "../store/store.ts";
import type { CheckoutSession, StripeEvent, StripeGateway, Subscription } from "../stripe/stripe.ts";
import { instanceMetadataKey, isPaid, objection, orderMetadataKey } from "./confirm.ts";
import { hasEnded } from "./entitlement.ts";
import { createHoldOrder, type HoldOrder } from "./hold.ts";
import type { Order } from "./order.ts";
import {
  acceptEvent,
  acceptPaidSession,
  endSubscription,
  expireCheckout,
  type WebhookOutcome,
} from "./payments.ts";
import { type OrderRequest, OrderRequestError, readOrderRequest } from "./request.ts";
import { createRetryOrder, type RetryOrder } from "./retry.ts";
import { createReviewer, type ReviewContext, type Reviewer } from "./review.ts";

export interface OrderDeskOptions {
  readonly store: Store;
  readonly stripe: StripeGateway;
  readonly clock: Clock;
  readonly random: Random;
  /** Asked for anew each time, so that a reloaded configuration counts at once. */
  readonly config: () => Pick<
    Config,
    "instance" | "plans" | "regions" | "stripe" | "releaseGraceMs" | "maxParallelBuilds" | "suspension"
  > & { readonly pools: readonly Pick<PoolConfig, "plan" | "locations">[] };
  /** After the commit that bound the machine; starts the hand-over now instead of at the loop's next look. */
  readonly onClaimed: (machine: MachineName, order: OrderId) => void;
  /** After the commit that queued the order: build one. */
  readonly onQueued: (order: OrderId) => void;
  /** After the commit that ended the order. */
  readonly onEnded?: (order: OrderId) => void;
  /** After the commit that wrote down whether the order may be served. */
  readonly onReviewed?: (order: OrderId) => void;
  /** How long building a machine of this plan takes, as measured; null while nobody knows. Milliseconds. */
  readonly buildTimeMs: (plan: string) => number | null;
  readonly log: Logger;
}

export interface OrderDesk {
  /**
   * Takes an order and makes its checkout. The same `idempotencyKey` (1-255 visible characters) with the same request
   * gives the same order again.
   * @throws OrderRequestError, BorderError (stripe)
   */
  create(body: unknown, options?: { idempotencyKey?: string }): Promise<Order>;
  /**
   * Takes a webhook; what it says is durable when the promise resolves, and only then may 200 be answered.
   * @throws InvalidWebhookError; BorderError or the store's error when nothing was kept and Stripe must repeat it
   */
  webhook(raw: Uint8Array, header: string | undefined): Promise<WebhookOutcome>;
  /** What a webhook would have said, had it come: a fetched session that is paid or has expired. */
  sessionFound(session: CheckoutSession): WebhookOutcome;
  /** The same for a fetched subscription that has ended. */
  endFound(subscription: Subscription): WebhookOutcome;
  /** Judges a subscription anew. @throws BorderError when Stripe cannot be asked */
  review: Reviewer["review"];
  /** What people say about one order. @throws HoldRefusedError; BorderError */
  hold: HoldOrder;
  /** Whether Stripe, asked now, says that the order's subscription is over. @throws BorderError */
  hasEnded(id: OrderId): Promise<boolean>;
  /** Cancels the subscription of a suspended order, if Stripe, asked now, still gives a reason. @throws BorderError */
  cancelSuspended(id: OrderId): Promise<void>;
  /**
   * Whether Stripe, asked again, says that the order's session was paid, for this order and plan. One call for all who
   * wait; asked anew after a restart. @throws BorderError when Stripe cannot be asked now.
   */
  confirmation(id: OrderId): Promise<"agreed" | "disagreed">;
  /** A person starts a failed order again. @throws RetryRefusedError */
  retry: RetryOrder["retry"];
  reviewRetried: RetryOrder["reviewRetried"];
  /** Place in the queue (1 is next) and expected wait in milliseconds; null when the order does not queue. */
  estimate(order: Order): { position: number; waitMs: number | null } | null;
}

/** How long an answer of Stripe's serves those who ask for it: the hand-over that it was fetched for, not the next. */
const confirmationLastsMs = 60_000;

export function createOrderDesk(options: OrderDeskOptions): OrderDesk {
  const { store, stripe, clock, random, config, log } = options;
  const confirmations = new Map<OrderId, { at: number; answer: Promise<"agreed" | "disagreed"> }>();
  const payments: ReviewContext = {
    store,
    stripe,
    clock,
    instance: () => config().instance,
    locationsOf: (region) => config().regions[region] ?? [],
    graceMs: () => config().releaseGraceMs,
    terms: () => config().suspension,
  };
  const reviewer = createReviewer(payments);

  async function askStripe(id: OrderId): Promise<"agreed" | "disagreed"> {
    const order = store.order(id);
    if (!order?.checkoutSession) return "disagreed";
    const session = await stripe.fetchSession(order.checkoutSession);
    const why = objection(session, order, {
      price: config().plans.find(({ name }) => name === order.plan)?.price ?? null,
      isOrder: (text) => store.order(text as OrderId) !== null,
    });
    if (why === null) {
      const facts = { why: "Stripe, asked again, says that it was paid", session: order.checkoutSession };
      store.audit("stripe", "payment.confirmed", id, facts);
      return "agreed";
    }
    store.audit("stripe", "payment.disagreed", id, { session: order.checkoutSession, why });
    store.flag("payment-disagreed", id, `order ${id} is not served: ${why}`);
    log.error({ order: id, session: order.checkoutSession, why }, "Stripe does not confirm the payment");
    return "disagreed";
  }

  function confirmation(id: OrderId): Promise<"agreed" | "disagreed"> {
    const now = clock.now();
    for (const [order, { at }] of confirmations) {
      if (now - at >= confirmationLastsMs) confirmations.delete(order);
    }
    const asked = confirmations.get(id);
    if (asked) return asked.answer;
    const answer = askStripe(id);
    confirmations.set(id, { at: now, answer });
    // A failure is nobody's answer: the next who asks asks Stripe.
    answer.catch(() => confirmations.delete(id));
    return answer;
  }

  /** Tells those who wait, after the commit. */
  function announce(outcome: WebhookOutcome): void {
    if (outcome.kind === "claimed") {
      options.onClaimed(outcome.machine.name, outcome.order.id);
      // Asked now, while the machine already works; whoever awaits it gets the error, if there is one.
      confirmation(outcome.order.id).catch(() => {});
    } else if (outcome.kind === "queued") options.onQueued(outcome.order.id);
    else if (outcome.kind === "reviewed") for (const { id } of outcome.orders) options.onReviewed?.(id);
    else if (outcome.kind === "ended") options.onEnded?.(outcome.order.id);
  }

  async function create(body: unknown, given: { idempotencyKey?: string } = {}): Promise<Order> {
    const request = readOrderRequest(body, config());
    const id = orderId(config().instance, given.idempotencyKey, random);
    const before = store.order(id);
    if (before) {
      assertSameRequest(before, request, store);
      // Otherwise a crash came between row and session: the checkout is made again, with Stripe's key for it the same.
      const complete = before.checkoutSession !== null || request.checkout.by === "caller";
      if (complete || before.state !== "awaiting-payment") return before;
    }
    const checkout = await checkoutFor(id, request);
    const order = save(id, request);
    if (checkout === null) return order;
    const attached = store.attachCheckout(id, checkout);
    if (!checkout.paid) return attached;
    // Its webhook came before the order and found nothing.
    announce(acceptPaidSession(null, checkout.paid, payments));
    return store.order(id) ?? attached;
  }

  /** Before the row: a session that nobody was told of cannot be paid, a row without a session can only be cleaned up. */
  async function checkoutFor(
    id: OrderId,
    request: OrderRequest,
  ): Promise<{ session: string; url: string | null; paid?: CheckoutSession } | null> {
    const { instance, stripe: urls } = config();
    if (request.checkout.by === "caller") return null;
    if (request.checkout.by === "session") return callersSession(request.checkout.session, request);
    return stripe.createCheckout({
      reference: id,
      price: request.plan.price,
      successUrl: urls.successUrl,
      cancelUrl: urls.cancelUrl,
      metadata: { [orderMetadataKey]: id, [instanceMetadataKey]: instance },
      idempotencyKey: `clawpool:${instance}:${id}:checkout:v1`,
    });
  }

  async function callersSession(
    id: string,
    request: OrderRequest,
  ): Promise<{ session: string; url: string | null; paid?: CheckoutSession }> {
    const refuse = (kind: "invalid" | "conflict", detail: string, remedy: string) =>
      new OrderRequestError(kind, [{ field: "checkout_session", detail, remedy }]);
    if (store.orderBySession(id))
      throw refuse("conflict", "another order has this session", "make a new one");
    const session = await stripe.fetchSession(id);
    if (!session) throw refuse("invalid", "Stripe has no such session", "use the key's own account and mode");
    if (session.mode !== "subscription")
      throw refuse("invalid", "it sells no subscription", "mode=subscription");
    if (session.status === "expired") throw refuse("invalid", "it has expired", "make a new one");
    if (!session.prices.includes(request.plan.price)) {
      throw refuse("invalid", "it does not sell this plan", `a line item of price ${request.plan.price}`);
    }
    const paid = session.status === "complete" && session.paymentStatus !== "unpaid";
    return { session: id, url: session.url, ...(paid ? { paid: session } : {}) };
  }

  function save(id: OrderId, request: OrderRequest): Order {
    const { customer, plan, region, agentName } = request;
    const order: NewOrder = {
      id,
      customer,
      plan: plan.name,
      region,
      agentName,
      secrets: { env: environmentOf(request), gatewayToken: random.bytes(32).toString("base64url") },
    };
    // Nothing is awaited between the look and the write, so the same key sent twice at once makes one order.
    const before = store.order(id);
    if (before) assertSameRequest(before, request, store);
    return before ?? store.createOrder(order);
  }

  const review: Reviewer["review"] = async (subscription, asked) => {
    const found = await reviewer.review(subscription, asked);
    if (found && !asked?.dryRun) options.onReviewed?.(found.order.id);
    return found;
  };

  const { retry, reviewRetried } = createRetryOrder({
    ...{ store, clock, review, locationsOf: payments.locationsOf, log },
    forget: (id) => void confirmations.delete(id),
    onClaimed: options.onClaimed,
    onQueued: options.onQueued,
  });

  return {
    create,
    confirmation,
    async webhook(raw, header) {
      const event = stripe.verify(raw, header, config().stripe.webhookSecrets);
      const outcome = isOtherMode(event, config().stripe.key)
        ? refuseMode(event, store)
        : await acceptEvent(event, payments, reviewer);
      const order = "order" in outcome ? outcome.order.id : undefined;
      const { id, type, object, secretIndex } = event;
      log.info({ event: id, type, object, secretIndex, outcome: outcome.kind, order }, "webhook taken");
      announce(outcome);
      return outcome;
    },
    sessionFound(session) {
      const outcome = isPaid(session)
        ? acceptPaidSession(null, session, payments)
        : expireCheckout(null, session, "the checkout expired", payments);
      announce(outcome);
      return outcome;
    },
    review,
    hold: createHoldOrder({ store, review, poke: ({ id }) => options.onReviewed?.(id) }),
    hasEnded: async (id) => {
      const { subscription } = store.order(id) ?? {};
      const shown = subscription ? await stripe.fetchSubscription(subscription) : null;
      if (shown === null) {
        // A key of another account or mode shows exactly this; nothing is destroyed on the strength of it.
        throw new BorderError(`Stripe does not show the subscription of order ${id}, which is to end`, {
          border: "stripe",
          kind: "permanent",
          code: "resource_missing",
        });
      }
      return hasEnded(shown);
    },
    async cancelSuspended(id) {
      const { subscription, suspendedFor } = store.order(id) ?? {};
      if (!subscription) return;
      const asked = await review(subscription);
      if (asked?.verdict.do !== "suspend" || asked.order.held !== null) return;
      const why = `suspended (${suspendedFor}) for as long as the configuration keeps it`;
      store.audit("daemon", "subscription.cancel", subscription, { why, order: id });
      await stripe.cancelSubscription(subscription, why);
      await review(subscription);
    },
    endFound(subscription) {
      const outcome = endSubscription(null, subscription, payments);
      announce(outcome);
      return outcome;
    },
    retry,
    reviewRetried,
    estimate(order) {
      const position = store.queuePosition(order.id);
      if (position === null) return null;
      const buildMs = options.buildTimeMs(order.plan);
      const rounds = Math.ceil(position / Math.max(1, config().maxParallelBuilds));
      return { position, waitMs: buildMs === null ? null : rounds * buildMs };
    },
  };
}

/** Sandbox and live mode share no objects; an endpoint of the one that has this address is a mistake of its owner. */
function isOtherMode({ livemode }: StripeEvent, key: Secret): boolean {
  const [, mode] = /^[a-z]+_(live|test)_/.exec(key.expose()) ?? [];
  return mode !== undefined && livemode !== null && livemode !== (mode === "live");
}

function refuseMode({ id, livemode }: StripeEvent, store: Store): WebhookOutcome {
  const [theirs, ours] = livemode ? ["live mode", "a sandbox"] : ["a sandbox", "live mode"];
  const text =
    `Stripe sends events of ${theirs} here, stripe.key is of ${ours}: remove this endpoint there, or its secret from ` +
    "stripe.webhook_secrets";
  if (store.flag("stripe-mode", "webhook", text))
    store.audit("stripe", "event.other-mode", id, { why: text, run: id });
  return { kind: "ignored" };
}

/** The model travels as a variable of the environment that no caller can set; the hand-over takes it out again. */
function environmentOf(request: OrderRequest): Record<string, string> {
  return request.model === null ? { ...request.env } : { ...request.env, OPENCLAW_MODEL: request.model };
}

/** 120 bits, in letters and digits that are good for Hetzner's labels and Stripe's references alike. With a key the
 *  same id again, so that a repeated request finds its order without a table of keys. */
function orderId(instance: string, idempotencyKey: string | undefined, random: Random): OrderId {
  if (idempotencyKey !== undefined && !/^[\x21-\x7e]{1,255}$/.test(idempotencyKey)) {
    const remedy = "1-255 visible ASCII characters, e.g. a UUID";
    throw new OrderRequestError("invalid", [
      { field: "Idempotency-Key", detail: "not a usable key", remedy },
    ]);
  }
  const bytes =
    idempotencyKey === undefined
      ? random.bytes(15)
      : createHash("sha256")
          .update(JSON.stringify([instance, idempotencyKey]))
          .digest()
          .subarray(0, 15);
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  let bits = BigInt(`0x${bytes.toString("hex")}`);
  let text = "";
  for (let digit = 0; digit < 24; digit++, bits >>= 5n) text += alphabet[Number(bits & 31n)];
  return `ord_${text}` as OrderId;
}

/** @throws OrderRequestError when the order was made by another request. */
function assertSameRequest(order: Order, request: OrderRequest, store: Store): void {
  const { env } = store.agentSecrets(order.id);
  const text = (variables: Readonly<Record<string, string>>) =>
    JSON.stringify(Object.entries(variables).sort());
  const same =
    order.customer === request.customer &&
    order.plan === request.plan.name &&
    order.region === request.region &&
    order.agentName === request.agentName &&
    // Forgotten once the agent runs.
    (order.servingAt !== null || text(env) === text(environmentOf(request)));
  if (same) return;
  const detail = "this key was used for another request";
  const remedy = "a new key for each order; the same key only to repeat the same request";
  throw new OrderRequestError("conflict", [{ field: "Idempotency-Key", detail, remedy }]);
}
