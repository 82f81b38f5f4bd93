/**
 * Stripe as the daemon uses it. Errors of the calls are BorderErrors of border `stripe`; a webhook that does not
 * verify is an InvalidWebhookError, whatever the library threw. Everything Stripe sends is reduced to the few
 * fields whose meaning is stable across API versions: an event is rendered at the version in force when it was
 * made, which need not be ours.
 */
import type { Secret } from "../secrets/secret.ts";

/** What one checkout sells; `reference` is ours and comes back in every event of the session. */
export interface CheckoutRequest {
  readonly reference: string;
  /** Stripe price id of the plan, recurring. */
  readonly price: string;
  readonly successUrl: string;
  readonly cancelUrl: string;
  /** Copied to session and subscription; at most 50 keys of 40 characters, values of 500. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The same key within 24 hours gives the same session, so a crash between call and record is harmless. */
  readonly idempotencyKey: string;
}

export interface CheckoutSession {
  readonly id: string;
  /** Epoch ms. */
  readonly createdAt: number;
  /** `open`, `complete`, `expired`, or a word that Stripe added since. */
  readonly status: string | null;
  /** Fetched by its id it is `paid` also when the first payment failed and was collected later; elsewhere as Stripe has it. */
  readonly paymentStatus: string;
  readonly mode: string;
  /** `client_reference_id`: free text that a buyer can set through a payment link; never trusted by itself. */
  readonly reference: string | null;
  readonly subscription: string | null;
  readonly customer: string | null;
  readonly url: string | null;
  /** Only holders of an API key can set these. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Price ids of the line items; empty where Stripe did not say (events and lists never do). */
  readonly prices: readonly string[];
}

export interface Subscription {
  readonly id: string;
  readonly status: string;
  readonly customer: string | null;
  readonly metadata: Readonly<Record<string, string>>;
  /** Epoch ms. */
  readonly endedAt: number | null;
  /** `cancellation_requested`, `payment_failed`, `payment_disputed` … */
  readonly cancelReason: string | null;
  /** When it is to end by itself (epoch ms); it lives until then. */
  readonly endsAt: number | null;
  /** Of the status `paused`: `pause_requested`, `final_payment_failure` … */
  readonly pausedBecause: string | null;
  /** `pause_collection`: invoices are not collected, the service goes on. */
  readonly collectionPaused: boolean;
  /** Null where Stripe did not show it (lists never do). */
  readonly latestInvoice: {
    readonly id: string;
    readonly status: string | null;
    /** `subscription_create` for the first, `subscription_cycle` for renewals … */
    readonly reason: string | null;
  } | null;
}

export interface Dispute {
  readonly id: string;
  readonly status: string;
}

/** Money that was paid for a subscription. Amounts in the currency's smallest unit. */
export interface Charge {
  readonly id: string;
  readonly amount: number;
  /** Less again when the bank sent a refund back. */
  readonly amountRefunded: number;
  readonly disputes: readonly Dispute[];
}

/** All that decides what a subscription entitles to, fetched at one time. */
export interface Standing {
  readonly subscription: Subscription;
  /** The successful payments of its invoices, newest first; empty for a subscription that has ended. */
  readonly charges: readonly Charge[];
}

/** Somebody wants money back, or got it: whose standing may have changed. */
export interface Claim {
  readonly id: string;
  readonly customer: string | null;
}

/** A webhook whose signature holds: snapshot and thin events reduced to the same few fields. */
export interface StripeEvent {
  /** Key for recognising duplicates. A thin event that names its snapshot twin has the twin's id. */
  readonly id: string;
  /** Without the `v1.` that thin events put in front. */
  readonly type: string;
  /** Id of the object that the event is about; null where it has none (balance.available). */
  readonly object: string | null;
  /** The object's `status` as the event shows it; null in thin events and for objects without one. */
  readonly status: string | null;
  /** Epoch ms. */
  readonly createdAt: number;
  /** Of live mode or of a sandbox; null where the event does not say. */
  readonly livemode: boolean | null;
  /** The checkout session as the event shows it; null in thin events and for other objects. */
  readonly session: CheckoutSession | null;
  /** The bytes that were signed. */
  readonly body: string;
  /** Which of the configured secrets matched: when no event uses an old one any more, it can go. */
  readonly secretIndex: number;
}

/** What a list of Stripe's gave, newest first. */
export interface Listing<T> {
  readonly found: readonly T[];
  /** False when there is more than was asked for. */
  readonly complete: boolean;
}

/** The request is not from Stripe, too old, from the future, or not an event. Answered with 400, never with detail. */
export class InvalidWebhookError extends Error {
  override readonly name = "InvalidWebhookError";
}

export interface StripeGateway {
  /** Makes a hosted checkout for one subscription. */
  createCheckout(request: CheckoutRequest): Promise<{ session: string; url: string }>;
  /** The session as it is now, with its prices; null when Stripe has none of this id. */
  fetchSession(id: string): Promise<CheckoutSession | null>;
  /** The subscription as it is now; null when Stripe has none of this id. */
  fetchSubscription(id: string): Promise<Subscription | null>;
  /** The subscription with its newest invoice and its payments; null when Stripe has none of this id. 1 to 4 calls. */
  fetchStanding(id: string): Promise<Standing | null>;
  /** Whose payment a dispute, refund or charge is about; null when Stripe has none of this id. */
  fetchClaim(kind: "dispute" | "refund" | "charge", id: string): Promise<Claim | null>;
  /** Disputes or refunds made since then (epoch ms), at most `limit` of them. Throws as `sessions`. */
  claims(filter: {
    readonly kind: "dispute" | "refund";
    readonly createdSince: number;
    readonly limit: number;
  }): Promise<Listing<Claim>>;
  /** Ends it now, without a last invoice. One that has ended already is left as it is. */
  cancelSubscription(id: string, comment: string): Promise<void>;
  /**
   * Sessions of this status made since then (epoch ms), at most `limit` of them; 100 a call.
   * Throws when any page fails: a list is whole, or cut where it says so, or an error.
   */
  sessions(filter: {
    readonly status: "complete" | "expired";
    readonly createdSince: number;
    readonly limit: number;
  }): Promise<Listing<CheckoutSession>>;
  /** Subscriptions of whatever status but `canceled`, at most `limit` of them; 100 a call. Throws as `sessions`. */
  subscriptions(limit: number): Promise<Listing<Subscription>>;
  /** Checks signature and age of a webhook against each secret. Throws InvalidWebhookError. */
  verify(raw: Uint8Array, header: string | undefined, secrets: readonly Secret[]): StripeEvent;
}
