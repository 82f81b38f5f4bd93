/** The stand-in with the real library before it, and a shop whose webhook takes down what it gets. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import getRawBody from "raw-body";
import { Stripe } from "stripe";
import { stripeApiVersion } from "../../../pool/stripe/gateway.ts";
import { openSession } from "./state/checkout.ts";
import { type LocalStripe, type StripeOptions, startStripe } from "./stripe.ts";

export interface Received {
  readonly raw: Buffer;
  readonly signature: string;
  readonly json: { readonly id: string; readonly type: string; readonly [field: string]: unknown };
}

export interface Rig {
  readonly stripe: LocalStripe;
  /** The pinned version, and no repeats of its own. */
  readonly client: Stripe;
  readonly webhook: string;
  readonly received: Received[];
  /** Statuses of the webhook's next answers; 200 when there are no more. */
  readonly answers: number[];
  /** Types of what the webhook got, in order. */
  types(): string[];
  /** An open session of `price_1`. */
  opened(): string;
  /** The same, bought by card. */
  bought(): { session: string; subscription: string };
  /** A call without the library. */
  ask(method: string, path: string, form?: string, headers?: Record<string, string>): Promise<Asked>;
  /** A call of the stand-in's own routes. */
  local(path: string, body?: unknown): Promise<Asked>;
  /** Resolves when it is so; for what another connection brings about. */
  until(isSo: () => boolean): Promise<void>;
  close(): Promise<void>;
}

export interface Asked {
  readonly status: number;
  readonly headers: Headers;
  readonly json: Record<string, unknown> & { error?: Record<string, unknown> };
}

export const sessionForm =
  "mode=subscription&line_items[0][price]=price_1&line_items[0][quantity]=1&success_url=https://shop.example/";

/** @param events that the webhook listens to; null for no webhook */
export async function startRig(
  options: Partial<StripeOptions> = {},
  events: readonly string[] | null = ["*"],
): Promise<Rig> {
  const received: Received[] = [];
  const answers: number[] = [];
  const shop = createServer(async (request, response) => {
    // Cut within the body: the shop has nothing to show for it.
    const raw = await getRawBody(request).catch(() => null);
    if (raw === null) return;
    const json = JSON.parse(raw.toString());
    received.push({ raw, signature: String(request.headers["stripe-signature"]), json });
    response.writeHead(answers.shift() ?? 200, { location: "/elsewhere" });
    response.end("seen");
  });
  await new Promise<void>((resolve) => shop.listen(0, "127.0.0.1", resolve));
  const webhook = `http://127.0.0.1:${(shop.address() as AddressInfo).port}/hook`;
  const stripe = await startStripe({ prices: ["price_1"], retryDelaysMs: [1, 1, 1], ...options });
  if (events) stripe.setWebhook(webhook, events);
  const ask = async (method: string, path: string, body: string, headers: Record<string, string>) => {
    const answer = await fetch(`${stripe.apiUrl}${path}`, {
      method,
      headers,
      ...(method === "POST" ? { body } : {}),
    });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, json: text === "" ? {} : JSON.parse(text) };
  };

  const opened = () =>
    openSession(stripe.account, {
      items: [{ price: "price_1", quantity: 1 }],
      successUrl: "https://shop.example/thanks?s={CHECKOUT_SESSION_ID}",
    }).id;

  return {
    stripe,
    client: libraryOn(stripe),
    webhook,
    received,
    answers,
    types: () => received.map(({ json }) => json.type),
    opened,
    bought() {
      const id = opened();
      return { session: id, subscription: stripe.console.buy(id).subscription.id };
    },
    ask: (method, path, form = "", headers = {}) =>
      ask(method, path, form, {
        authorization: `Bearer ${stripe.key}`,
        "content-type": "application/x-www-form-urlencoded",
        ...headers,
      }),
    local: (path, body) =>
      ask(body === undefined ? "GET" : "POST", `/_local/${path}`, JSON.stringify(body ?? null), {}),
    async until(isSo) {
      while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
    },
    async close() {
      await stripe.close();
      await new Promise<void>((resolve) => {
        shop.close(() => resolve());
        shop.closeAllConnections();
      });
    },
  };
}

export function libraryOn(
  stripe: LocalStripe,
  options: { maxNetworkRetries?: number; timeout?: number } = {},
): Stripe {
  const { hostname, port } = new URL(stripe.apiUrl);
  return new Stripe(stripe.key, {
    apiVersion: stripeApiVersion,
    host: hostname,
    port,
    protocol: "http",
    maxNetworkRetries: 0,
    telemetry: false,
    ...options,
  });
}
