/** Intents, charges, refunds, disputes. */
import { missing, refused } from "../errors.ts";
import type { ChargeObject, DisputeObject, RefundObject } from "../objects/wire.ts";
import { refund } from "../state/payments.ts";
import type { Call, Route } from "./call.ts";
import { is, page, within } from "./lists.ts";

export const paymentRoutes: readonly Route[] = [
  [
    "GET",
    "/v1/payment_intents/:id",
    ({ account, id, parameters }) => {
      parameters.done();
      const intent = account.paymentIntents.get(id);
      if (!intent) throw missing("payment_intent", id, "intent");
      return intent;
    },
  ],
  ["GET", "/v1/payment_intents", listIntents],
  [
    "GET",
    "/v1/charges/:id",
    ({ account, id, parameters }) => {
      parameters.done();
      return account.charge(id);
    },
  ],
  ["GET", "/v1/charges", listCharges],
  ["POST", "/v1/refunds", createRefund],
  [
    "GET",
    "/v1/refunds/:id",
    (call) => {
      call.parameters.done();
      return refundOf(call);
    },
  ],
  ["POST", "/v1/refunds/:id", updateRefund],
  ["GET", "/v1/refunds", listRefunds],
  [
    "GET",
    "/v1/disputes/:id",
    (call) => {
      call.parameters.done();
      return disputeOf(call);
    },
  ],
  ["POST", "/v1/disputes/:id", answerDispute],
  ["POST", "/v1/disputes/:id/close", acceptDispute],
  ["GET", "/v1/disputes", listDisputes],
];

function listIntents(call: Call): unknown {
  const { account, parameters } = call;
  const customer = parameters.text("customer");
  const created = parameters.range("created");
  return page(
    call,
    account.paymentIntents.values(),
    (intent) => is(customer, intent.customer) && within(created, intent.created),
  );
}

function listCharges(call: Call): unknown {
  const { account, parameters } = call;
  const customer = parameters.text("customer");
  const intent = parameters.text("payment_intent");
  const created = parameters.range("created");
  return page(
    call,
    account.charges.values(),
    (charge) =>
      is(customer, charge.customer) && is(intent, charge.payment_intent) && within(created, charge.created),
  );
}

function createRefund({ account, parameters }: Call): RefundObject {
  const by = parameters.exactlyOne(["charge", "payment_intent"]);
  const id = parameters.required(by);
  const amount = parameters.integer("amount", { min: 1, max: 99_999_999 });
  const reason = parameters.oneOf("reason", ["duplicate", "fraudulent", "requested_by_customer"]);
  const metadata = parameters.metadata();
  parameters.done([
    "currency",
    "customer",
    "instructions_email",
    "origin",
    "refund_application_fee",
    "reverse_transfer",
  ]);
  return refund(account, chargeBy(account, by, id), { amount, reason, metadata });
}

function chargeBy(account: Call["account"], by: string, id: string): ChargeObject {
  if (by === "charge") {
    const charge = account.charges.get(id);
    if (!charge) throw missing("charge", id, "charge", 400);
    return charge;
  }
  const intent = account.paymentIntents.get(id);
  if (!intent) throw missing("payment_intent", id, "payment_intent", 400);
  const charge = account.charges.get(intent.latest_charge ?? "");
  if (!charge || intent.status !== "succeeded") {
    throw refused(`This PaymentIntent (${id}) does not have a successful charge to refund.`);
  }
  return charge;
}

function refundOf({ account, id }: Call): RefundObject {
  const made = account.refunds.get(id);
  if (!made) throw missing("refund", id);
  return made;
}

function updateRefund(call: Call): RefundObject {
  const made = refundOf(call);
  const metadata = call.parameters.metadata(made.metadata ?? {});
  call.parameters.done();
  call.account.change(made, { metadata }, "refund.updated");
  return made;
}

function listRefunds(call: Call): unknown {
  const { account, parameters } = call;
  const charge = parameters.text("charge");
  const intent = parameters.text("payment_intent");
  const created = parameters.range("created");
  return page(
    call,
    account.refunds.values(),
    (made) => is(charge, made.charge) && is(intent, made.payment_intent) && within(created, made.created),
  );
}

function disputeOf({ account, id }: Call): DisputeObject {
  const made = account.disputes.get(id);
  if (!made) throw missing("dispute", id);
  return made;
}

/** Evidence is the texts of it; with `submit` the bank looks at them. */
function answerDispute(call: Call): DisputeObject {
  const { account, parameters } = call;
  const made = disputeOf(call);
  const part = parameters.part("evidence");
  const evidence = { ...made.evidence };
  for (const name of [
    "customer_name",
    "product_description",
    "service_date",
    "uncategorized_text",
  ] as const) {
    const value = part?.clearable(name, { max: 20_000 });
    if (value !== undefined) evidence[name] = value;
  }
  const metadata = parameters.metadata(made.metadata);
  const submit = parameters.boolean("submit") ?? part !== null;
  parameters.done(["intended_submission_method"]);
  const open = ["needs_response", "warning_needs_response"].includes(made.status);
  if (part && !open) throw refused(`This dispute is ${made.status}; evidence cannot be added.`);
  const submitted = part !== null && submit;
  account.change(
    made,
    {
      evidence,
      metadata,
      evidence_details: {
        ...made.evidence_details,
        has_evidence: part !== null || made.evidence_details.has_evidence,
        submission_count: made.evidence_details.submission_count + (submitted ? 1 : 0),
        submission_method: submitted ? "manual" : made.evidence_details.submission_method,
      },
      ...(submitted ? { status: underReview(made) } : {}),
    },
    "charge.dispute.updated",
  );
  return made;
}

const underReview = ({ status }: DisputeObject): DisputeObject["status"] =>
  status === "warning_needs_response" ? "warning_under_review" : "under_review";

function acceptDispute(call: Call): DisputeObject {
  call.parameters.done();
  const made = disputeOf(call);
  if (made.status !== "needs_response") throw refused(`This dispute is ${made.status} and cannot be closed.`);
  call.account.change(made, { status: "lost" }, "charge.dispute.closed");
  return made;
}

function listDisputes(call: Call): unknown {
  const { account, parameters } = call;
  const charge = parameters.text("charge");
  const intent = parameters.text("payment_intent");
  const created = parameters.range("created");
  return page(
    call,
    account.disputes.values(),
    (made) => is(charge, made.charge) && is(intent, made.payment_intent) && within(created, made.created),
  );
}
