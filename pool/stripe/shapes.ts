/** What we read of Stripe's objects. Unknown fields pass, unknown words of open enums stay words. */
import { z } from "zod";
import type { Charge, CheckoutSession, Claim, Dispute, Subscription } from "./stripe.ts";

const id = z.string().min(1).max(255);

/** A reference to another object: its id, or the object itself where the caller asked for expansion. */
const reference = z
  .union([id, z.object({ id })])
  .nullish()
  .transform((value) => (value == null ? null : typeof value === "string" ? value : value.id));

const metadata = z
  .record(z.string(), z.string())
  .nullish()
  .transform((value) => value ?? {});

export const sessionShape = z
  .object({
    id,
    object: z.literal("checkout.session"),
    created: z.number(),
    status: z.string().nullish(),
    payment_status: z.string(),
    mode: z.string(),
    client_reference_id: z.string().nullish(),
    subscription: reference,
    customer: reference,
    url: z.string().nullish(),
    metadata,
    line_items: z.object({ data: z.array(z.object({ price: z.object({ id }).nullish() })) }).nullish(),
  })
  .transform(
    (session): CheckoutSession => ({
      id: session.id,
      createdAt: session.created * 1000,
      status: session.status ?? null,
      paymentStatus: session.payment_status,
      mode: session.mode,
      reference: session.client_reference_id ?? null,
      subscription: session.subscription,
      customer: session.customer,
      url: session.url ?? null,
      metadata: session.metadata,
      prices: (session.line_items?.data ?? []).flatMap((item) => (item.price ? [item.price.id] : [])),
    }),
  );

const invoice = z.object({ id, status: z.string().nullish(), billing_reason: z.string().nullish() });

export const subscriptionShape = z
  .object({
    id,
    object: z.literal("subscription"),
    status: z.string(),
    customer: reference,
    metadata,
    ended_at: z.number().nullish(),
    cancellation_details: z.object({ reason: z.string().nullish() }).nullish(),
    cancel_at: z.number().nullish(),
    pause_collection: z.object({}).nullish(),
    status_details: z
      .object({ paused: z.object({ subscription: z.object({ type: z.string() }).nullish() }).nullish() })
      .nullish(),
    latest_invoice: z.union([z.string(), invoice]).nullish(),
  })
  .transform(
    (subscription): Subscription => ({
      id: subscription.id,
      status: subscription.status,
      customer: subscription.customer,
      metadata: subscription.metadata,
      endedAt: subscription.ended_at == null ? null : subscription.ended_at * 1000,
      cancelReason: subscription.cancellation_details?.reason ?? null,
      endsAt: subscription.cancel_at == null ? null : subscription.cancel_at * 1000,
      pausedBecause: subscription.status_details?.paused?.subscription?.type ?? null,
      collectionPaused: subscription.pause_collection != null,
      latestInvoice: shownInvoice(subscription.latest_invoice),
    }),
  );

function shownInvoice(shown: z.output<typeof invoice> | string | null | undefined) {
  if (shown == null || typeof shown === "string") return null;
  return { id: shown.id, status: shown.status ?? null, reason: shown.billing_reason ?? null };
}

/** Of an invoice in a list: what paid it. */
export const paidInvoiceShape = z.object({
  id,
  payments: z
    .object({
      data: z.array(z.object({ payment: z.object({ payment_intent: reference, charge: reference }) })),
    })
    .nullish(),
});

export const chargeShape = z
  .object({
    id,
    status: z.string(),
    amount: z.number(),
    amount_refunded: z.number(),
    disputed: z.boolean(),
    payment_intent: reference,
    customer: reference,
  })
  .transform(({ amount_refunded, payment_intent, ...charge }) => ({
    ...charge,
    amountRefunded: amount_refunded,
    paymentIntent: payment_intent,
  })) satisfies z.ZodType<Omit<Charge, "disputes">>;

export const disputeShape = z.object({ id, status: z.string() }) satisfies z.ZodType<Dispute>;

/** A dispute or refund with its charge expanded, or a charge itself. */
export const claimShape = z
  .object({
    id,
    customer: reference,
    charge: z.union([z.string(), z.object({ customer: reference })]).nullish(),
  })
  .transform(
    ({ id, customer, charge }): Claim => ({
      id,
      customer: customer ?? (typeof charge === "object" ? (charge?.customer ?? null) : null),
    }),
  );

/** `event`: carries the object as it was. */
export const snapshotEventShape = z.object({
  object: z.literal("event"),
  id,
  type: z.string().min(1).max(255),
  created: z.number(),
  livemode: z.boolean().nullish(),
  data: z.object({
    object: z.looseObject({
      id: id.optional(),
      object: z.string().optional(),
      status: z.unknown().optional(),
    }),
  }),
});

/** `v2.core.event`: carries ids only. During a migration it names the snapshot event of the same change. */
export const thinEventShape = z.object({
  object: z.literal("v2.core.event"),
  id,
  type: z.string().min(1).max(255),
  created: z.union([z.number(), z.string()]),
  livemode: z.boolean().nullish(),
  related_object: z.object({ id, type: z.string() }).nullish(),
  snapshot_event: id.nullish(),
});
