/** What happens to a checkout session: made, paid now or later, left alone. */
import { ApiError, missing, refused } from "../errors.ts";
import { makeCustomer } from "../objects/catalogue.ts";
import { type BasketItem, makeLineItem, makeSession, totalOf } from "../objects/checkout.ts";
import { makePaymentMethod } from "../objects/payment-methods.ts";
import { decline, makePaymentIntent } from "../objects/payments.ts";
import type {
  CustomerObject,
  LineItemObject,
  Metadata,
  PaymentMethodObject,
  SessionObject,
} from "../objects/wire.ts";
import type { Account, Basket } from "./account.ts";
import { settleIntent, settlePending, tryCharge } from "./invoices.ts";
import { attach, behaviourOf } from "./payment-methods.ts";
import { subscribe } from "./subscribe.ts";

export interface NewSession {
  readonly mode?: "subscription" | "payment";
  /** Price ids. */
  readonly items: readonly { readonly price: string; readonly quantity: number }[];
  readonly successUrl: string;
  readonly cancelUrl?: string | null;
  readonly clientReferenceId?: string | null;
  readonly customer?: string | null;
  readonly customerEmail?: string | null;
  readonly locale?: SessionObject["locale"];
  readonly metadata?: Metadata;
  readonly subscriptionMetadata?: Metadata;
  readonly subscriptionDescription?: string | null;
  /** Seconds. */
  readonly expiresAt?: number | null;
}

/** @throws ApiError for a price or customer that is not there, or a price that does not fit the mode. */
export function openSession(account: Account, wanted: NewSession): SessionObject {
  const mode = wanted.mode ?? "subscription";
  const items = wanted.items.map((item, index) => basketItem(account, mode, item, index));
  if (wanted.customer != null) account.customer(wanted.customer, "customer", 400);
  const session = makeSession({
    items,
    mode,
    checkoutBase: account.checkoutBase,
    client_reference_id: wanted.clientReferenceId ?? null,
    customer: wanted.customer ?? null,
    customer_email: wanted.customerEmail ?? null,
    metadata: wanted.metadata ?? {},
    success_url: wanted.successUrl,
    cancel_url: wanted.cancelUrl ?? null,
    locale: wanted.locale ?? null,
    expires_at: wanted.expiresAt ?? null,
    now: account.now(),
  });
  account.sessions.set(session.id, session);
  account.baskets.set(session.id, {
    items,
    subscriptionMetadata: wanted.subscriptionMetadata ?? {},
    subscriptionDescription: wanted.subscriptionDescription ?? null,
  });
  return session;
}

function basketItem(
  account: Account,
  mode: "subscription" | "payment",
  item: { readonly price: string; readonly quantity: number },
  index: number,
): BasketItem {
  const price = account.prices.get(item.price);
  const param = `line_items[${index}][price]`;
  if (!price) throw missing("price", item.price, param, 400);
  if (!price.active) {
    throw refused(
      `The price specified is inactive. This field only accepts active prices.`,
      undefined,
      param,
    );
  }
  if (mode === "payment" && price.type === "recurring") {
    throw refused(
      "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only one-time prices.",
      undefined,
      param,
    );
  }
  if (mode === "subscription" && price.type !== "recurring") {
    throw refused(
      "You must provide at least one recurring price in `subscription` mode when using prices.",
      undefined,
      param,
    );
  }
  return { price, quantity: item.quantity };
}

export function lineItemsOf(account: Account, session: string): LineItemObject[] {
  const basket = account.baskets.get(session);
  if (!basket) throw missing("checkout.session", session, "session");
  return basket.items.map((item) => {
    const product = account.products.get(item.price.product);
    return makeLineItem(item, product?.name ?? item.price.id);
  });
}

/**
 * The buyer finishes the payment page, with a method made beforehand or a new card or debit; a debit clears later.
 * @throws ApiError 402 when the method is refused; the page stays open for another
 */
export function completeSession(
  account: Account,
  id: string,
  using: PaymentMethodObject | "card" | "sepa_debit",
): SessionObject {
  const session = openOnly(account, id);
  const basket = account.baskets.get(id);
  if (!basket) throw missing("checkout.session", id, "session");
  if (typeof using !== "string" && behaviourOf(account, using).charge === "failed") {
    throw new ApiError(402, { type: "card_error", ...decline }, { begun: true });
  }
  const customer = account.customers.get(session.customer ?? "") ?? newCustomer(account, session);
  const now = account.now();
  const method = typeof using === "string" ? makePaymentMethod({ type: using, customer: null, now }) : using;
  account.paymentMethods.set(method.id, method);
  attach(account, method, customer);
  const free = totalOf(basket.items) === 0;
  const { charge, settles } = behaviourOf(account, method);
  const outcome = charge === "pending" && !free ? "pending" : "succeeded";
  // A debit from one of Stripe's test accounts ends by itself, any other when the console says so.
  if (outcome === "pending" && account.behaviours.has(method.id)) account.settling.set(id, settles);
  const bought =
    session.mode === "subscription"
      ? subscribeBy(account, customer, method, basket)
      : { payment_intent: payOnce(account, session, customer, method, outcome) };
  Object.assign(session, {
    ...bought,
    status: "complete",
    payment_status: free ? "no_payment_required" : outcome === "pending" ? "unpaid" : "paid",
    customer: customer.id,
    customer_details: {
      address: null,
      business_name: null,
      email: customer.email,
      individual_name: null,
      name: customer.name ?? null,
      phone: null,
      tax_exempt: "none",
      tax_ids: [],
    },
    url: null,
  } satisfies Partial<SessionObject>);
  account.record("checkout.session.completed", session);
  return session;
}

function newCustomer(account: Account, session: SessionObject): CustomerObject {
  const customer = makeCustomer({ email: session.customer_email ?? "buyer@example.com", now: account.now() });
  customer.currency = session.currency;
  account.customers.set(customer.id, customer);
  account.record("customer.created", customer);
  return customer;
}

function subscribeBy(
  account: Account,
  customer: CustomerObject,
  method: PaymentMethodObject,
  basket: Basket,
): Pick<SessionObject, "subscription" | "invoice"> {
  const subscription = subscribe(account, {
    customer,
    items: basket.items,
    method,
    trial: null,
    behavior: "allow_incomplete",
    metadata: basket.subscriptionMetadata,
    description: basket.subscriptionDescription,
  });
  return { subscription: subscription.id, invoice: subscription.latest_invoice };
}

function payOnce(
  account: Account,
  session: SessionObject,
  customer: CustomerObject,
  paymentMethod: PaymentMethodObject,
  outcome: "succeeded" | "pending",
): string | null {
  if (!session.amount_total) return null;
  const intent = makePaymentIntent({
    amount: session.amount_total,
    currency: session.currency ?? "eur",
    customer: customer.id,
    paymentMethod,
    description: null,
    metadata: {},
    now: account.now(),
  });
  account.paymentIntents.set(intent.id, intent);
  account.record("payment_intent.created", intent);
  tryCharge(account, intent, customer, paymentMethod, outcome);
  return intent.id;
}

/** A payment that was pending clears, or does not. @throws ApiError when none is pending. */
export function settleSession(account: Account, id: string, outcome: "succeeded" | "failed"): SessionObject {
  const session = account.session(id);
  account.settling.delete(id);
  if (session.status !== "complete" || session.payment_status !== "unpaid") {
    throw refused(`Session ${id} has no payment pending.`);
  }
  const intent = account.paymentIntents.get(session.payment_intent ?? "");
  if (intent) settleIntent(account, intent, outcome);
  const subscription = account.subscriptions.get(session.subscription ?? "");
  if (subscription) settlePending(account, account.invoice(session.invoice ?? ""), outcome);
  if (subscription && outcome === "failed") {
    account.change(subscription, { status: "past_due" }, "customer.subscription.updated");
  }
  if (outcome === "succeeded") session.payment_status = "paid";
  account.record(`checkout.session.async_payment_${outcome}`, session);
  return session;
}

/** @throws ApiError when it is not open any more. */
export function expireSession(account: Account, id: string): SessionObject {
  const session = openOnly(account, id);
  Object.assign(session, { status: "expired", url: null });
  account.record("checkout.session.expired", session);
  return session;
}

function openOnly(account: Account, id: string): SessionObject {
  const session = account.session(id);
  if (session.status === "open") return session;
  throw refused(
    `Only Checkout Sessions with a status in ["open"] can be expired or paid. This Checkout Session has a status of \`${session.status}\`.`,
  );
}
