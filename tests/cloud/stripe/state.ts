/** What the account holds and what may happen to it. Every change that Stripe would announce makes an event. */
import { stripeApiVersion } from "../../../pool/stripe/gateway.ts";
import { ApiError, missing } from "./errors.ts";
import {
  type Metadata,
  makeCustomer,
  makeId,
  makeInvoice,
  makePrice,
  makeSession,
  makeSubscription,
  type PlainObject,
  type PriceObject,
  type SessionObject,
  type SubscriptionObject,
} from "./objects.ts";

export interface EventObject {
  readonly id: string;
  readonly object: "event";
  readonly api_version: string;
  readonly created: number;
  readonly data: { readonly object: PlainObject };
  readonly livemode: false;
  pending_webhooks: number;
  readonly request: { readonly id: string | null; readonly idempotency_key: string | null };
  readonly type: string;
}

export interface NewSession {
  readonly price: string;
  readonly quantity: number;
  readonly clientReferenceId: string | null;
  readonly customer: string | null;
  readonly customerEmail: string | null;
  readonly metadata: Metadata;
  readonly subscriptionMetadata: Metadata;
  readonly successUrl: string;
  readonly cancelUrl: string | null;
  readonly expiresAt: number | null;
}

/** What a session sells; Stripe shows it only on request (`expand[]=line_items`). */
interface Basket {
  readonly price: PriceObject;
  readonly quantity: number;
  readonly subscriptionMetadata: Metadata;
}

export class Account {
  readonly prices: ReadonlyMap<string, PriceObject>;
  readonly sessions = new Map<string, SessionObject>();
  readonly subscriptions = new Map<string, SubscriptionObject>();
  readonly customers = new Map<string, PlainObject>();
  readonly invoices = new Map<string, PlainObject>();
  /** Oldest first. */
  readonly events: EventObject[] = [];
  readonly #baskets = new Map<string, Basket>();
  readonly #now: () => number;
  /** Where the hosted payment page is; known once the server listens. */
  checkoutBase = "";

  /** `now` in seconds. */
  constructor(prices: readonly string[], now: () => number) {
    this.#now = now;
    this.prices = new Map(prices.map((id) => [id, makePrice(id, now())]));
  }

  createSession(wanted: NewSession): SessionObject {
    const price = this.prices.get(wanted.price);
    if (!price) throw missing("price", wanted.price, "line_items[0][price]", 400);
    if (wanted.customer !== null && !this.customers.has(wanted.customer)) {
      throw missing("customer", wanted.customer, "customer", 400);
    }
    const session = makeSession({
      price,
      quantity: wanted.quantity,
      checkoutBase: this.checkoutBase,
      now: this.#now(),
      client_reference_id: wanted.clientReferenceId,
      customer: wanted.customer,
      customer_email: wanted.customerEmail,
      metadata: wanted.metadata,
      success_url: wanted.successUrl,
      cancel_url: wanted.cancelUrl,
      expires_at: wanted.expiresAt,
    });
    this.sessions.set(session.id, session);
    const { quantity, subscriptionMetadata } = wanted;
    this.#baskets.set(session.id, { price, quantity, subscriptionMetadata });
    return session;
  }

  session(id: string): SessionObject {
    const session = this.sessions.get(id);
    if (!session) throw missing("checkout.session", id, "session");
    return session;
  }

  subscription(id: string): SubscriptionObject {
    const subscription = this.subscriptions.get(id);
    if (!subscription) throw missing("subscription", id);
    return subscription;
  }

  lineItems(sessionId: string): Record<string, unknown> {
    const basket = this.#basket(sessionId);
    const amount = basket.price.unit_amount * basket.quantity;
    return {
      object: "list",
      data: [
        {
          id: makeId("li_1", 23),
          object: "item",
          amount_subtotal: amount,
          amount_total: amount,
          currency: basket.price.currency,
          description: "Agent",
          price: basket.price,
          quantity: basket.quantity,
        },
      ],
      has_more: false,
      url: `/v1/checkout/sessions/${sessionId}/line_items`,
    };
  }

  /** The buyer finishes the payment page; `unpaid` where the payment clears later (SEPA and the like). */
  complete(sessionId: string, paymentStatus: "paid" | "unpaid"): EventObject[] {
    const session = this.#open(sessionId);
    const basket = this.#basket(sessionId);
    const now = this.#now();
    const paid = paymentStatus === "paid";
    const customer = this.customers.get(session.customer ?? "") ?? makeCustomer(now, "buyer@example.com");
    this.customers.set(customer.id, customer);
    const subscription = makeSubscription({
      customer: customer.id,
      price: basket.price,
      quantity: basket.quantity,
      metadata: basket.subscriptionMetadata,
      now,
      status: paid ? "active" : "incomplete",
    });
    this.subscriptions.set(subscription.id, subscription);
    const amount = basket.price.unit_amount * basket.quantity;
    const invoice = makeInvoice({ subscription, amount, paid, now });
    this.invoices.set(invoice.id, invoice);
    subscription.latest_invoice = invoice.id;
    Object.assign(session, {
      status: "complete",
      payment_status: paymentStatus,
      customer: customer.id,
      customer_details: { email: customer.email, name: null, phone: null, tax_exempt: "none", tax_ids: [] },
      subscription: subscription.id,
      invoice: invoice.id,
      url: null,
    });
    return [
      this.#event("checkout.session.completed", session),
      this.#event("customer.subscription.created", subscription),
      ...(paid ? [this.#event("invoice.paid", invoice)] : []),
    ];
  }

  /** A payment that was pending clears, or does not. */
  settle(sessionId: string, outcome: "succeeded" | "failed"): EventObject[] {
    const session = this.session(sessionId);
    const subscription = this.subscriptions.get(session.subscription ?? "");
    const invoice = this.invoices.get(session.invoice ?? "");
    if (session.status !== "complete" || session.payment_status !== "unpaid" || !subscription || !invoice) {
      throw new ApiError(400, { message: `Session ${sessionId} has no payment pending.` });
    }
    if (outcome === "failed") {
      Object.assign(subscription, { status: "incomplete_expired", ended_at: this.#now() });
      return [this.#event("checkout.session.async_payment_failed", session)];
    }
    session.payment_status = "paid";
    subscription.status = "active";
    Object.assign(invoice, { status: "paid", amount_paid: invoice.amount_due, amount_remaining: 0 });
    return [
      this.#event("checkout.session.async_payment_succeeded", session),
      this.#event("invoice.paid", invoice),
    ];
  }

  expire(sessionId: string): EventObject[] {
    const session = this.#open(sessionId);
    Object.assign(session, { status: "expired", url: null });
    return [this.#event("checkout.session.expired", session)];
  }

  cancel(subscriptionId: string, reason = "cancellation_requested"): EventObject[] {
    const subscription = this.subscription(subscriptionId);
    if (subscription.status === "canceled") throw missing("subscription", subscriptionId);
    const now = this.#now();
    Object.assign(subscription, {
      status: "canceled",
      canceled_at: now,
      ended_at: now,
      cancellation_details: { comment: null, feedback: null, reason },
    });
    return [this.#event("customer.subscription.deleted", subscription)];
  }

  #basket(sessionId: string): Basket {
    const basket = this.#baskets.get(sessionId);
    if (!basket) throw missing("checkout.session", sessionId, "session");
    return basket;
  }

  #open(sessionId: string): SessionObject {
    const session = this.session(sessionId);
    if (session.status !== "open") {
      const message = `Only Checkout Sessions with a status in ["open"] can be changed. This one is ${session.status}.`;
      throw new ApiError(400, { message });
    }
    return session;
  }

  #event(type: string, object: SessionObject | SubscriptionObject | PlainObject): EventObject {
    const event: EventObject = {
      id: makeId("evt_1", 23),
      object: "event",
      api_version: stripeApiVersion,
      created: this.#now(),
      // As it is now: what happens later must not show in an event that was made before.
      data: { object: structuredClone(object) },
      livemode: false,
      pending_webhooks: 1,
      request: { id: makeId("req_", 14), idempotency_key: null },
      type,
    };
    this.events.push(event);
    return event;
  }
}
