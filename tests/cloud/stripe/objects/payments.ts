/** Money on its way in and back, with the fields of API version 2026-10-28.endive. Times are seconds. */

import { makeId } from "./ids.ts";
import { noAddress } from "./payment-methods.ts";
import type {
  ChargeObject,
  CustomerObject,
  DisputeObject,
  Metadata,
  PaymentIntentObject,
  PaymentMethodObject,
  RefundObject,
} from "./wire.ts";

export function makePaymentIntent(fields: {
  readonly amount: number;
  readonly currency: string;
  readonly customer: string;
  readonly paymentMethod: PaymentMethodObject;
  readonly description: string | null;
  readonly metadata: Metadata;
  readonly now: number;
}): PaymentIntentObject {
  const { amount, currency, customer, paymentMethod, description, metadata, now } = fields;
  const id = makeId("pi_3", 23);
  return {
    id,
    object: "payment_intent",
    allowed_payment_method_types: null,
    amount,
    amount_capturable: 0,
    amount_details: { tip: {} },
    amount_received: 0,
    application: null,
    application_fee_amount: null,
    automatic_payment_methods: null,
    canceled_at: null,
    cancellation_reason: null,
    capture_method: "automatic",
    client_secret: `${id}_secret_${makeId("", 25)}`,
    confirmation_method: "automatic",
    created: now,
    currency,
    customer,
    customer_account: null,
    description,
    excluded_payment_method_types: null,
    last_payment_error: null,
    latest_charge: null,
    livemode: false,
    managed_payments: { enabled: false },
    metadata,
    next_action: null,
    on_behalf_of: null,
    payment_method: paymentMethod.id,
    payment_method_configuration_details: null,
    payment_method_options: {},
    payment_method_types: [paymentMethod.type],
    payment_record: null,
    processing: null,
    receipt_email: null,
    review: null,
    setup_future_usage: "off_session",
    shipping: null,
    source: null,
    statement_descriptor: null,
    statement_descriptor_suffix: null,
    status: "requires_confirmation",
    transfer_data: null,
    transfer_group: null,
  };
}

/** The card's issuer refuses, with the code that Stripe gives most often. Source: Stripe's list of decline codes. */
export const decline = {
  code: "card_declined",
  decline_code: "insufficient_funds",
  message: "Your card has insufficient funds.",
} as const;

export function makeCharge(fields: {
  readonly intent: PaymentIntentObject;
  readonly customer: CustomerObject;
  readonly paymentMethod: PaymentMethodObject;
  readonly status: "succeeded" | "pending" | "failed";
  readonly now: number;
}): ChargeObject {
  const { intent, customer, paymentMethod, status, now } = fields;
  const id = makeId("ch_3", 23);
  const failed = status === "failed";
  return {
    id,
    object: "charge",
    amount: intent.amount,
    amount_captured: failed ? 0 : intent.amount,
    amount_refunded: 0,
    application: null,
    application_fee: null,
    application_fee_amount: null,
    balance_transaction: status === "succeeded" ? makeId("txn_3", 23) : null,
    billing_details: { address: noAddress, email: customer.email, name: null, phone: null, tax_id: null },
    calculated_statement_descriptor: "STAND-IN",
    captured: !failed,
    created: now,
    currency: intent.currency,
    customer: customer.id,
    description: intent.description,
    disputed: false,
    failure_balance_transaction: null,
    failure_code: failed ? decline.code : null,
    failure_message: failed ? decline.message : null,
    fraud_details: {},
    livemode: false,
    metadata: {},
    on_behalf_of: null,
    outcome: {
      advice_code: failed ? "try_again_later" : null,
      network_advice_code: null,
      network_decline_code: null,
      network_status: failed ? "declined_by_network" : "approved_by_network",
      reason: failed ? decline.decline_code : null,
      risk_level: "normal",
      risk_score: 20,
      seller_message: failed
        ? "The bank returned the decline code `insufficient_funds`."
        : "Payment complete.",
      type: failed ? "issuer_declined" : "authorized",
    },
    paid: status === "succeeded",
    payment_intent: intent.id,
    payment_method: paymentMethod.id,
    payment_method_details: detailsOf(paymentMethod, intent.amount),
    radar_options: {},
    receipt_email: null,
    receipt_number: null,
    receipt_url: failed ? null : `https://pay.stripe.com/receipts/payment/${id}`,
    refunded: false,
    review: null,
    shipping: null,
    source: null,
    source_transfer: null,
    statement_descriptor: null,
    statement_descriptor_suffix: null,
    status,
    transfer_data: null,
    transfer_group: null,
  };
}

function detailsOf(method: PaymentMethodObject, amount: number): ChargeObject["payment_method_details"] {
  if (method.type === "sepa_debit") {
    return {
      sepa_debit: {
        bank_code: method.sepa_debit?.bank_code ?? null,
        branch_code: "",
        country: method.sepa_debit?.country ?? null,
        fingerprint: method.sepa_debit?.fingerprint ?? null,
        last4: method.sepa_debit?.last4 ?? null,
        mandate: makeId("mandate_1", 23),
      },
      type: "sepa_debit",
    };
  }
  return {
    card: {
      amount_authorized: amount,
      authorization_code: "123456",
      brand: "visa",
      checks: { address_line1_check: null, address_postal_code_check: null, cvc_check: "pass" },
      country: "US",
      electronic_commerce_indicator: null,
      exp_month: 12,
      exp_year: 2034,
      extended_authorization: { status: "disabled" },
      fingerprint: method.card?.fingerprint ?? null,
      funding: "credit",
      incremental_authorization: { status: "unavailable" },
      installments: null,
      last4: "4242",
      mandate: null,
      multicapture: { status: "unavailable" },
      network: "visa",
      network_token: { used: false },
      network_transaction_id: "104102978678771",
      overcapture: { maximum_amount_capturable: amount, status: "unavailable" },
      regulated_status: "unregulated",
      three_d_secure: null,
      transaction_link_id: null,
      wallet: null,
    },
    type: "card",
  };
}

export function makeRefund(fields: {
  readonly charge: ChargeObject;
  readonly amount: number;
  readonly reason: RefundObject["reason"];
  readonly metadata: Metadata;
  readonly now: number;
}): RefundObject {
  const { charge, amount, reason, metadata, now } = fields;
  return {
    id: makeId("re_3", 23),
    object: "refund",
    amount,
    balance_transaction: makeId("txn_3", 23),
    charge: charge.id,
    created: now,
    currency: charge.currency,
    customer: charge.customer,
    customer_account: null,
    destination_details: {
      card: {
        reference: "9400117900000000",
        reference_status: "available",
        reference_type: "acquirer_reference_number",
        type: "refund",
      },
      type: "card",
    },
    metadata,
    payment_intent: charge.payment_intent,
    payment_method: charge.payment_method,
    reason,
    receipt_number: null,
    source_transfer_reversal: null,
    status: "succeeded",
    transfer_reversal: null,
  };
}

/** Seconds that the seller has for an answer; networks give 7 to 21 days, this is a usual one. */
const answerWithinSeconds = 9 * 86_400;

export function makeDispute(fields: {
  readonly charge: ChargeObject;
  readonly amount: number;
  readonly reason: string;
  /** An inquiry takes no money yet; its statuses begin with `warning_`. */
  readonly inquiry: boolean;
  readonly now: number;
}): DisputeObject {
  const { charge, amount, reason, inquiry, now } = fields;
  return {
    id: makeId("du_1", 23),
    object: "dispute",
    amount,
    balance_transactions: [],
    charge: charge.id,
    created: now,
    currency: charge.currency,
    enhanced_eligibility_types: [],
    evidence: {
      access_activity_log: null,
      billing_address: null,
      cancellation_policy: null,
      cancellation_policy_disclosure: null,
      cancellation_rebuttal: null,
      customer_communication: null,
      customer_email_address: charge.billing_details.email,
      customer_name: null,
      customer_purchase_ip: null,
      customer_signature: null,
      duplicate_charge_documentation: null,
      duplicate_charge_explanation: null,
      duplicate_charge_id: null,
      enhanced_evidence: {},
      product_description: null,
      receipt: null,
      refund_policy: null,
      refund_policy_disclosure: null,
      refund_refusal_explanation: null,
      service_date: null,
      service_documentation: null,
      shipping_address: null,
      shipping_carrier: null,
      shipping_date: null,
      shipping_documentation: null,
      shipping_tracking_number: null,
      uncategorized_file: null,
      uncategorized_text: null,
    },
    evidence_details: {
      due_by: now + answerWithinSeconds,
      enhanced_eligibility: {},
      has_evidence: false,
      past_due: false,
      submission_count: 0,
      submission_method: "not_submitted",
    },
    intended_submission_method: null,
    is_charge_refundable: inquiry,
    livemode: false,
    metadata: {},
    payment_intent: charge.payment_intent,
    payment_method_details: {
      card: {
        brand: "visa",
        case_type: inquiry ? "inquiry" : "chargeback",
        network: "visa",
        network_reason_code: "10.4",
      },
      type: "card",
    },
    reason,
    status: inquiry ? "warning_needs_response" : "needs_response",
  };
}
