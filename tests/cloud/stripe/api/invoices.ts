import { ApiError, invalidParameter, refused } from "../errors.ts";
import { decline } from "../objects/payments.ts";
import type { InvoiceObject } from "../objects/wire.ts";
import { closeUnpaid, collect, markPaid, noMethod, payingMethod, subscriptionOf } from "../state/invoices.ts";
import { attach, behaviourOf, methodOf } from "../state/payment-methods.ts";
import type { Call, Route } from "./call.ts";
import { is, page, within } from "./lists.ts";

export const invoiceRoutes: readonly Route[] = [
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

/** With the method named, else the subscription's or the customer's. */
function payInvoice({ account, id, parameters }: Call): InvoiceObject {
  const outOfBand = parameters.boolean("paid_out_of_band") ?? false;
  parameters.boolean("off_session");
  const named = parameters.text("payment_method");
  parameters.done(["forgive", "mandate", "source"]);
  const invoice = account.invoice(id);
  if (invoice.status === "paid") throw refused("Invoice is already paid", "invoice_already_paid");
  if (invoice.status !== "open" && invoice.status !== "uncollectible") {
    throw refused(`Invoices with a status of \`${invoice.status}\` cannot be paid.`, "invoice_not_open");
  }
  if (outOfBand) markPaid(account, invoice);
  else {
    const customer = account.customer(invoice.customer ?? "");
    const method =
      named === null
        ? payingMethod(account, customer, subscriptionOf(account, invoice))
        : methodOf(account, named, "payment_method");
    if (!method) throw noMethod();
    attach(account, method, customer);
    const { charge } = behaviourOf(account, method);
    collect(account, invoice, charge, method);
    if (charge === "failed") throw new ApiError(402, { type: "card_error", ...decline }, { begun: true });
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
