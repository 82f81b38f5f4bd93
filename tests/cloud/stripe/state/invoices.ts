/** Invoices and how they are paid: by an intent and its charges, at once, later, or not. */
import { refused } from "../errors.ts";
import { makeInvoice, makeInvoicePayment } from "../objects/billing.ts";
import { decline, makeCharge, makePaymentIntent } from "../objects/payments.ts";
import type {
  ChargeObject,
  CustomerObject,
  InvoiceObject,
  PaymentIntentObject,
  PaymentMethodObject,
  SubscriptionObject,
} from "../objects/wire.ts";
import type { Account } from "./account.ts";

/** `pending`: a bank debit that takes days. */
export type Outcome = "succeeded" | "pending" | "failed";

/** Between the tries of a failed payment; Stripe's smart retries choose it by themselves, this is a usual one. */
const retryAfterSeconds = 3 * 86_400;

/** Makes the subscription's next invoice, finalized. */
export function issueInvoice(
  account: Account,
  subscription: SubscriptionObject,
  reason: "subscription_create" | "subscription_cycle",
): InvoiceObject {
  const customer = account.customer(subscription.customer);
  const trial = (subscription.trial_end ?? 0) > account.now();
  const invoice = makeInvoice({ subscription, customer, reason, trial, now: account.now() });
  customer.next_invoice_sequence = (customer.next_invoice_sequence ?? 1) + 1;
  account.invoices.set(invoice.id, invoice);
  account.record("invoice.created", invoice);
  account.record("invoice.finalized", invoice);
  account.change(subscription, { latest_invoice: invoice.id }, null);
  return invoice;
}

/** The subscription's own, else the customer's. */
export function payingMethod(
  account: Account,
  customer: CustomerObject,
  subscription: SubscriptionObject | null,
): PaymentMethodObject | null {
  const id = subscription?.default_payment_method ?? customer.invoice_settings.default_payment_method;
  return account.paymentMethods.get(id ?? "") ?? null;
}

export const noMethod = () =>
  refused(
    "This customer has no attached payment source or default payment method. Please consider adding a default payment method.",
    "resource_missing",
  );

/** Tries to get an open invoice paid, by another method than the usual one if it is given. A failed try leaves it open. */
export function collect(
  account: Account,
  invoice: InvoiceObject,
  outcome: Outcome,
  other: PaymentMethodObject | null = null,
): void {
  if (invoice.amount_due === 0) {
    markPaid(account, invoice);
    return;
  }
  const customer = account.customer(invoice.customer ?? "");
  const method = other ?? payingMethod(account, customer, subscriptionOf(account, invoice));
  if (!method) throw noMethod();
  const intent = intentOf(account, invoice) ?? newIntent(account, invoice, customer, method);
  invoice.attempted = true;
  invoice.attempt_count += 1;
  tryCharge(account, intent, customer, method, outcome);
  if (outcome === "succeeded") markPaid(account, invoice);
  else if (outcome === "failed") markFailed(account, invoice);
}

/** A bank debit of an open invoice clears, or does not. */
export function settlePending(
  account: Account,
  invoice: InvoiceObject,
  outcome: "succeeded" | "failed",
): void {
  const intent = intentOf(account, invoice);
  if (intent) settleIntent(account, intent, outcome);
  if (outcome === "succeeded") markPaid(account, invoice);
  else markFailed(account, invoice);
}

/** One try of an intent: a new charge, and what becomes of both. */
export function tryCharge(
  account: Account,
  intent: PaymentIntentObject,
  customer: CustomerObject,
  paymentMethod: PaymentMethodObject,
  outcome: Outcome,
): ChargeObject {
  const charge = makeCharge({ intent, customer, paymentMethod, status: outcome, now: account.now() });
  account.charges.set(charge.id, charge);
  Object.assign(intent, { latest_charge: charge.id, payment_method: paymentMethod.id });
  account.record(`charge.${outcome}`, charge);
  if (outcome === "pending") account.change(intent, { status: "processing" }, "payment_intent.processing");
  else finishIntent(account, intent, charge, outcome);
  return charge;
}

export function settleIntent(
  account: Account,
  intent: PaymentIntentObject,
  outcome: "succeeded" | "failed",
): void {
  const charge = account.charge(intent.latest_charge ?? "");
  const failed = { failure_code: decline.code, failure_message: decline.message };
  const fields = { status: outcome, paid: outcome === "succeeded", ...(outcome === "failed" ? failed : {}) };
  account.change(charge, fields, `charge.${outcome}`);
  finishIntent(account, intent, charge, outcome);
}

function finishIntent(
  account: Account,
  intent: PaymentIntentObject,
  charge: ChargeObject,
  outcome: "succeeded" | "failed",
): void {
  if (outcome === "succeeded") {
    const paid = { status: "succeeded", amount_received: intent.amount, last_payment_error: null };
    Object.assign(intent, paid);
    account.record("payment_intent.succeeded", intent);
    return;
  }
  const { code, decline_code, message } = decline;
  Object.assign(intent, {
    status: "requires_payment_method",
    last_payment_error: { charge: charge.id, code, decline_code, message, type: "card_error" },
  });
  account.record("payment_intent.payment_failed", intent);
}

/** `paid` also when it was settled elsewhere, then without a charge. */
export function markPaid(account: Account, invoice: InvoiceObject): void {
  const now = account.now();
  Object.assign(invoice, {
    status: "paid",
    amount_paid: invoice.amount_due,
    amount_remaining: 0,
    attempted: true,
    auto_advance: false,
    next_payment_attempt: null,
    status_transitions: { ...invoice.status_transitions, paid_at: now },
  });
  account.record("invoice.paid", invoice);
  account.record("invoice.payment_succeeded", invoice);
  const payment = paymentOf(account, invoice);
  if (payment) {
    Object.assign(payment, {
      status: "paid",
      amount_paid: invoice.amount_due,
      status_transitions: { canceled_at: null, paid_at: now },
    });
    account.record("invoice_payment.paid", payment);
  }
  const subscription = subscriptionOf(account, invoice);
  const owing = subscription && ["incomplete", "past_due", "unpaid"].includes(subscription.status);
  // Only the newest invoice counts for the status. Source: Stripe's documentation of subscription statuses.
  if (owing && subscription.latest_invoice === invoice.id) {
    account.change(subscription, { status: "active" }, "customer.subscription.updated");
  }
}

function markFailed(account: Account, invoice: InvoiceObject): void {
  Object.assign(invoice, { attempted: true, next_payment_attempt: account.now() + retryAfterSeconds });
  account.record("invoice.payment_failed", invoice);
}

/** Nobody expects it to be paid any more, or it never was to be. */
export function closeUnpaid(
  account: Account,
  invoice: InvoiceObject,
  status: "void" | "uncollectible",
): void {
  if (invoice.status !== "open" && !(status === "void" && invoice.status === "uncollectible")) {
    throw refused(`Invoice ${invoice.id} is ${invoice.status} and cannot be made ${status}.`);
  }
  const time = status === "void" ? "voided_at" : "marked_uncollectible_at";
  Object.assign(invoice, {
    status,
    auto_advance: false,
    next_payment_attempt: null,
    status_transitions: { ...invoice.status_transitions, [time]: account.now() },
  });
  account.record(status === "void" ? "invoice.voided" : "invoice.marked_uncollectible", invoice);
}

export function subscriptionOf(account: Account, invoice: InvoiceObject): SubscriptionObject | null {
  return account.subscriptions.get(invoice.parent?.subscription_details?.subscription ?? "") ?? null;
}

const paymentOf = (account: Account, invoice: InvoiceObject) =>
  [...account.invoicePayments.values()].find((payment) => payment.invoice === invoice.id) ?? null;

/** The intent that an invoice is paid by; null before the first try. */
export function intentOf(account: Account, invoice: InvoiceObject): PaymentIntentObject | null {
  const payment = paymentOf(account, invoice);
  return account.paymentIntents.get(payment?.payment.payment_intent ?? "") ?? null;
}

function newIntent(
  account: Account,
  invoice: InvoiceObject,
  customer: CustomerObject,
  paymentMethod: PaymentMethodObject,
): PaymentIntentObject {
  const intent = makePaymentIntent({
    amount: invoice.amount_due,
    currency: invoice.currency,
    customer: customer.id,
    paymentMethod,
    description:
      invoice.billing_reason === "subscription_create" ? "Subscription creation" : "Subscription update",
    metadata: {},
    now: account.now(),
  });
  account.paymentIntents.set(intent.id, intent);
  account.record("payment_intent.created", intent);
  const payment = makeInvoicePayment(invoice, intent.id, account.now());
  account.invoicePayments.set(payment.id, payment);
  return intent;
}
