/** What a buyer pays with, with the fields of API version 2026-10-28.endive. Times are seconds. */
import { makeId } from "./ids.ts";
import type { CustomerObject, PaymentMethodObject } from "./wire.ts";

export const noAddress = {
  city: null,
  country: null,
  line1: null,
  line2: null,
  postal_code: null,
  state: null,
};

export interface PaymentMethodFields {
  readonly type: "card" | "sepa_debit";
  /** Null as long as it is attached to nobody. */
  readonly customer: CustomerObject | null;
  readonly email?: string | null;
  readonly name?: string | null;
  readonly last4?: string;
  readonly country?: string;
  readonly now: number;
}

/** Card 4242, or a SEPA debit where the payment clears later. */
export function makePaymentMethod(fields: PaymentMethodFields): PaymentMethodObject {
  const { type, customer, now } = fields;
  const email = fields.email ?? customer?.email ?? null;
  return {
    id: makeId("pm_1", 23),
    object: "payment_method",
    allow_redisplay: "limited",
    billing_details: { address: noAddress, email, name: fields.name ?? null, phone: null, tax_id: null },
    ...(type === "card"
      ? {
          card: {
            brand: "visa",
            checks: {
              address_line1_check: null,
              address_postal_code_check: null,
              cvc_check: "pass",
            },
            country: "US",
            display_brand: "visa",
            exp_month: 12,
            exp_year: 2034,
            fingerprint: makeId("", 16),
            funding: "credit",
            generated_from: null,
            last4: fields.last4 ?? "4242",
            networks: { available: ["visa"], preferred: null },
            regulated_status: "unregulated",
            three_d_secure_usage: { supported: true },
            wallet: null,
          },
        }
      : {
          sepa_debit: {
            bank_code: "19043",
            branch_code: "",
            country: fields.country ?? "AT",
            fingerprint: makeId("", 16),
            generated_from: { charge: null, setup_attempt: null },
            last4: fields.last4 ?? "3201",
          },
        }),
    created: now,
    customer: customer?.id ?? null,
    customer_account: null,
    livemode: false,
    metadata: {},
    type,
  };
}
