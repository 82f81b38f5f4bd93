/** All that Stripe knows of what was paid for a subscription, in as few calls as it takes. */
import type { Stripe } from "stripe";
import { call, callOrNull, list, mostInPage, read } from "./calls.ts";
import { chargeShape, claimShape, disputeShape, paidInvoiceShape, subscriptionShape } from "./shapes.ts";
import type { Charge, CheckoutSession, Claim, Listing, Standing, StripeGateway } from "./stripe.ts";

/** The newest hundred of each: eight years of months. A bank takes disputes for a year and a half at most. */
const newest = { limit: mostInPage } as const;

/**
 * An invoice names the intents that paid it, a charge its intent, and a dispute its charge; since API 2025-03-31 nothing
 * leads from the charge to the invoice directly.
 *
 * @throws BorderError when any of the calls fails: half a standing would be a wrong one
 */
export async function fetchStanding(stripe: Stripe, id: string): Promise<Standing | null> {
  const fetched = await callOrNull(`fetch subscription ${id}`, () =>
    stripe.subscriptions.retrieve(id, { expand: ["latest_invoice"] }),
  );
  if (fetched === null) return null;
  const subscription = read(subscriptionShape, fetched, "subscription");
  // Over is over, whatever was paid; and of a customer who was deleted nothing more can be asked.
  if (subscription.endedAt !== null || subscription.customer === null) return { subscription, charges: [] };
  const { customer } = subscription;
  const invoices = await call(`list invoices of ${id}`, () =>
    stripe.invoices.list({ subscription: id, expand: ["data.payments"], ...newest }),
  );
  const paidBy = new Set(
    invoices.data.flatMap((invoice) =>
      (read(paidInvoiceShape, invoice, "invoice").payments?.data ?? []).flatMap(({ payment }) => [
        payment.payment_intent,
        payment.charge,
      ]),
    ),
  );
  const listed = await call(`list charges of ${customer}`, () =>
    stripe.charges.list({ customer, ...newest }),
  );
  const charges: Charge[] = [];
  for (const one of listed.data) {
    const { status, paymentIntent, disputed, ...charge } = read(chargeShape, one, "charge");
    if (status !== "succeeded" || !(paidBy.has(paymentIntent) || paidBy.has(charge.id))) continue;
    const { id: chargeId, amount, amountRefunded } = charge;
    charges.push({
      id: chargeId,
      amount,
      amountRefunded,
      disputes: disputed ? await disputesOf(stripe, chargeId) : [],
    });
  }
  return { subscription, charges };
}

/**
 * A checkout whose first payment did not clear stays `unpaid`; what its invoice brought later only the subscription shows.
 * @throws BorderError as `fetchStanding`
 */
export async function wasCollectedLate(
  stripe: Stripe,
  { status, paymentStatus, subscription }: CheckoutSession,
): Promise<boolean> {
  if (status !== "complete" || paymentStatus !== "unpaid" || subscription === null) return false;
  const standing = await fetchStanding(stripe, subscription);
  if (standing?.subscription.status !== "active") return false;
  return standing.charges.some(({ amount, amountRefunded }) => amountRefunded < amount);
}

async function disputesOf(stripe: Stripe, charge: string): Promise<Charge["disputes"]> {
  const answer = await call(`list disputes of ${charge}`, () => stripe.disputes.list({ charge }));
  return answer.data.map((dispute) => read(disputeShape, dispute, "dispute"));
}

export async function fetchClaim(
  stripe: Stripe,
  kind: Parameters<StripeGateway["fetchClaim"]>[0],
  id: string,
): Promise<Claim | null> {
  const expand = { expand: ["charge"] };
  const found = await callOrNull<unknown>(`fetch ${kind} ${id}`, () => {
    if (kind === "charge") return stripe.charges.retrieve(id);
    return kind === "dispute" ? stripe.disputes.retrieve(id, expand) : stripe.refunds.retrieve(id, expand);
  });
  return found === null ? null : read(claimShape, found, kind);
}

export function listClaims(
  stripe: Stripe,
  { kind, createdSince, limit }: Parameters<StripeGateway["claims"]>[0],
): Promise<Listing<Claim>> {
  const filter = {
    created: { gte: Math.floor(createdSince / 1000) },
    limit: mostInPage,
    expand: ["data.charge"],
  };
  return list<typeof claimShape>(`list ${kind}s`, limit, claimShape, kind, () =>
    kind === "dispute" ? stripe.disputes.list(filter) : stripe.refunds.list(filter),
  );
}
