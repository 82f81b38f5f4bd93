/** StripeGateway over Stripe's own library. */
import { Stripe } from "stripe";
import type { Clock } from "../clock.ts";
import { BorderError } from "../errors.ts";
import type { Secret } from "../secrets/secret.ts";
import { call, callOrNull, list, mostInPage, read } from "./calls.ts";
import { sessionShape, subscriptionShape } from "./shapes.ts";
import { fetchClaim, fetchStanding, listClaims, wasCollectedLate } from "./standing.ts";
import type { StripeGateway } from "./stripe.ts";
import { verifyWebhook } from "./webhook.ts";

/** Written down so that a newer library cannot change what Stripe answers us without this line changing too. */
export const stripeApiVersion = "2026-10-28.endive";

export interface StripeGatewayOptions {
  readonly key: Secret;
  /** Origin of a stand-in, e.g. `http://127.0.0.1:12111`; null for Stripe's own. */
  readonly apiUrl: string | null;
  readonly clock: Clock;
  /** For one try of one call. The library's default of 80 s would outlast every deadline that waits for it. */
  readonly timeoutMs?: number;
  /** Tries after the first, for 409, 5xx and broken connections; 0.5 s, then 1 s between them. */
  readonly maxNetworkRetries?: number;
}

export function createStripeGateway(options: StripeGatewayOptions): StripeGateway {
  const stripe = new Stripe(options.key.expose(), {
    apiVersion: stripeApiVersion,
    timeout: options.timeoutMs ?? 12_000,
    maxNetworkRetries: options.maxNetworkRetries ?? 2,
    telemetry: false,
    ...address(options.apiUrl),
  });

  return {
    async createCheckout(request) {
      const create = (idempotencyKey: string) =>
        stripe.checkout.sessions.create(
          {
            mode: "subscription",
            line_items: [{ price: request.price, quantity: 1 }],
            success_url: request.successUrl,
            cancel_url: request.cancelUrl,
            client_reference_id: request.reference,
            metadata: { ...request.metadata },
            // Found again from the subscription alone, e.g. after restoring an old backup of the store.
            subscription_data: { metadata: { ...request.metadata } },
          },
          { idempotencyKey },
        );
      const session = await call("create a checkout session", () =>
        withKeyThatWorks(request.idempotencyKey, create),
      );
      const { id, url } = read(sessionShape, session, "checkout session");
      if (url === null) {
        throw new BorderError(`Stripe made checkout session ${id} without a URL to pay at`, {
          border: "stripe",
          kind: "permanent",
        });
      }
      return { session: id, url };
    },

    async fetchSession(id) {
      const session = await callOrNull(`fetch checkout session ${id}`, () =>
        stripe.checkout.sessions.retrieve(id, { expand: ["line_items"] }),
      );
      if (session === null) return null;
      const shown = read(sessionShape, session, "checkout session");
      return (await wasCollectedLate(stripe, shown)) ? { ...shown, paymentStatus: "paid" } : shown;
    },

    async fetchSubscription(id) {
      const subscription = await callOrNull(`fetch subscription ${id}`, () =>
        stripe.subscriptions.retrieve(id),
      );
      return subscription === null ? null : read(subscriptionShape, subscription, "subscription");
    },

    sessions: ({ status, createdSince, limit }) =>
      list(`list checkout sessions that are ${status}`, limit, sessionShape, "checkout session", () =>
        stripe.checkout.sessions.list({
          status,
          created: { gte: Math.floor(createdSince / 1000) },
          limit: mostInPage,
        }),
      ),

    subscriptions: (limit) =>
      list("list subscriptions", limit, subscriptionShape, "subscription", () =>
        stripe.subscriptions.list({ limit: mostInPage }),
      ),

    fetchStanding: (id) => fetchStanding(stripe, id),
    fetchClaim: (kind, id) => fetchClaim(stripe, kind, id),
    claims: (filter) => listClaims(stripe, filter),

    async cancelSubscription(id, comment) {
      await callOrNull(`cancel subscription ${id}`, () =>
        stripe.subscriptions.cancel(id, { cancellation_details: { comment } }),
      );
    },

    verify: (raw, header, secrets) => verifyWebhook(raw, header, secrets, options.clock.now()),
  };
}

/** How many keys in a row may be spoilt before it is Stripe's state and no accident. */
const mostKeys = 3;

/**
 * Stripe keeps the first answer of an idempotency key for a day, a 500 of its own included: the key would give nothing
 * else until then. Only when such an answer comes again is the call made under another key, derived from the first so
 * that a repeat takes the same way. Should the first call have made a session after all, nobody has its URL.
 */
async function withKeyThatWorks<T>(key: string, make: (key: string) => Promise<T>): Promise<T> {
  for (let used = 1; ; used++) {
    try {
      return await make(used === 1 ? key : `${key}:${used}`);
    } catch (error) {
      if (used === mostKeys || !isSpoilt(error)) throw error;
    }
  }
}

function isSpoilt(error: unknown): boolean {
  return (
    error instanceof Stripe.errors.StripeError &&
    (error.statusCode ?? 0) >= 500 &&
    error.headers?.["idempotent-replayed"] === "true"
  );
}

function address(apiUrl: string | null): { host?: string; port?: string; protocol?: "http" | "https" } {
  if (apiUrl === null) return {};
  const url = new URL(apiUrl);
  const protocol = url.protocol === "http:" ? "http" : "https";
  return { host: url.hostname, port: url.port || (protocol === "http" ? "80" : "443"), protocol };
}
