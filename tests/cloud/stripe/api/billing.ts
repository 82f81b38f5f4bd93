/** Subscriptions and invoices. */
import { ApiError, invalidParameter, missingParameter, refused } from "../errors.ts";
import { periodEndOf } from "../objects/billing.ts";
import { decline } from "../objects/payments.ts";
import type { CancelFeedback, InvoiceObject, SubscriptionObject } from "../objects/wire.ts";
import { closeUnpaid, collect, markPaid } from "../state/invoices.ts";
import { assertAlive, cancelNow, pause, resume, setCancelAtPeriodEnd } from "../state/subscriptions.ts";
import type { Call, Route } from "./call.ts";
import { is, page, within } from "./lists.ts";
import type { Parameters } from "./parameters.ts";

const statuses = [
  "active",
  "past_due",
  "unpaid",
  "canceled",
  "incomplete",
  "incomplete_expired",
  "trialing",
  "paused",
  "ended",
  "all",
] as const;

/** Documented parameters of "Update a subscription" that this stand-in knows nothing about. */
const documented = [
  "add_invoice_items application_fee_percent automatic_tax billing_cycle_anchor billing_schedules",
  "billing_thresholds collection_method days_until_due default_payment_method default_source",
  "default_tax_rates discounts invoice_settings items off_session on_behalf_of payment_behavior",
  "payment_settings pending_invoice_item_interval proration_behavior proration_date transfer_data trial_end",
  "trial_from_plan trial_settings",
].flatMap((line) => line.split(" "));

export const billingRoutes: readonly Route[] = [
  [
    "GET",
    "/v1/subscriptions/:id",
    ({ account, id, parameters }) => {
      parameters.done();
      return account.subscription(id);
    },
  ],
  ["GET", "/v1/subscriptions", listSubscriptions],
  ["POST", "/v1/subscriptions/:id", updateSubscription],
  ["DELETE", "/v1/subscriptions/:id", cancelSubscription],
  ["POST", "/v1/subscriptions/:id/pause", pauseSubscription],
  ["POST", "/v1/subscriptions/:id/resume", resumeSubscription],
  [
    "GET",
    "/v1/invoices/:id",
    ({ account, id, parameters }) => {
      parameters.done();
      return account.invoice(id);
    },
  ],
  ["GET", "/v1/invoices", listInvoices],
  [
    "GET",
    "/v1/invoices/:id/lines",
    (call) => page(call, [...call.account.invoice(call.id).lines.data].reverse(), () => true),
  ],
  ["POST", "/v1/invoices/:id/pay", payInvoice],
  ["POST", "/v1/invoices/:id/void", (call) => close(call, "void")],
  ["POST", "/v1/invoices/:id/mark_uncollectible", (call) => close(call, "uncollectible")],
  ["GET", "/v1/invoice_payments", listInvoicePayments],
];

function listSubscriptions(call: Call): unknown {
  const { account, parameters } = call;
  const status = parameters.oneOf("status", statuses);
  const customer = parameters.text("customer");
  const price = parameters.text("price");
  const created = parameters.range("created");
  const start = parameters.range("current_period_start");
  const end = parameters.range("current_period_end");
  const ended = (subscription: SubscriptionObject) =>
    ["canceled", "incomplete_expired"].includes(subscription.status);
  return page(
    call,
    account.subscriptions.values(),
    (subscription) =>
      is(customer, subscription.customer) &&
      (price === null || subscription.items.data.some((item) => item.price.id === price)) &&
      within(created, subscription.created) &&
      within(start, subscription.items.data[0]?.current_period_start ?? 0) &&
      within(end, periodEndOf(subscription)) &&
      (status === "all" ||
        (status === "ended" && ended(subscription)) ||
        // Without a status Stripe leaves the cancelled ones out.
        (status === null ? subscription.status !== "canceled" : subscription.status === status)),
  );
}

function updateSubscription({ account, id, parameters }: Call): SubscriptionObject {
  const subscription = account.subscription(id);
  const atPeriodEnd = parameters.boolean("cancel_at_period_end");
  const cancelAt = parameters.clearable("cancel_at");
  if (atPeriodEnd !== null && cancelAt !== undefined)
    parameters.exactlyOne(["cancel_at", "cancel_at_period_end"]);
  const fields: Partial<SubscriptionObject> = { metadata: parameters.metadata(subscription.metadata) };
  const description = parameters.clearable("description", { max: 500 });
  if (description !== undefined) fields.description = description;
  const pausing = readPauseCollection(parameters);
  if (pausing !== undefined) fields.pause_collection = pausing;
  const details = parameters.part("cancellation_details");
  if (details && subscription.cancellation_details) {
    fields.cancellation_details = { ...subscription.cancellation_details, ...readDetails(details) };
  }
  if (cancelAt === null) Object.assign(fields, { cancel_at: null, canceled_at: null });
  else if (cancelAt !== undefined) {
    const at = parameters.integer("cancel_at", { min: account.now(), max: 1e12 });
    Object.assign(fields, { cancel_at: at, canceled_at: account.now() });
  }
  parameters.done(documented);
  // Of one that is over, only notes can be changed.
  if (atPeriodEnd !== null || cancelAt !== undefined || pausing !== undefined) assertAlive(subscription);
  if (atPeriodEnd !== null) {
    const changes = atPeriodEnd !== subscription.cancel_at_period_end;
    if (changes) setCancelAtPeriodEnd(account, subscription, atPeriodEnd);
  }
  account.change(subscription, fields, "customer.subscription.updated");
  return subscription;
}

/** Undefined when it was not sent, null when collection is to go on. */
function readPauseCollection(parameters: Parameters): SubscriptionObject["pause_collection"] | undefined {
  if (!parameters.has("pause_collection")) return undefined;
  if (parameters.isUnset("pause_collection")) return null;
  const part = parameters.part("pause_collection");
  const behavior = part?.oneOf("behavior", ["keep_as_draft", "mark_uncollectible", "void"]) ?? null;
  if (behavior === null) throw missingParameter("pause_collection[behavior]");
  return { behavior, resumes_at: part?.integer("resumes_at", { min: 0, max: 1e12 }) ?? null };
}

const feedbacks: readonly CancelFeedback[] = [
  "customer_service",
  "low_quality",
  "missing_features",
  "other",
  "switched_service",
  "too_complex",
  "too_expensive",
  "unused",
];

function readDetails(part: Parameters): { comment: string | null; feedback: CancelFeedback | null } {
  return { comment: part.text("comment"), feedback: part.oneOf("feedback", feedbacks) };
}

function cancelSubscription({ account, id, parameters }: Call): SubscriptionObject {
  const details = parameters.part("cancellation_details");
  const said = details ? readDetails(details) : {};
  // Nothing is ever pro rata here.
  parameters.boolean("invoice_now");
  parameters.boolean("prorate");
  parameters.done();
  const subscription = account.subscription(id);
  if (subscription.ended_at !== null) {
    throw new ApiError(404, {
      code: "resource_missing",
      message: `No such subscription: '${id}'`,
      param: "id",
    });
  }
  cancelNow(account, subscription, said);
  return subscription;
}

function pauseSubscription({ account, id, parameters }: Call): SubscriptionObject {
  parameters.oneOf("type", ["subscription"]);
  parameters.done(["bill_for", "invoicing_behavior"]);
  const subscription = account.subscription(id);
  assertAlive(subscription);
  pause(account, subscription, "pause_requested");
  return subscription;
}

function resumeSubscription({ account, id, parameters }: Call): SubscriptionObject {
  parameters.oneOf("billing_cycle_anchor", ["now", "unchanged"]);
  parameters.oneOf("payment_behavior", ["resume_on_payment_attempt", "resume_on_payment_success"]);
  parameters.oneOf("proration_behavior", ["always_invoice", "create_prorations", "none"]);
  parameters.done(["proration_date"]);
  const subscription = account.subscription(id);
  resume(account, subscription);
  return subscription;
}

function listInvoices(call: Call): unknown {
  const { account, parameters } = call;
  const status = parameters.oneOf("status", ["draft", "open", "paid", "uncollectible", "void"]);
  const customer = parameters.text("customer");
  const subscription = parameters.text("subscription");
  const created = parameters.range("created");
  const method = parameters.oneOf("collection_method", ["charge_automatically", "send_invoice"]);
  return page(
    call,
    account.invoices.values(),
    (invoice) =>
      is(status, invoice.status) &&
      is(customer, invoice.customer) &&
      is(subscription, invoice.parent?.subscription_details?.subscription) &&
      is(method, invoice.collection_method) &&
      within(created, invoice.created),
  );
}

/** A card that was declined last is declined again until the console says that the buyer has a good one. */
function payInvoice({ account, id, parameters }: Call): InvoiceObject {
  const outOfBand = parameters.boolean("paid_out_of_band") ?? false;
  parameters.boolean("off_session");
  parameters.done(["forgive", "mandate", "payment_method", "source"]);
  const invoice = account.invoice(id);
  if (invoice.status === "paid") throw refused("Invoice is already paid", "invoice_already_paid");
  if (invoice.status !== "open" && invoice.status !== "uncollectible") {
    throw refused(`Invoices with a status of \`${invoice.status}\` cannot be paid.`, "invoice_not_open");
  }
  if (outOfBand) markPaid(account, invoice);
  else {
    const declined = account.declining.has(invoice.customer ?? "");
    collect(account, invoice, declined ? "failed" : "succeeded");
    if (declined) throw new ApiError(402, { type: "card_error", ...decline }, { begun: true });
  }
  return invoice;
}

function close({ account, id, parameters }: Call, status: "void" | "uncollectible"): InvoiceObject {
  parameters.done();
  const invoice = account.invoice(id);
  closeUnpaid(account, invoice, status);
  return invoice;
}

function listInvoicePayments(call: Call): unknown {
  const { account, parameters } = call;
  const invoice = parameters.text("invoice");
  const status = parameters.oneOf("status", ["open", "paid", "canceled"]);
  const payment = parameters.part("payment");
  const type = payment?.oneOf("type", ["payment_intent", "charge"]) ?? null;
  if (payment && type === null)
    throw invalidParameter("payment[type]", "Missing required param: payment[type].");
  const intent = payment?.text("payment_intent") ?? null;
  return page(
    call,
    account.invoicePayments.values(),
    (one) =>
      is(invoice, one.invoice) &&
      is(status, one.status) &&
      is(type, one.payment.type) &&
      is(intent, one.payment.payment_intent),
  );
}
