/**
 * From the bytes of a webhook to an event that can be believed. The signature check is the library's; what it
 * lets through is closed here (stripe 23.1.0): timestamps from the future, a signed body of `null`, a header
 * `t=,v1=` that throws a plain Error, and thin events, for which `constructEvent` throws.
 */
import { Stripe } from "stripe";
import type { Secret } from "../secrets/secret.ts";
import { sessionShape, snapshotEventShape, thinEventShape } from "./shapes.ts";
import { InvalidWebhookError, type StripeEvent } from "./stripe.ts";

/** Seconds by which a signature's time may be off, in either direction; Stripe signs each delivery try anew. */
const tolerance = 300;

/** Throws InvalidWebhookError for everything that is not a fresh event signed with one of `secrets`. `now`: epoch ms. */
export function verifyWebhook(
  raw: Uint8Array,
  header: string | undefined,
  secrets: readonly Secret[],
  now: number,
): StripeEvent {
  if (header === undefined || header === "") throw new InvalidWebhookError("no stripe-signature header");
  const secretIndex = secrets.findIndex((secret) => isSignedWith(secret, raw, header, now));
  if (secretIndex === -1) throw new InvalidWebhookError("no configured secret verifies the signature");
  if (signedAt(header) > now / 1000 + tolerance) throw new InvalidWebhookError("signed in the future");
  return { ...readEvent(raw), secretIndex };
}

function isSignedWith(secret: Secret, raw: Uint8Array, header: string, now: number): boolean {
  try {
    const { signature } = Stripe.webhooks;
    return signature?.verifyHeader(raw, header, secret.expose(), tolerance, undefined, now) === true;
  } catch {
    // Not only StripeSignatureVerificationError: malformed headers throw plain Errors.
    return false;
  }
}

/** The header's time in seconds, as the library reads it (the last `t` counts); infinitely late when it is no number. */
function signedAt(header: string): number {
  const times = header.split(",").flatMap((part) => (part.startsWith("t=") ? [part.slice(2)] : []));
  const last = times.at(-1);
  return last !== undefined && /^\d{1,15}$/.test(last) ? Number(last) : Number.POSITIVE_INFINITY;
}

function readEvent(raw: Uint8Array): Omit<StripeEvent, "secretIndex"> {
  let body: string;
  let json: unknown;
  try {
    body = new TextDecoder("utf-8", { fatal: true }).decode(raw);
    json = JSON.parse(body);
  } catch (cause) {
    throw new InvalidWebhookError("the signed body is not JSON", { cause });
  }
  const snapshot = snapshotEventShape.safeParse(json);
  if (snapshot.success) {
    const { id, type, created, livemode, data } = snapshot.data;
    const session = data.object.object === "checkout.session" ? sessionShape.safeParse(data.object) : null;
    return {
      id,
      type,
      object: data.object.id ?? null,
      status: typeof data.object.status === "string" ? data.object.status : null,
      createdAt: created * 1000,
      livemode: livemode ?? null,
      // A session that does not have the shape we know (another API version) is fetched like one of a thin event.
      session: session?.success ? session.data : null,
      body,
    };
  }
  const thin = thinEventShape.safeParse(json);
  if (thin.success) {
    const { id, type, created, livemode, related_object, snapshot_event } = thin.data;
    const createdAt = typeof created === "number" ? created * 1000 : Date.parse(created);
    if (!Number.isFinite(createdAt)) throw new InvalidWebhookError("the event's time is no time");
    return {
      id: snapshot_event ?? id,
      type: type.replace(/^v1\./, ""),
      object: related_object?.id ?? null,
      status: null,
      createdAt,
      livemode: livemode ?? null,
      session: null,
      body,
    };
  }
  throw new InvalidWebhookError("the signed body is not an event");
}
