/** What the account holds. Every change that Stripe would announce makes an event. */
import { isDeepStrictEqual } from "node:util";
import { missing } from "../errors.ts";
import { makePrice, makeProduct } from "../objects/catalogue.ts";
import type { BasketItem } from "../objects/checkout.ts";
import { type Cause, makeEvent } from "../objects/events.ts";
import type {
  ChargeObject,
  CustomerObject,
  DisputeObject,
  EventObject,
  InvoiceObject,
  InvoicePaymentObject,
  Metadata,
  PaymentIntentObject,
  PaymentMethodObject,
  PriceObject,
  ProductObject,
  RefundObject,
  SessionObject,
  StripeObject,
  SubscriptionObject,
} from "../objects/wire.ts";
import type { Destination } from "./destinations.ts";
import type { Behaviour } from "./payment-methods.ts";

/** What a session sells; Stripe shows it only on request (`expand[]=line_items`). */
export interface Basket {
  readonly items: readonly BasketItem[];
  readonly subscriptionMetadata: Metadata;
  readonly subscriptionDescription: string | null;
}

/** Nobody called: time passed, or the buyer did it. */
const noCall: Cause = { id: null, idempotency_key: null };

/** Stripe shows events for 30 days. Source: its API reference, "List all events". */
const eventsKeptSeconds = 30 * 86_400;

export class Account {
  readonly products = new Map<string, ProductObject>();
  readonly prices = new Map<string, PriceObject>();
  readonly customers = new Map<string, CustomerObject>();
  readonly deletedCustomers = new Set<string>();
  /** Customers whose bank refuses every charge. */
  readonly declining = new Set<string>();
  readonly paymentMethods = new Map<string, PaymentMethodObject>();
  /** What test cards do when they are charged, by payment method. */
  readonly behaviours = new Map<string, Behaviour>();
  /** Debits that end by themselves at the next look, by checkout session: those of Stripe's test accounts. */
  readonly settling = new Map<string, "succeeded" | "failed">();
  readonly sessions = new Map<string, SessionObject>();
  readonly baskets = new Map<string, Basket>();
  readonly subscriptions = new Map<string, SubscriptionObject>();
  readonly invoices = new Map<string, InvoiceObject>();
  readonly invoicePayments = new Map<string, InvoicePaymentObject>();
  readonly paymentIntents = new Map<string, PaymentIntentObject>();
  readonly charges = new Map<string, ChargeObject>();
  readonly refunds = new Map<string, RefundObject>();
  readonly disputes = new Map<string, DisputeObject>();
  /** Where events are sent. */
  readonly destinations = new Map<string, Destination>();
  /** Where the hosted payment page is; known once the server listens. */
  checkoutBase = "";
  /** Seconds. */
  readonly now: () => number;
  readonly #events: EventObject[] = [];
  readonly #eventsFor: (type: string, object: StripeObject) => number;
  #fresh: EventObject[] = [];
  #cause = noCall;

  /** `eventsFor` says how many events Stripe makes of a change: one, but for faults. */
  constructor(
    prices: readonly string[],
    now: () => number,
    eventsFor: (type: string, object: StripeObject) => number = () => 1,
  ) {
    this.now = now;
    this.#eventsFor = eventsFor;
    for (const id of prices) {
      const product = makeProduct({ name: "Agent", now: now() });
      this.products.set(product.id, product);
      const terms = { currency: "eur", unitAmount: 2_000, interval: "month" } as const;
      this.prices.set(id, makePrice({ id, product: product.id, ...terms, now: now() }));
    }
  }

  session(id: string): SessionObject {
    return found(this.sessions, "checkout.session", id, "session");
  }

  subscription(id: string): SubscriptionObject {
    return found(this.subscriptions, "subscription", id);
  }

  invoice(id: string): InvoiceObject {
    return found(this.invoices, "invoice", id, "invoice");
  }

  charge(id: string): ChargeObject {
    return found(this.charges, "charge", id);
  }

  /** @throws ApiError also for a customer that was deleted. */
  customer(id: string, param = "id", status = 404): CustomerObject {
    return found(this.customers, "customer", id, param, status);
  }

  /** The events of the last 30 days, oldest first. */
  get events(): readonly EventObject[] {
    const oldest = this.now() - eventsKeptSeconds;
    return this.#events.filter(({ created }) => created >= oldest);
  }

  /** Any object by its id; null when there is none. */
  find(id: string): StripeObject | null {
    const holders: readonly ReadonlyMap<string, StripeObject>[] = [
      this.products,
      this.prices,
      this.customers,
      this.paymentMethods,
      this.sessions,
      this.subscriptions,
      this.invoices,
      this.invoicePayments,
      this.paymentIntents,
      this.charges,
      this.refunds,
      this.disputes,
    ];
    for (const holder of holders) {
      const object = holder.get(id);
      if (object) return object;
    }
    return null;
  }

  /** Puts an event down; who works the account sends it with `takeFresh`. */
  record(type: string, object: StripeObject, previous: Record<string, unknown> | null = null): void {
    const endpoints = [...this.destinations.values()].filter((destination) => destination.wants(type)).length;
    const facts = { type, object, previous, cause: this.#cause, endpoints, now: this.now() };
    for (let left = this.#eventsFor(type, object); left > 0; left--) {
      const event = makeEvent(facts);
      this.#events.push(event);
      this.#fresh.push(event);
    }
  }

  /** Writes fields; with a type, an event that carries the old values. Nothing happens when nothing differs. */
  change<T extends StripeObject>(object: T, fields: Partial<T>, type: string | null): void {
    const before = object as Record<string, unknown>;
    const changed = Object.entries(fields).filter(([name, value]) => !isDeepStrictEqual(before[name], value));
    if (changed.length === 0) return;
    const previous = structuredClone(
      Object.fromEntries(changed.map(([name]) => [name, before[name] ?? null])),
    );
    Object.assign(object, fields);
    if (type !== null) this.record(type, object, previous);
  }

  /** Events made by `work` name the call that caused them. */
  causedBy<T>(cause: Cause, work: () => T): T {
    this.#cause = cause;
    try {
      return work();
    } finally {
      this.#cause = noCall;
    }
  }

  /** The events made since the last time this was asked, oldest first. */
  takeFresh(): EventObject[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }
}

function found<T>(things: ReadonlyMap<string, T>, kind: string, id: string, param = "id", status = 404): T {
  const thing = things.get(id);
  if (!thing) throw missing(kind, id, param, status);
  return thing;
}
