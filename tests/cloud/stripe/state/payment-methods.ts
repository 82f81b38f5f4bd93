/** Stripe's test cards and accounts, and what each does when it is charged. */
import { invalidParameter, missing } from "../errors.ts";
import { makePaymentMethod } from "../objects/payment-methods.ts";
import type { CustomerObject, PaymentMethodObject } from "../objects/wire.ts";
import type { Account } from "./account.ts";
import type { Outcome } from "./invoices.ts";

/** What a charge of it does; `pending` ones end as `settles` says. */
export interface Behaviour {
  readonly charge: Outcome;
  readonly settles: "succeeded" | "failed";
}

const good: Behaviour = { charge: "succeeded", settles: "succeeded" };
const bad: Behaviour = { charge: "failed", settles: "failed" };

/** Cards by what stands after `tok_` and `pm_card_`. Source: Stripe's documentation of test cards. */
const cards: Readonly<Record<string, { readonly last4: string; readonly behaviour: Behaviour }>> = {
  visa: { last4: "4242", behaviour: good },
  mastercard: { last4: "4444", behaviour: good },
  // Can be attached to a customer, but no charge succeeds.
  chargeCustomerFail: { last4: "0341", behaviour: bad },
  chargeDeclined: { last4: "0002", behaviour: bad },
  chargeDeclinedInsufficientFunds: { last4: "9995", behaviour: bad },
};

/** Test accounts for SEPA debits, by IBAN. Source: Stripe's documentation of SEPA debits, "Test your integration". */
const accounts: Readonly<Record<string, Behaviour["settles"]>> = {
  AT611904300234573201: "succeeded",
  DE89370400440532013000: "succeeded",
  AT861904300235473202: "failed",
  IT60X0542811101000000123456: "failed",
};

export interface Billing {
  readonly email: string | null;
  readonly name: string | null;
}

/** @throws ApiError for a token that is none of Stripe's test cards */
export function cardOf(
  account: Account,
  token: string,
  billing: Billing,
  param: string,
): PaymentMethodObject {
  const name = token.replace(/^(tok|pm_card)_/, "");
  const card = Object.hasOwn(cards, name) ? cards[name] : undefined;
  if (!card || name === token) throw missing("token", token, param, 400);
  const made = makePaymentMethod({
    type: "card",
    customer: null,
    ...billing,
    last4: card.last4,
    now: account.now(),
  });
  return keep(account, made, card.behaviour);
}

/** @throws ApiError for an IBAN that is none of Stripe's test accounts */
export function debitOf(
  account: Account,
  iban: string,
  billing: Billing,
  param: string,
): PaymentMethodObject {
  const settles = Object.hasOwn(accounts, iban) ? accounts[iban] : undefined;
  if (!settles) {
    throw invalidParameter(param, "The IBAN you provided is invalid.", "invalid_bank_account_iban");
  }
  const made = makePaymentMethod({
    type: "sepa_debit",
    customer: null,
    ...billing,
    last4: iban.slice(-4),
    country: iban.slice(0, 2),
    now: account.now(),
  });
  return keep(account, made, { charge: "pending", settles });
}

function keep(account: Account, made: PaymentMethodObject, behaviour: Behaviour): PaymentMethodObject {
  account.paymentMethods.set(made.id, made);
  account.behaviours.set(made.id, behaviour);
  return made;
}

/** A method that is there, or a new one of a test card that is named like one: `pm_card_visa`. */
export function methodOf(account: Account, id: string, param: string): PaymentMethodObject {
  if (id.startsWith("pm_card_")) return cardOf(account, id, { email: null, name: null }, param);
  const method = account.paymentMethods.get(id);
  if (!method) throw missing("PaymentMethod", id, param, 400);
  return method;
}

export function attach(account: Account, method: PaymentMethodObject, customer: CustomerObject): void {
  if (method.customer === customer.id) return;
  if (method.customer !== null) {
    throw invalidParameter(
      "payment_method",
      "The payment method you provided has already been attached to a customer.",
    );
  }
  method.customer = customer.id;
  account.record("payment_method.attached", method);
}

/** What a charge does now: the console may have said that the customer's bank refuses. */
export function behaviourOf(account: Account, method: PaymentMethodObject): Behaviour {
  if (account.declining.has(method.customer ?? "")) return bad;
  const usual: Behaviour = method.type === "sepa_debit" ? { charge: "pending", settles: "succeeded" } : good;
  return account.behaviours.get(method.id) ?? usual;
}
