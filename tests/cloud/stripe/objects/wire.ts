import type { Stripe } from "stripe";

/**
 * A type of the pinned library as JSON shows it when nothing was expanded: a reference is an id, a decimal a string.
 * Stripe's own types say `string | Customer | …` and `Decimal` there, for what the library makes of an answer.
 */
export type Wire<V> = string extends Extract<V, string> ? Exclude<V, object> : Each<V>;

type Each<V> = V extends Stripe.Decimal
  ? string
  : V extends readonly (infer Item)[]
    ? Wire<Item>[]
    : V extends object
      ? { [Key in keyof V]: Wire<V[Key]> }
      : V;

export type ProductObject = Wire<Stripe.Product>;
export type PriceObject = Wire<Stripe.Price>;
export type PlanObject = Wire<Stripe.Plan>;
export type CustomerObject = Wire<Stripe.Customer>;
export type PaymentMethodObject = Wire<Stripe.PaymentMethod>;
export type SessionObject = Wire<Stripe.Checkout.Session>;
export type LineItemObject = Wire<Stripe.LineItem>;
export type SubscriptionObject = Wire<Stripe.Subscription>;
type CancellationDetails = NonNullable<SubscriptionObject["cancellation_details"]>;
export type CancelReason = NonNullable<CancellationDetails["reason"]>;
export type CancelFeedback = NonNullable<CancellationDetails["feedback"]>;
export type SubscriptionItemObject = Wire<Stripe.SubscriptionItem>;
export type InvoiceObject = Wire<Stripe.Invoice>;
export type InvoiceLineObject = Wire<Stripe.InvoiceLineItem>;
export type InvoicePaymentObject = Wire<Stripe.InvoicePayment>;
export type PaymentIntentObject = Wire<Stripe.PaymentIntent>;
export type ChargeObject = Wire<Stripe.Charge>;
export type RefundObject = Wire<Stripe.Refund>;
export type DisputeObject = Wire<Stripe.Dispute>;
export type WebhookEndpointObject = Wire<Stripe.WebhookEndpoint>;
export type EventDestinationObject = Wire<Stripe.V2.Core.EventDestination>;

export type Metadata = Record<string, string>;

/** Any object that an event can be about. */
export interface StripeObject {
  readonly id: string;
  readonly object: string;
}

/** The library knows 270 types of events with a type of its own each; here an event is about any object. */
export type EventObject = Omit<Wire<Stripe.EventBase>, "type" | "data"> & {
  type: string;
  data: { object: StripeObject; previous_attributes?: Record<string, unknown> };
};

/** An event of API v2: ids only. What is sent to the destination has no `data`; the library fetches what it is about. */
export interface ThinEventObject {
  id: string;
  object: "v2.core.event";
  type: string;
  created: string;
  livemode: false;
  reason?: { type: "request"; request: { id: string; idempotency_key: string } };
  related_object: { id: string; type: string; url: string };
  snapshot_event: string;
}

/** A list as Stripe inlines it. */
export interface ObjectList<T> {
  object: "list";
  data: T[];
  has_more: boolean;
  url: string;
}

export const listOf = <T>(url: string, data: T[]): ObjectList<T> => ({
  object: "list",
  data,
  has_more: false,
  url,
});
