/** Subscriptions and their invoices, with the fields of API version 2026-10-28.endive. Times are seconds. */
import { periodEnd, planOf } from "./catalogue.ts";
import { type BasketItem, totalOf } from "./checkout.ts";
import { makeId } from "./ids.ts";
import {
  type CustomerObject,
  type InvoiceLineObject,
  type InvoiceObject,
  type InvoicePaymentObject,
  listOf,
  type Metadata,
  type SubscriptionItemObject,
  type SubscriptionObject,
} from "./wire.ts";

export interface Trial {
  /** Seconds. */
  readonly end: number;
  /** What becomes of the subscription when there is nothing to pay with then. */
  readonly withoutMethod: "cancel" | "create_invoice" | "pause";
}

export function makeSubscription(fields: {
  readonly customer: string;
  readonly items: readonly BasketItem[];
  readonly metadata: Metadata;
  readonly description: string | null;
  /** Null for the customer's own. */
  readonly paymentMethod: string | null;
  readonly trial: Trial | null;
  readonly now: number;
}): SubscriptionObject {
  const { customer, items, metadata, description, paymentMethod, trial, now } = fields;
  const id = makeId("sub_1", 23);
  return {
    id,
    object: "subscription",
    application: null,
    application_fee_percent: null,
    automatic_tax: { disabled_reason: null, enabled: false, liability: null },
    billing_cycle_anchor: now,
    billing_cycle_anchor_config: null,
    // The default since API version 2025-09-30; only such subscriptions can be paused.
    billing_mode: { flexible: { proration_discounts: "included" }, type: "flexible" },
    billing_schedules: [],
    billing_thresholds: null,
    cancel_at: null,
    cancel_at_period_end: false,
    canceled_at: null,
    cancellation_details: { comment: null, feedback: null, feedback_option: null, reason: null },
    collection_method: "charge_automatically",
    created: now,
    currency: items[0]?.price.currency ?? "eur",
    customer,
    customer_account: null,
    days_until_due: null,
    default_payment_method: paymentMethod,
    default_source: null,
    default_tax_rates: [],
    description,
    discounts: [],
    ended_at: null,
    invoice_settings: {
      account_tax_ids: null,
      custom_fields: null,
      description: null,
      footer: null,
      issuer: { type: "self" },
    },
    items: listOf(
      `/v1/subscription_items?subscription=${id}`,
      items.map((item) => makeItem(item, id, now, trial)),
    ),
    latest_invoice: null,
    livemode: false,
    managed_payments: { enabled: false },
    metadata,
    next_pending_invoice_item_invoice: null,
    on_behalf_of: null,
    pause_collection: null,
    payment_settings: {
      payment_method_options: null,
      payment_method_types: null,
      save_default_payment_method: "off",
    },
    pending_invoice_item_interval: null,
    pending_setup_intent: null,
    pending_update: null,
    schedule: null,
    start_date: now,
    status: "incomplete",
    test_clock: null,
    transfer_data: null,
    trial_end: trial?.end ?? null,
    trial_settings: {
      end_behavior: {
        billing_cycle_anchor: null,
        missing_payment_method: trial?.withoutMethod ?? "create_invoice",
      },
    },
    trial_start: trial ? now : null,
  };
}

function makeItem(
  { price, quantity }: BasketItem,
  subscription: string,
  now: number,
  trial: Trial | null,
): SubscriptionItemObject {
  return {
    id: makeId("si_", 14),
    object: "subscription_item",
    billing_thresholds: null,
    created: now,
    current_period_end: trial?.end ?? periodEnd(price, now),
    current_period_start: now,
    current_trial: null,
    discounts: [],
    metadata: {},
    plan: planOf(price),
    price,
    quantity,
    subscription,
    tax_rates: [],
  };
}

/** End of the period that the subscription is in, seconds; since 2025-03-31 each item has its own. */
export const periodEndOf = (subscription: SubscriptionObject): number =>
  Math.max(...subscription.items.data.map((item) => item.current_period_end));

export function makeInvoice(fields: {
  readonly subscription: SubscriptionObject;
  readonly customer: CustomerObject;
  readonly reason: "subscription_create" | "subscription_cycle";
  /** The period is a trial, which costs nothing. */
  readonly trial: boolean;
  readonly now: number;
}): InvoiceObject {
  const { subscription, customer, reason, trial, now } = fields;
  const id = makeId("in_1", 23);
  const items = subscription.items.data.map(({ price, quantity }) => ({ price, quantity: quantity ?? 1 }));
  const amount = trial ? 0 : totalOf(items);
  return {
    id,
    object: "invoice",
    account_country: "DE",
    account_name: "Stand-in",
    account_tax_ids: null,
    amount_due: amount,
    amount_overpaid: 0,
    amount_paid: 0,
    amount_remaining: amount,
    amount_shipping: 0,
    application: null,
    attempt_count: 0,
    attempted: false,
    auto_advance: true,
    automatic_tax: { disabled_reason: null, enabled: false, liability: null, provider: null, status: null },
    automatically_finalizes_at: null,
    billing_reason: reason,
    collection_method: "charge_automatically",
    created: now,
    currency: subscription.currency,
    custom_fields: null,
    customer: customer.id,
    customer_account: null,
    customer_address: null,
    customer_email: customer.email,
    customer_name: customer.name ?? null,
    customer_phone: customer.phone ?? null,
    customer_shipping: null,
    customer_tax_exempt: "none",
    customer_tax_ids: [],
    default_payment_method: null,
    default_source: null,
    default_tax_rates: [],
    description: null,
    discounts: [],
    due_date: null,
    effective_at: now,
    ending_balance: 0,
    footer: null,
    from_invoice: null,
    hosted_invoice_url: `https://invoice.stripe.com/i/acct_local/test_${id}`,
    invoice_pdf: `https://pay.stripe.com/invoice/acct_local/test_${id}/pdf`,
    issuer: { type: "self" },
    last_finalization_error: null,
    latest_revision: null,
    lines: listOf(
      `/v1/invoices/${id}/lines`,
      subscription.items.data.map((item) => makeLine(item, subscription, id, trial)),
    ),
    livemode: false,
    metadata: {},
    next_payment_attempt: null,
    number: `${customer.invoice_prefix}-${String(customer.next_invoice_sequence).padStart(4, "0")}`,
    on_behalf_of: null,
    // Since 2025-03-31 the subscription is here, no longer at the top.
    parent: {
      type: "subscription_details",
      quote_details: null,
      subscription_details: { metadata: subscription.metadata, subscription: subscription.id },
    },
    payment_settings: { default_mandate: null, payment_method_options: null, payment_method_types: null },
    period_end: now,
    period_start: now,
    post_payment_credit_notes_amount: 0,
    pre_payment_credit_notes_amount: 0,
    receipt_number: null,
    rendering: null,
    shipping_cost: null,
    shipping_details: null,
    starting_balance: 0,
    statement_descriptor: null,
    status: "open",
    status_transitions: { finalized_at: now, marked_uncollectible_at: null, paid_at: null, voided_at: null },
    subtotal: amount,
    subtotal_excluding_tax: amount,
    test_clock: null,
    total: amount,
    total_discount_amounts: [],
    total_excluding_tax: amount,
    total_pretax_credit_amounts: [],
    total_taxes: [],
    webhooks_delivered_at: now,
  };
}

function makeLine(
  item: SubscriptionItemObject,
  subscription: SubscriptionObject,
  invoice: string,
  trial: boolean,
): InvoiceLineObject {
  const { price } = item;
  const quantity = item.quantity ?? 1;
  const amount = trial ? 0 : (price.unit_amount ?? 0) * quantity;
  return {
    id: makeId("il_1", 23),
    object: "line_item",
    amount,
    currency: price.currency,
    description: `${quantity} × ${price.nickname ?? price.id}`,
    discount_amounts: [],
    discountable: true,
    discounts: [],
    invoice,
    livemode: false,
    metadata: subscription.metadata,
    parent: {
      invoice_item_details: null,
      subscription_item_details: {
        invoice_item: null,
        proration: false,
        proration_details: { credited_items: null },
        subscription: subscription.id,
        subscription_item: item.id,
      },
      type: "subscription_item_details",
    },
    period: { end: item.current_period_end, start: item.current_period_start },
    pretax_credit_amounts: [],
    pricing: {
      price_details: { price: price.id, product: price.product },
      type: "price_details",
      unit_amount_decimal: price.unit_amount_decimal,
    },
    quantity,
    quantity_decimal: String(quantity),
    subscription: subscription.id,
    subtotal: amount,
    taxes: [],
  };
}

/** What ties an invoice to a payment intent: since 2025-03-31 neither names the other. */
export function makeInvoicePayment(
  invoice: InvoiceObject,
  paymentIntent: string,
  now: number,
): InvoicePaymentObject {
  return {
    id: makeId("inpay_1", 23),
    object: "invoice_payment",
    amount_paid: null,
    amount_requested: invoice.amount_due,
    created: now,
    currency: invoice.currency,
    invoice: invoice.id,
    is_default: true,
    livemode: false,
    payment: { payment_intent: paymentIntent, type: "payment_intent" },
    status: "open",
    status_transitions: { canceled_at: null, paid_at: null },
  };
}
