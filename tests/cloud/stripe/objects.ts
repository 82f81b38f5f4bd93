/**
 * Stripe's objects as API version 2026-10-28.endive shows them, field names after Stripe's own OpenAPI fixtures
 * (github.com/stripe/openapi). Times are seconds. Fields that this fake never fills are null, as at Stripe.
 */
import { randomBytes } from "node:crypto";

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** An id in Stripe's form: prefix and that many letters and digits. */
export function makeId(prefix: string, length: number): string {
  let id = prefix;
  // 248 = 4 * 62: bytes above would favour the first letters.
  while (id.length < prefix.length + length) {
    for (const byte of randomBytes(length)) {
      if (byte < 248 && id.length < prefix.length + length) id += alphabet[byte % 62];
    }
  }
  return id;
}

export type Metadata = Record<string, string>;

export interface SessionObject {
  id: string;
  object: "checkout.session";
  status: "open" | "complete" | "expired";
  payment_status: "paid" | "unpaid" | "no_payment_required";
  mode: "subscription";
  client_reference_id: string | null;
  customer: string | null;
  customer_email: string | null;
  subscription: string | null;
  invoice: string | null;
  metadata: Metadata;
  url: string | null;
  success_url: string;
  cancel_url: string | null;
  created: number;
  expires_at: number;
  livemode: false;
  [field: string]: unknown;
}

export interface SubscriptionObject {
  id: string;
  object: "subscription";
  status: "active" | "incomplete" | "incomplete_expired" | "canceled";
  customer: string;
  metadata: Metadata;
  created: number;
  canceled_at: number | null;
  ended_at: number | null;
  latest_invoice: string | null;
  cancellation_details: { comment: null; feedback: null; reason: string | null };
  [field: string]: unknown;
}

export interface PriceObject {
  id: string;
  object: "price";
  unit_amount: number;
  currency: string;
  [field: string]: unknown;
}

export interface PlainObject {
  id: string;
  object: string;
  [field: string]: unknown;
}

export function makePrice(id: string, created: number): PriceObject {
  return {
    id,
    object: "price",
    active: true,
    billing_scheme: "per_unit",
    created,
    currency: "eur",
    custom_unit_amount: null,
    livemode: false,
    lookup_key: null,
    metadata: {},
    nickname: null,
    product: makeId("prod_", 14),
    recurring: {
      interval: "month",
      interval_count: 1,
      meter: null,
      trial_period_days: null,
      usage_type: "licensed",
    },
    tax_behavior: "unspecified",
    tiers_mode: null,
    transform_quantity: null,
    type: "recurring",
    unit_amount: 2_000,
    unit_amount_decimal: "2000",
  };
}

export function makeSession(
  fields: {
    price: PriceObject;
    quantity: number;
    checkoutBase: string;
    now: number;
  } & Pick<
    SessionObject,
    "client_reference_id" | "customer" | "customer_email" | "metadata" | "success_url" | "cancel_url"
  > & { expires_at: number | null },
): SessionObject {
  const { price, quantity, checkoutBase, now, expires_at, ...given } = fields;
  const id = makeId("cs_test_", 58);
  return {
    id,
    object: "checkout.session",
    adaptive_pricing: { enabled: false },
    after_expiration: null,
    allow_promotion_codes: null,
    amount_subtotal: price.unit_amount * quantity,
    amount_total: price.unit_amount * quantity,
    automatic_tax: { enabled: false, liability: null, provider: null, status: null },
    billing_address_collection: null,
    client_secret: null,
    consent: null,
    consent_collection: null,
    created: now,
    currency: price.currency,
    custom_fields: [],
    customer_details: null,
    discounts: [],
    expires_at: expires_at ?? now + 86_400,
    invoice: null,
    livemode: false,
    locale: null,
    mode: "subscription",
    payment_intent: null,
    payment_link: null,
    payment_method_collection: "always",
    payment_method_types: ["card", "sepa_debit"],
    payment_status: "unpaid",
    phone_number_collection: { enabled: false },
    recovered_from: null,
    setup_intent: null,
    shipping_options: [],
    status: "open",
    submit_type: null,
    subscription: null,
    total_details: { amount_discount: 0, amount_shipping: 0, amount_tax: 0 },
    ui_mode: "hosted_page",
    url: `${checkoutBase}/c/pay/${id}`,
    ...given,
  };
}

export function makeSubscription(fields: {
  customer: string;
  price: PriceObject;
  quantity: number;
  metadata: Metadata;
  now: number;
  status: SubscriptionObject["status"];
}): SubscriptionObject {
  const { customer, price, quantity, metadata, now, status } = fields;
  const id = makeId("sub_1", 23);
  return {
    id,
    object: "subscription",
    automatic_tax: { disabled_reason: null, enabled: false, liability: null },
    billing_cycle_anchor: now,
    cancel_at: null,
    cancel_at_period_end: false,
    canceled_at: null,
    cancellation_details: { comment: null, feedback: null, reason: null },
    collection_method: "charge_automatically",
    created: now,
    currency: price.currency,
    customer,
    default_payment_method: makeId("pm_1", 23),
    description: null,
    discounts: [],
    ended_at: null,
    items: {
      object: "list",
      data: [
        {
          id: makeId("si_", 14),
          object: "subscription_item",
          created: now,
          current_period_start: now,
          current_period_end: now + 30 * 86_400,
          metadata: {},
          price,
          quantity,
          subscription: id,
        },
      ],
      has_more: false,
      url: `/v1/subscription_items?subscription=${id}`,
    },
    latest_invoice: null,
    livemode: false,
    metadata,
    pause_collection: null,
    schedule: null,
    start_date: now,
    status,
    test_clock: null,
    trial_end: null,
    trial_start: null,
  };
}

export function makeCustomer(now: number, email: string): PlainObject {
  return {
    id: makeId("cus_", 14),
    object: "customer",
    address: null,
    balance: 0,
    created: now,
    currency: "eur",
    delinquent: false,
    description: null,
    email,
    livemode: false,
    metadata: {},
    name: null,
    phone: null,
    preferred_locales: [],
  };
}

export function makeInvoice(fields: {
  subscription: SubscriptionObject;
  amount: number;
  paid: boolean;
  now: number;
}): PlainObject {
  const { subscription, amount, paid, now } = fields;
  return {
    id: makeId("in_1", 23),
    object: "invoice",
    amount_due: amount,
    amount_paid: paid ? amount : 0,
    amount_remaining: paid ? 0 : amount,
    billing_reason: "subscription_create",
    collection_method: "charge_automatically",
    created: now,
    currency: "eur",
    customer: subscription.customer,
    livemode: false,
    metadata: {},
    // Since API version 2025-03-31 the subscription is here, no longer at the top.
    parent: {
      type: "subscription_details",
      quote_details: null,
      subscription_details: { metadata: subscription.metadata, subscription: subscription.id },
    },
    status: paid ? "paid" : "open",
    total: amount,
  };
}
