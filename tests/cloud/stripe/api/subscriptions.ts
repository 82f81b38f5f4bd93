import { ApiError, invalidParameter, missing, missingParameter } from "../errors.ts";
import { periodEndOf, type Trial } from "../objects/billing.ts";
import type { BasketItem } from "../objects/checkout.ts";
import type { CancelFeedback, SubscriptionObject } from "../objects/wire.ts";
import { attach, methodOf } from "../state/payment-methods.ts";
import { subscribe } from "../state/subscribe.ts";
import {
  assertAlive,
  cancelNow,
  endTrial,
  pause,
  resume,
  setCancelAtPeriodEnd,
} from "../state/subscriptions.ts";
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

/** Documented parameters of "Create a subscription" and "Update a subscription" that this stand-in knows nothing about. */
const documented = [
  "add_invoice_items application_fee_percent automatic_tax billing_cycle_anchor billing_schedules",
  "billing_thresholds collection_method currency days_until_due default_source items.price_data items.metadata",
  "default_tax_rates discounts invoice_settings items off_session on_behalf_of payment_behavior",
  "payment_settings pending_invoice_item_interval proration_behavior proration_date transfer_data",
  "trial_from_plan items.tax_rates items.discounts",
].flatMap((line) => line.split(" "));

export const subscriptionRoutes: readonly Route[] = [
  [
    "GET",
    "/v1/subscriptions/:id",
    ({ account, id, parameters }) => {
      parameters.done();
      return account.subscription(id);
    },
  ],
  ["GET", "/v1/subscriptions", listSubscriptions],
  ["POST", "/v1/subscriptions", createSubscription],
  ["POST", "/v1/subscriptions/:id", updateSubscription],
  ["DELETE", "/v1/subscriptions/:id", cancelSubscription],
  ["POST", "/v1/subscriptions/:id/pause", pauseSubscription],
  ["POST", "/v1/subscriptions/:id/resume", resumeSubscription],
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

const withoutMethod = ["cancel", "create_invoice", "pause"] as const;

function createSubscription({ account, parameters }: Call): SubscriptionObject {
  const customer = account.customer(parameters.required("customer"), "customer", 400);
  const items = readItems(account, parameters);
  const named = parameters.text("default_payment_method");
  const behavior =
    parameters.oneOf("payment_behavior", ["allow_incomplete", "default_incomplete", "error_if_incomplete"]) ??
    "allow_incomplete";
  const trial = readTrial(account, parameters);
  const metadata = parameters.metadata();
  const description = parameters.text("description", { max: 500 });
  parameters.done(documented.filter((name) => name !== "items" && name !== "payment_behavior"));
  const method = named === null ? null : methodOf(account, named, "default_payment_method");
  if (method) attach(account, method, customer);
  return subscribe(account, { customer, items, method, trial, behavior, metadata, description });
}

function readItems(account: Call["account"], parameters: Parameters): BasketItem[] {
  const items = parameters.parts("items");
  if (items === null || items.length === 0) throw missingParameter("items");
  return items.map((item) => {
    const id = item.required("price");
    const quantity = item.integer("quantity", { min: 0, max: 999_999 }) ?? 1;
    const price = account.prices.get(id);
    if (!price) throw missing("price", id, item.name("price"), 400);
    if (price.type !== "recurring") {
      throw invalidParameter(
        item.name("price"),
        `The price specified is set to \`type=one_time\` but this field only accepts prices with \`type=recurring\`.`,
      );
    }
    return { price, quantity };
  });
}

function readTrial(account: Call["account"], parameters: Parameters): Trial | null {
  const days = parameters.integer("trial_period_days", { min: 1, max: 730 });
  const until = parameters.integer("trial_end", { min: account.now(), max: 1e12 });
  const settings = parameters.part("trial_settings")?.part("end_behavior");
  const behavior = settings?.oneOf("missing_payment_method", withoutMethod) ?? "create_invoice";
  const end = until ?? (days === null ? null : account.now() + days * 86_400);
  return end === null ? null : { end, withoutMethod: behavior };
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
  const paying = parameters.text("default_payment_method");
  const trialEnds = readTrialEnd(account, parameters);
  parameters.done(documented);
  // Of one that is over, only notes can be changed.
  if (atPeriodEnd !== null || cancelAt !== undefined || pausing !== undefined) assertAlive(subscription);
  if (atPeriodEnd !== null) {
    const changes = atPeriodEnd !== subscription.cancel_at_period_end;
    if (changes) setCancelAtPeriodEnd(account, subscription, atPeriodEnd);
  }
  if (paying !== null) {
    const method = methodOf(account, paying, "default_payment_method");
    attach(account, method, account.customer(subscription.customer));
    fields.default_payment_method = method.id;
  }
  if (typeof trialEnds === "number") fields.trial_end = trialEnds;
  account.change(subscription, fields, "customer.subscription.updated");
  if (trialEnds === "now" && subscription.status === "trialing") endTrial(account, subscription);
  return subscription;
}

/** A time, `now`, or null when it was not sent. */
function readTrialEnd({ now }: Call["account"], parameters: Parameters): number | "now" | null {
  if (parameters.text("trial_end") === "now") return "now";
  return parameters.integer("trial_end", { min: now(), max: 1e12 });
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
