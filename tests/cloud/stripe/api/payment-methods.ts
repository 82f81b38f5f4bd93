/** Payment methods by Stripe's test cards and accounts, and the page's own calls as Stripe's command line makes them. */
import { ApiError, invalidParameter, missing, missingParameter } from "../errors.ts";
import type { PaymentMethodObject } from "../objects/wire.ts";
import { completeSession } from "../state/checkout.ts";
import { attach, type Billing, cardOf, debitOf, methodOf } from "../state/payment-methods.ts";
import type { Call, Route } from "./call.ts";
import { is, page } from "./lists.ts";
import type { Parameters } from "./parameters.ts";

export const paymentMethodRoutes: readonly Route[] = [
  ["POST", "/v1/payment_methods", create],
  [
    "GET",
    "/v1/payment_methods/:id",
    ({ account, id, parameters }) => {
      parameters.done();
      return existing(account, id);
    },
  ],
  ["GET", "/v1/payment_methods", list],
  ["POST", "/v1/payment_methods/:id/attach", attachTo],
  // Undocumented: what the hosted page calls. The recipes of `stripe trigger` pay through it.
  [
    "GET",
    "/v1/payment_pages/:id",
    ({ account, id, parameters }) => {
      parameters.done();
      const { livemode, amount_total } = account.session(id);
      return { id: `ppage_${id}`, object: "payment_page", livemode, session_id: id, amount_total };
    },
  ],
  ["POST", "/v1/payment_pages/:id/confirm", confirm],
];

function existing(account: Call["account"], id: string): PaymentMethodObject {
  const method = account.paymentMethods.get(id);
  if (!method) throw missing("PaymentMethod", id, "payment_method");
  return method;
}

function create({ account, parameters }: Call): PaymentMethodObject {
  const type = parameters.oneOf("type", ["card", "sepa_debit"]);
  if (type === null) throw missingParameter("type");
  const billing = readBilling(parameters);
  const part = parameters.part(type);
  const name = type === "card" ? "token" : "iban";
  const value = part?.required(name) ?? null;
  parameters.done(["card.number", "card.exp_month", "card.exp_year", "card.cvc"]);
  if (value === null) throw missingParameter(`${type}[${name}]`);
  const param = `${type}[${name}]`;
  return type === "card" ? cardOf(account, value, billing, param) : debitOf(account, value, billing, param);
}

/** Email and name are kept; the address is taken and forgotten. */
function readBilling(parameters: Parameters): Billing {
  const part = parameters.part("billing_details");
  const address = part?.part("address");
  for (const line of ["line1", "line2", "city", "state", "postal_code", "country"]) address?.text(line);
  part?.text("phone");
  return { email: part?.text("email") ?? null, name: part?.text("name") ?? null };
}

function list(call: Call): unknown {
  const { account, parameters } = call;
  const customer = parameters.text("customer");
  const type = parameters.text("type");
  return page(
    call,
    account.paymentMethods.values(),
    (method) => is(customer, method.customer) && is(type, method.type),
  );
}

function attachTo({ account, id, parameters }: Call): PaymentMethodObject {
  const customer = parameters.required("customer");
  parameters.done();
  const method = methodOf(account, id, "payment_method");
  attach(account, method, account.customer(customer, "customer", 400));
  return method;
}

function confirm({ account, id, parameters }: Call): unknown {
  const method = parameters.required("payment_method");
  const amount = parameters.integer("expected_amount", { min: 0, max: 1e9 });
  parameters.done();
  const session = account.session(id);
  if (amount !== null && amount !== session.amount_total) {
    throw invalidParameter("expected_amount", `The amount is ${session.amount_total}.`, "amount_mismatch");
  }
  if (session.status !== "open") throw new ApiError(400, { message: "This page is not open any more." });
  return completeSession(account, id, methodOf(account, method, "payment_method"));
}
