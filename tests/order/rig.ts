/** An order desk on the real store and the real stripe library, with the stand-in for Stripe behind it. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import pino from "pino";
import getRawBody from "raw-body";
import type { Clock } from "../../pool/clock.ts";
import { systemClock } from "../../pool/clock.ts";
import type { OrderId } from "../../pool/machine/machine.ts";
import { createOrderDesk, type OrderDesk, type OrderDeskOptions } from "../../pool/order/desk.ts";
import { createOrderNotifier, type OrderNotifier } from "../../pool/order/notifier.ts";
import type { WebhookOutcome } from "../../pool/order/payments.ts";
import { systemRandom } from "../../pool/random.ts";
import { createSealer } from "../../pool/secrets/seal.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { createStripeGateway } from "../../pool/stripe/gateway.ts";
import { InvalidWebhookError, type StripeGateway } from "../../pool/stripe/stripe.ts";
import { type LocalStripe, type StripeOptions, startStripe } from "../cloud/stripe/stripe.ts";
import { makeReady } from "../store/rows.ts";

export type DeskConfig = ReturnType<OrderDeskOptions["config"]>;

export interface DeskRig {
  readonly desk: OrderDesk;
  readonly store: Store;
  readonly stripe: LocalStripe;
  readonly gateway: StripeGateway;
  readonly notifier: OrderNotifier;
  readonly clock: Clock & { skip(ms: number): void };
  /** May be changed by a test; the desk asks for it anew. */
  config: DeskConfig;
  /** What the webhook endpoint answers by itself, instead of asking the desk. */
  answerWith: number | null;
  readonly outcomes: WebhookOutcome[];
  readonly claimed: [string, string][];
  readonly queued: string[];
  readonly ended: string[];
  readonly reviewed: string[];
  /** A desk that starts anew on the same store, as after a restart. */
  restarted(): OrderDesk;
  close(): Promise<void>;
}

export const prices = { small: "price_small", large: "price_large" };

export const orderBody = (change: Record<string, unknown> = {}) => ({
  customer: "customer-1",
  plan: "small",
  region: "eu-central",
  agent_name: "Claw",
  env: { CLAW_MODEL_API_KEY: "sk-customer" },
  ...change,
});

export async function startDesk(options: Partial<StripeOptions> = {}): Promise<DeskRig> {
  let skipped = 0;
  const clock = {
    ...systemClock,
    now: () => Date.now() + skipped,
    skip: (ms: number) => {
      skipped += ms;
    },
  };
  const notifier = createOrderNotifier();
  const store = openSqliteStore({
    file: ":memory:",
    sealer: createSealer([new Secret(Buffer.alloc(32, 7).toString("base64"))]),
    clock,
    onOrderEvent: (event) => notifier.notify(event.order),
  });
  const stripe = await startStripe({ prices: Object.values(prices), clock, ...options });
  const gateway = createStripeGateway({
    key: new Secret(stripe.key),
    apiUrl: stripe.apiUrl,
    clock,
    maxNetworkRetries: 0,
  });
  const claimed: [string, string][] = [];
  const queued: string[] = [];
  const ended: string[] = [];
  const reviewed: string[] = [];
  const outcomes: WebhookOutcome[] = [];
  const deskOptions: OrderDeskOptions = {
    store,
    stripe: gateway,
    clock,
    random: systemRandom,
    config: () => rig.config,
    onClaimed: (machine, order) => claimed.push([machine, order]),
    onQueued: (order) => queued.push(order),
    onEnded: (order) => ended.push(order),
    onReviewed: (order) => reviewed.push(order),
    buildTimeMs: (plan) => (plan === "small" ? 90_000 : null),
    log: pino({ level: "silent" }),
  };
  const endpoint = createServer(async (request, response) => {
    const raw = await getRawBody(request);
    response.statusCode = rig.answerWith ?? (await answer(raw, String(request.headers["stripe-signature"])));
    response.end();
  });
  const answer = async (raw: Uint8Array, header: string): Promise<number> => {
    try {
      outcomes.push(await rig.desk.webhook(raw, header));
      return 200;
    } catch (error) {
      return error instanceof InvalidWebhookError ? 400 : 503;
    }
  };
  await new Promise<void>((resolve) => endpoint.listen(0, "127.0.0.1", resolve));
  stripe.setWebhook(`http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/`);

  const rig: DeskRig = {
    desk: createOrderDesk(deskOptions),
    store,
    stripe,
    gateway,
    notifier,
    clock,
    config: {
      instance: "test",
      pools: Object.keys(prices).map((plan) => ({ plan, locations: ["fsn1", "nbg1", "ash"] })),
      plans: Object.entries(prices).map(([name, price]) => ({ name, price })),
      regions: { "eu-central": ["fsn1", "nbg1"], "us-east": ["ash"] },
      stripe: {
        key: new Secret(stripe.key),
        webhookSecrets: [new Secret("whsec_of_another_endpoint"), new Secret(stripe.webhookSecret)],
        apiUrl: stripe.apiUrl,
        successUrl: "https://shop.example/thanks",
        cancelUrl: "https://shop.example/cart",
      },
      releaseGraceMs: 3_600_000,
      suspension: {
        overdueMs: 7 * 86_400_000,
        neverPaidMs: 0,
        dispute: "suspend",
        lostDispute: "suspend",
        refund: "serve",
        keepMs: 30 * 86_400_000,
        afterwards: "ask",
      },
      maxParallelBuilds: 2,
    },
    answerWith: null,
    outcomes,
    claimed,
    queued,
    ended,
    reviewed,
    restarted: () => createOrderDesk(deskOptions),
    async close() {
      await stripe.close();
      await new Promise<void>((resolve) => {
        endpoint.close(() => resolve());
        endpoint.closeAllConnections();
      });
      store.close();
    },
  };
  return rig;
}

/** The order that the rig's one machine was claimed for: made by the web app, paid at Stripe's stand-in. */
export async function buyOrder({
  store,
  desk,
  stripe,
}: DeskRig): Promise<{ id: OrderId; subscription: string }> {
  makeReady(store, "claw-a");
  const { id, checkoutSession } = await desk.create(orderBody());
  const { subscription, sent } = stripe.console.buy(checkoutSession ?? "");
  await sent;
  return { id, subscription: subscription.id };
}
