/** Checkout sessions and what they sell, with the fields of API version 2026-10-28.endive. Times are seconds. */
import { makeId } from "./ids.ts";
import type { LineItemObject, Metadata, PriceObject, SessionObject } from "./wire.ts";

export interface BasketItem {
  readonly price: PriceObject;
  readonly quantity: number;
}

export const totalOf = (items: readonly BasketItem[]): number =>
  items.reduce((sum, { price, quantity }) => sum + (price.unit_amount ?? 0) * quantity, 0);

export interface SessionFields {
  readonly items: readonly BasketItem[];
  readonly mode: "subscription" | "payment";
  /** Where the hosted page is. */
  readonly checkoutBase: string;
  readonly client_reference_id: string | null;
  readonly customer: string | null;
  readonly customer_email: string | null;
  readonly metadata: Metadata;
  readonly success_url: string;
  readonly cancel_url: string | null;
  readonly locale: SessionObject["locale"];
  readonly expires_at: number | null;
  readonly now: number;
}

/** How long a session stays open when nobody says otherwise. Source: Stripe's API reference, `expires_at`. */
const openForSeconds = 86_400;

export function makeSession(fields: SessionFields): SessionObject {
  const { items, mode, checkoutBase, now, ...given } = fields;
  const id = makeId("cs_test_", 58);
  const amount = totalOf(items);
  return {
    id,
    object: "checkout.session",
    adaptive_pricing: { enabled: false },
    after_expiration: null,
    allow_promotion_codes: null,
    allowed_payment_method_types: null,
    amount_subtotal: amount,
    amount_total: amount,
    automatic_tax: { enabled: false, liability: null, provider: null, status: null },
    billing_address_collection: null,
    client_secret: null,
    collected_information: null,
    consent: null,
    consent_collection: null,
    created: now,
    currency: items[0]?.price.currency ?? "eur",
    currency_conversion: null,
    custom_fields: [],
    custom_text: {
      after_submit: null,
      shipping_address: null,
      submit: null,
      terms_of_service_acceptance: null,
    },
    customer_account: null,
    // Of payments; with subscriptions Stripe always makes a customer.
    customer_creation: mode === "payment" ? "if_required" : null,
    customer_details:
      given.customer_email === null
        ? null
        : {
            address: null,
            business_name: null,
            email: given.customer_email,
            individual_name: null,
            name: null,
            phone: null,
            tax_exempt: "none",
            tax_ids: null,
          },
    discounts: [],
    integration_identifier: null,
    invoice: null,
    invoice_creation: null,
    livemode: false,
    managed_payments: { enabled: false },
    mode,
    origin_context: null,
    payment_intent: null,
    payment_link: null,
    payment_method_collection: mode === "payment" ? "if_required" : "always",
    payment_method_configuration_details: null,
    payment_method_options: {},
    payment_method_types: ["card", "sepa_debit"],
    payment_status: "unpaid",
    permissions: null,
    phone_number_collection: { enabled: false },
    recovered_from: null,
    saved_payment_method_options: null,
    setup_intent: null,
    shipping_address_collection: null,
    shipping_cost: null,
    shipping_options: [],
    status: "open",
    submit_type: null,
    subscription: null,
    total_details: { amount_discount: 0, amount_shipping: 0, amount_tax: 0 },
    ui_mode: "hosted_page",
    url: `${checkoutBase}/c/pay/${id}`,
    wallet_options: null,
    ...given,
    expires_at: given.expires_at ?? now + openForSeconds,
  };
}

export function makeLineItem({ price, quantity }: BasketItem, description: string): LineItemObject {
  const amount = (price.unit_amount ?? 0) * quantity;
  return {
    id: makeId("li_1", 23),
    object: "item",
    adjustable_quantity: null,
    amount_discount: 0,
    amount_subtotal: amount,
    amount_tax: 0,
    amount_total: amount,
    currency: price.currency,
    description,
    metadata: {},
    price,
    quantity,
  };
}
