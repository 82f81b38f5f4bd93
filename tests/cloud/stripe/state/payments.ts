/** Money that goes back: refunds and disputes. */
import { refused } from "../errors.ts";
import { makeDispute, makeRefund } from "../objects/payments.ts";
import type {
  ChargeObject,
  DisputeObject,
  Metadata,
  RefundObject,
  SubscriptionObject,
} from "../objects/wire.ts";
import type { Account } from "./account.ts";
import { intentOf } from "./invoices.ts";

export interface NewRefund {
  /** In the currency's smallest unit; all that is left when null. */
  readonly amount?: number | null;
  readonly reason?: RefundObject["reason"];
  readonly metadata?: Metadata;
}

/** @throws ApiError when there is nothing left to refund, or less than asked for. */
export function refund(account: Account, charge: ChargeObject, wanted: NewRefund = {}): RefundObject {
  if (charge.status !== "succeeded") {
    throw refused(`Charge ${charge.id} is ${charge.status}; only a paid one can be refunded.`);
  }
  if (charge.refunded) {
    throw refused(`Charge ${charge.id} has already been refunded.`, "charge_already_refunded");
  }
  if (charge.disputed && !inquiryOnly(account, charge)) {
    throw refused(`Charge ${charge.id} has been charged back; cannot issue a refund.`, "charge_disputed");
  }
  const left = charge.amount_captured - charge.amount_refunded;
  const amount = wanted.amount ?? left;
  if (amount > left) {
    throw refused(
      `Refund amount (${money(amount, charge)}) is greater than unrefunded amount on charge (${money(left, charge)})`,
      undefined,
      "amount",
    );
  }
  const made = makeRefund({
    charge,
    amount,
    reason: wanted.reason ?? null,
    metadata: wanted.metadata ?? {},
    now: account.now(),
  });
  account.refunds.set(made.id, made);
  account.record("refund.created", made);
  const total = charge.amount_refunded + amount;
  const fields = { amount_refunded: total, refunded: total === charge.amount_captured };
  account.change(charge, fields, "charge.refunded");
  return made;
}

/** The bank sends the money back: the refund fails after it had succeeded. */
export function failRefund(account: Account, made: RefundObject): void {
  if (made.status !== "succeeded") throw refused(`Refund ${made.id} is ${made.status}.`);
  Object.assign(made, { status: "failed", failure_reason: "lost_or_stolen_card" });
  const charge = account.charge(made.charge ?? "");
  charge.amount_refunded -= made.amount;
  charge.refunded = false;
  account.record("refund.failed", made);
  account.record("charge.refund.updated", made);
}

const inquiryOnly = (account: Account, charge: ChargeObject): boolean =>
  [...account.disputes.values()].every(
    (dispute) => dispute.charge !== charge.id || dispute.is_charge_refundable,
  );

const money = (amount: number, { currency }: ChargeObject): string =>
  `${(amount / 100).toFixed(2)} ${currency.toUpperCase()}`;

export interface NewDispute {
  readonly reason?: string;
  /** A question of the bank that takes no money yet. */
  readonly inquiry?: boolean;
}

export function dispute(account: Account, charge: ChargeObject, wanted: NewDispute = {}): DisputeObject {
  if (charge.disputed) throw refused(`Charge ${charge.id} is disputed already.`);
  const made = makeDispute({
    charge,
    amount: charge.amount,
    reason: wanted.reason ?? "fraudulent",
    inquiry: wanted.inquiry ?? false,
    now: account.now(),
  });
  account.disputes.set(made.id, made);
  account.change(charge, { disputed: true }, "charge.updated");
  account.record("charge.dispute.created", made);
  if (!wanted.inquiry) account.record("charge.dispute.funds_withdrawn", made);
  return made;
}

/** How a dispute ends; an inquiry only closes. */
export type DisputeEnd = "won" | "lost" | "warning_closed" | "prevented";

export function closeDispute(account: Account, made: DisputeObject, end: DisputeEnd): void {
  if (["won", "lost", "warning_closed", "prevented"].includes(made.status)) {
    throw refused(`This dispute is already closed (${made.status}).`);
  }
  account.change(made, { status: end }, "charge.dispute.closed");
  if (end === "won") account.record("charge.dispute.funds_reinstated", made);
}

/** The charge that paid the subscription's newest invoice. @throws ApiError when there is none. */
export function chargeOf(account: Account, subscription: SubscriptionObject): ChargeObject {
  const invoice = account.invoices.get(subscription.latest_invoice ?? "");
  const intent = invoice ? intentOf(account, invoice) : null;
  const charge = account.charges.get(intent?.latest_charge ?? "");
  if (!charge) throw refused(`Subscription ${subscription.id} has no charge.`);
  return charge;
}
