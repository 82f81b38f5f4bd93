/** How a subscription begins: paid, tried first, or not paid yet. */
import { ApiError } from "../errors.ts";
import { makeSubscription, type Trial } from "../objects/billing.ts";
import type { BasketItem } from "../objects/checkout.ts";
import { decline } from "../objects/payments.ts";
import type { CustomerObject, Metadata, PaymentMethodObject, SubscriptionObject } from "../objects/wire.ts";
import type { Account } from "./account.ts";
import { collect, issueInvoice, noMethod } from "./invoices.ts";
import { behaviourOf } from "./payment-methods.ts";

export interface NewSubscription {
  readonly customer: CustomerObject;
  readonly items: readonly BasketItem[];
  /** The subscription's own; the customer's pays when it is null. */
  readonly method: PaymentMethodObject | null;
  readonly trial: Trial | null;
  /** What happens when the first payment fails; `default_incomplete` does not even try. Stripe's words. */
  readonly behavior: "allow_incomplete" | "default_incomplete" | "error_if_incomplete";
  readonly metadata: Metadata;
  readonly description: string | null;
}

/** @throws ApiError when there is nothing to pay with, or 402 when that was asked for and the payment fails */
export function subscribe(account: Account, wanted: NewSubscription): SubscriptionObject {
  const { customer, items, trial, behavior } = wanted;
  const ownId = customer.invoice_settings.default_payment_method;
  const method = wanted.method ?? account.paymentMethods.get(ownId ?? "") ?? null;
  const charge = method ? behaviourOf(account, method).charge : null;
  const waits = trial !== null || behavior === "default_incomplete";
  if (charge === null && !waits) throw noMethod();
  if (charge === "failed" && behavior === "error_if_incomplete" && !waits) {
    throw new ApiError(402, { type: "card_error", ...decline }, { begun: true });
  }
  const subscription = makeSubscription({
    customer: customer.id,
    items,
    metadata: wanted.metadata,
    description: wanted.description,
    paymentMethod: wanted.method?.id ?? null,
    trial,
    now: account.now(),
  });
  const unpaid = charge === "failed" || behavior === "default_incomplete";
  // A debit that is on its way counts as paid until the bank says otherwise.
  subscription.status = trial ? "trialing" : unpaid ? "incomplete" : "active";
  account.subscriptions.set(subscription.id, subscription);
  const invoice = issueInvoice(account, subscription, "subscription_create");
  account.record("customer.subscription.created", subscription);
  // What costs nothing is paid without a method.
  if (invoice.amount_due === 0 || behavior !== "default_incomplete") {
    collect(account, invoice, charge ?? "succeeded");
  }
  return subscription;
}
