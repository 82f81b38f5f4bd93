/** What we read of Stripe's objects. Unknown fields pass, unknown words of open enums stay words. */
import { z } from "zod";
import type { CheckoutSession, Subscription } from "./stripe.ts";

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

export const subscriptionShape = z
  .object({
    id,
    object: z.literal("subscription"),
    status: z.string(),
    customer: reference,
    metadata,
    ended_at: z.number().nullish(),
    cancellation_details: z.object({ reason: z.string().nullish() }).nullish(),
  })
  .transform(
    (subscription): Subscription => ({
      id: subscription.id,
      status: subscription.status,
      customer: subscription.customer,
      metadata: subscription.metadata,
      endedAt: subscription.ended_at == null ? null : subscription.ended_at * 1000,
      cancelReason: subscription.cancellation_details?.reason ?? null,
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
