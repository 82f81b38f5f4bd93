/** What happens to a subscription after it was bought. */
import { refused } from "../errors.ts";
import { periodEndOf } from "../objects/billing.ts";
import { periodEnd } from "../objects/catalogue.ts";
import type { CancelFeedback, CancelReason, InvoiceObject, SubscriptionObject } from "../objects/wire.ts";
import type { Account } from "./account.ts";
import { closeUnpaid, collect, issueInvoice, type Outcome, payingMethod } from "./invoices.ts";
import { behaviourOf } from "./payment-methods.ts";

export const updated = "customer.subscription.updated";

export interface CancelDetails {
  readonly reason?: CancelReason;
  readonly comment?: string | null;
  readonly feedback?: CancelFeedback | null;
}

/** Ends it now. @throws ApiError (resource_missing, as at Stripe) when it is over already. */
export function cancelNow(
  account: Account,
  subscription: SubscriptionObject,
  details: CancelDetails = {},
): void {
  assertAlive(subscription);
  const now = account.now();
  Object.assign(subscription, {
    status: "canceled",
    cancel_at_period_end: false,
    canceled_at: subscription.canceled_at ?? now,
    ended_at: now,
    pause_collection: null,
    cancellation_details: {
      comment: details.comment ?? subscription.cancellation_details?.comment ?? null,
      feedback: details.feedback ?? subscription.cancellation_details?.feedback ?? null,
      feedback_option: null,
      reason: details.reason ?? "cancellation_requested",
    },
  } satisfies Partial<SubscriptionObject>);
  account.record("customer.subscription.deleted", subscription);
}

/** Says that it ends with its period, or takes that back. */
export function setCancelAtPeriodEnd(
  account: Account,
  subscription: SubscriptionObject,
  wanted: boolean,
): void {
  assertAlive(subscription);
  const details = subscription.cancellation_details;
  const fields: Partial<SubscriptionObject> = {
    cancel_at_period_end: wanted,
    cancel_at: wanted ? periodEndOf(subscription) : null,
    canceled_at: wanted ? account.now() : null,
    cancellation_details: {
      comment: details?.comment ?? null,
      feedback: details?.feedback ?? null,
      feedback_option: null,
      reason: wanted ? "cancellation_requested" : null,
    },
  };
  account.change(subscription, fields, updated);
}

export type PausedReason =
  | "pause_requested"
  | "first_payment_failure"
  | "final_payment_failure"
  | "trial_end_without_payment_method"
  | "system";

/** Status `paused`: no service, no invoices. Not `pause_collection`, which leaves the status as it is. */
export function pause(account: Account, subscription: SubscriptionObject, reason: PausedReason): void {
  if (!["active", "trialing", "past_due"].includes(subscription.status)) {
    throw refused(
      `Subscription ${subscription.id} has the status ${subscription.status} and cannot be paused.`,
    );
  }
  const fields: Partial<SubscriptionObject> = {
    status: "paused",
    status_details: {
      paused: { subscription: { type: reason }, transitioned_at: account.now(), type: "subscription" },
    },
  };
  account.change(subscription, fields, updated);
  account.record("customer.subscription.paused", subscription);
}

/**
 * Ends the pause. When the period ended meanwhile a new one begins and is paid for; a payment that fails leaves the
 * subscription paused.
 */
export function resume(
  account: Account,
  subscription: SubscriptionObject,
  outcome: Outcome = "succeeded",
): void {
  if (subscription.status !== "paused") {
    throw refused(
      `You can only resume subscriptions that have a status of \`paused\`. ${subscription.id} has the status ${subscription.status}.`,
    );
  }
  if (periodEndOf(subscription) <= account.now()) {
    nextPeriod(account, subscription, account.now());
    const invoice = issueInvoice(account, subscription, "subscription_cycle");
    collect(account, invoice, outcome);
    if (outcome === "failed") return;
  }
  delete subscription.status_details;
  account.change(subscription, { status: "active" }, updated);
  account.record("customer.subscription.resumed", subscription);
}

/**
 * The period ends now: a subscription that was to end ends, any other begins its next period with an invoice.
 * @returns the invoice, null when it ended
 */
export function renew(
  account: Account,
  subscription: SubscriptionObject,
  outcome: Outcome = "succeeded",
): InvoiceObject | null {
  assertAlive(subscription);
  if (subscription.status === "paused") {
    throw refused(`Subscription ${subscription.id} is paused: it has no next period until it is resumed.`);
  }
  if (subscription.status === "trialing") {
    endTrial(account, subscription);
    return account.invoices.get(subscription.latest_invoice ?? "") ?? null;
  }
  if (subscription.cancel_at_period_end) {
    cancelNow(account, subscription);
    return null;
  }
  nextPeriod(account, subscription, periodEndOf(subscription));
  const invoice = issueInvoice(account, subscription, "subscription_cycle");
  const behavior = subscription.pause_collection?.behavior;
  if (behavior === "void") closeUnpaid(account, invoice, "void");
  else if (behavior === "mark_uncollectible") closeUnpaid(account, invoice, "uncollectible");
  else if (behavior === "keep_as_draft") invoice.status = "draft";
  // While it is unpaid, invoices are made but nobody is charged. Source: Stripe's documentation of statuses.
  else if (subscription.status === "unpaid") invoice.status = "draft";
  else collect(account, invoice, outcome);
  if (invoice.status === "open" && outcome === "failed") {
    account.change(subscription, { status: "past_due" }, updated);
  }
  return invoice;
}

/** What the account's settings make of a subscription whose last try has failed, too. */
export type AfterLastFailure = "past_due" | "unpaid" | "canceled" | "paused";

/**
 * A payment fails: the next try of the open invoice, else the one of a new period. With `final` it was the last try
 * that the account's settings allow.
 */
export function failPayment(
  account: Account,
  subscription: SubscriptionObject,
  final: AfterLastFailure | null,
): InvoiceObject {
  assertAlive(subscription);
  const latest = account.invoices.get(subscription.latest_invoice ?? "");
  const open = latest?.status === "open" ? latest : null;
  if (open) {
    collect(account, open, "failed");
    account.change(subscription, { status: "past_due" }, updated);
  }
  const invoice = open ?? renew(account, subscription, "failed");
  if (!invoice) throw refused(`Subscription ${subscription.id} ended with its period.`);
  if (final === null) return invoice;
  invoice.next_payment_attempt = null;
  if (final === "canceled") cancelNow(account, subscription, { reason: "payment_failed" });
  else if (final === "paused") pause(account, subscription, "final_payment_failure");
  else account.change(subscription, { status: final }, updated);
  return invoice;
}

/** The trial is over: the first period that costs money begins, if there is something to pay with. */
export function endTrial(account: Account, subscription: SubscriptionObject): void {
  subscription.trial_end = account.now();
  const customer = account.customer(subscription.customer);
  const method = payingMethod(account, customer, subscription);
  const without = subscription.trial_settings?.end_behavior.missing_payment_method;
  if (!method && without === "pause") {
    pause(account, subscription, "trial_end_without_payment_method");
    return;
  }
  if (!method && without === "cancel") {
    cancelNow(account, subscription);
    return;
  }
  nextPeriod(account, subscription, account.now());
  account.change(subscription, { status: "active" }, updated);
  const invoice = issueInvoice(account, subscription, "subscription_cycle");
  if (!method) return;
  const { charge } = behaviourOf(account, method);
  collect(account, invoice, charge);
  if (charge === "failed") account.change(subscription, { status: "past_due" }, updated);
}

function nextPeriod(account: Account, subscription: SubscriptionObject, from: number): void {
  const items = {
    ...subscription.items,
    data: subscription.items.data.map((item) => ({
      ...item,
      current_period_start: from,
      current_period_end: periodEnd(item.price, from),
    })),
  };
  account.change(subscription, { items }, updated);
}

/** Stripe does not find a subscription that is over for anything that would change it. */
export function assertAlive(subscription: SubscriptionObject): void {
  if (subscription.ended_at === null) return;
  throw refused(`No such subscription: '${subscription.id}'`, "resource_missing", "id");
}
