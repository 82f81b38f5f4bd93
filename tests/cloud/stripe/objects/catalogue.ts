/** What is sold and to whom, with the fields of API version 2026-10-28.endive. Times are seconds. */
import { makeId } from "./ids.ts";
import type { CustomerObject, Metadata, PlanObject, PriceObject, ProductObject } from "./wire.ts";

export function makeProduct(fields: {
  readonly id?: string;
  readonly name: string;
  readonly description?: string | null;
  readonly active?: boolean;
  readonly metadata?: Metadata;
  readonly now: number;
}): ProductObject {
  return {
    id: fields.id ?? makeId("prod_", 14),
    object: "product",
    active: fields.active ?? true,
    created: fields.now,
    default_price: null,
    description: fields.description ?? null,
    images: [],
    livemode: false,
    marketing_features: [],
    metadata: fields.metadata ?? {},
    name: fields.name,
    package_dimensions: null,
    shippable: null,
    statement_descriptor: null,
    tax_code: null,
    tax_details: null,
    type: "service",
    unit_label: null,
    updated: fields.now,
    url: null,
  };
}

export interface PriceFields {
  readonly id?: string;
  readonly product: string;
  readonly currency: string;
  /** In the currency's smallest unit. */
  readonly unitAmount: number;
  /** Null for a price that is paid once. */
  readonly interval: "day" | "week" | "month" | "year" | null;
  readonly intervalCount?: number;
  readonly active?: boolean;
  readonly lookupKey?: string | null;
  readonly nickname?: string | null;
  readonly metadata?: Metadata;
  readonly now: number;
}

export function makePrice(fields: PriceFields): PriceObject {
  return {
    id: fields.id ?? makeId("price_1", 23),
    object: "price",
    active: fields.active ?? true,
    billing_scheme: "per_unit",
    created: fields.now,
    currency: fields.currency,
    custom_unit_amount: null,
    livemode: false,
    lookup_key: fields.lookupKey ?? null,
    metadata: fields.metadata ?? {},
    nickname: fields.nickname ?? null,
    product: fields.product,
    recurring:
      fields.interval === null
        ? null
        : {
            interval: fields.interval,
            interval_count: fields.intervalCount ?? 1,
            meter: null,
            trial_period_days: null,
            usage_type: "licensed",
          },
    tax_behavior: "unspecified",
    tiers_mode: null,
    transform_quantity: null,
    type: fields.interval === null ? "one_time" : "recurring",
    unit_amount: fields.unitAmount,
    unit_amount_decimal: String(fields.unitAmount),
  };
}

/** The plan that Stripe still shows beside each recurring price, under the price's id. */
export function planOf(price: PriceObject): PlanObject {
  return {
    id: price.id,
    object: "plan",
    active: price.active,
    amount: price.unit_amount,
    amount_decimal: price.unit_amount_decimal,
    billing_scheme: price.billing_scheme,
    created: price.created,
    currency: price.currency,
    interval: price.recurring?.interval ?? "month",
    interval_count: price.recurring?.interval_count ?? 1,
    livemode: false,
    metadata: price.metadata,
    meter: null,
    nickname: price.nickname,
    product: price.product,
    tiers_mode: null,
    transform_usage: null,
    trial_period_days: null,
    usage_type: "licensed",
  };
}

/** Length of one period of a price that starts at `from`, seconds; calendar months, as Stripe counts. */
export function periodEnd(price: PriceObject, from: number): number {
  const { interval, interval_count: count } = price.recurring ?? { interval: "month", interval_count: 1 };
  if (interval === "day") return from + count * 86_400;
  if (interval === "week") return from + count * 7 * 86_400;
  const date = new Date(from * 1000);
  const day = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() + count * (interval === "year" ? 12 : 1));
  const last = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  // 31 January and a month is the last of February.
  date.setUTCDate(Math.min(day, last));
  return Math.floor(date.getTime() / 1000);
}

export function makeCustomer(fields: {
  readonly email: string | null;
  readonly name?: string | null;
  readonly description?: string | null;
  readonly phone?: string | null;
  readonly metadata?: Metadata;
  readonly now: number;
}): CustomerObject {
  return {
    id: makeId("cus_", 14),
    object: "customer",
    address: null,
    balance: 0,
    created: fields.now,
    currency: null,
    customer_account: null,
    default_source: null,
    delinquent: false,
    description: fields.description ?? null,
    discount: null,
    email: fields.email,
    invoice_prefix: makeId("", 8).toUpperCase(),
    invoice_settings: {
      custom_fields: null,
      default_payment_method: null,
      footer: null,
      rendering_options: null,
    },
    livemode: false,
    metadata: fields.metadata ?? {},
    name: fields.name ?? null,
    next_invoice_sequence: 1,
    phone: fields.phone ?? null,
    preferred_locales: [],
    shipping: null,
    tax_exempt: "none",
    test_clock: null,
  };
}
