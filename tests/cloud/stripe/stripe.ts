/**
 * A stateful stand-in for Stripe: the API under the version that the product pins, the hosted payment page, and
 * webhooks signed with Stripe's own code. Everything lives in memory.
 */
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Koa from "koa";
import { type Clock, systemClock } from "../../../pool/clock.ts";
import { stripeApiVersion } from "../../../pool/stripe/gateway.ts";
import { type ApiCall, createStripeApi } from "./api/api.ts";
import { RateLimit } from "./api/rate-limit.ts";
import { createConsole, type StripeConsole } from "./console.ts";
import { Faults } from "./faults.ts";
import { answerErrors, createLocalRoutes } from "./local.ts";
import { makeEventDestination, makeWebhookEndpoint } from "./objects/events.ts";
import { createPayPage } from "./page.ts";
import { retrySchedules } from "./retries.ts";
import { createSender, type Delivery, type Sender } from "./sender.ts";
import { Account } from "./state/account.ts";
import { Destination } from "./state/destinations.ts";

export interface StripeOptions {
  /** Price ids that the account sells, each for 20 EUR a month. */
  readonly prices: readonly string[];
  readonly webhookUrl?: string;
  readonly host?: string;
  /** 0 (default) for any free one. */
  readonly port?: number;
  readonly clock?: Clock;
  /** Pauses before the second, third … try of a webhook; `retrySchedules` has Stripe's. Default: two minutes in all. */
  readonly retryDelaysMs?: readonly number[];
  readonly key?: string;
  readonly webhookSecret?: string;
  /** Calls that the account may make in a second (25 in a sandbox, 100 live); null (default): any number. */
  readonly requestsPerSecond?: number | null;
  /** Decides what a fault's probability hits. */
  readonly seed?: number;
}

export interface LocalStripe {
  readonly apiUrl: string;
  /** `sk_test_…` */
  readonly key: string;
  /** `whsec_…`, of the webhook that `setWebhook` sets. */
  readonly webhookSecret: string;
  readonly console: StripeConsole;
  readonly account: Account;
  readonly faults: Faults;
  /** The one webhook of `webhookSecret`; `events` are those that the product's README asks for. */
  setWebhook(url: string | null, events?: readonly string[]): void;
  /** `thin`: the same webhook as an event destination of API v2, which sends ids only. */
  setStyle(style: "snapshot" | "thin"): void;
  /** Sends what `hold` kept back, in the order given by event types. */
  release(order?: readonly string[]): Promise<void>;
  deliveries(): readonly Delivery[];
  /** The API calls that were made, in order. */
  calls(): readonly ApiCall[];
  /** Resolves when no webhook is on the wire; those that wait for their next try wait on the clock. */
  quiet: Sender["quiet"];
  /** Resolves when no webhook is being sent or waiting for its next try. */
  settled: Sender["settled"];
  close(): Promise<void>;
}

const productsEvents = [
  "checkout.session.completed",
  "checkout.session.async_payment_succeeded",
  "checkout.session.async_payment_failed",
  "checkout.session.expired",
  "customer.subscription.deleted",
  "customer.subscription.updated",
  "customer.subscription.paused",
  "customer.subscription.resumed",
  "charge.dispute.created",
  "charge.dispute.updated",
  "charge.dispute.closed",
  "charge.refunded",
  "refund.failed",
];

/** Starts the stand-in; it listens when the promise resolves. */
export async function startStripe(options: StripeOptions): Promise<LocalStripe> {
  const clock = options.clock ?? systemClock;
  const key = options.key ?? `sk_test_${randomBytes(24).toString("hex")}`;
  const webhookSecret = options.webhookSecret ?? `whsec_${randomBytes(24).toString("hex")}`;
  const now = () => Math.floor(clock.now() / 1000);
  const faults = new Faults(options.seed ?? 1, () => clock.now());
  const account = new Account(options.prices, now, (type, object) => faults.onEvent(type, object.id));
  const calls: ApiCall[] = [];
  const stop = new AbortController();
  const sender = createSender({
    account,
    clock,
    faults,
    retryDelaysMs: options.retryDelaysMs ?? retrySchedules.quick,
  });
  const desk = createConsole(account, sender, faults);
  const webhook = createWebhook(account, webhookSecret);
  if (options.webhookUrl !== undefined) webhook.set(options.webhookUrl);

  const app = new Koa();
  // What is our fault answerErrors tells; that a client went away in the middle is its own affair.
  app.silent = true;
  app.use(answerErrors());
  app.use(
    createStripeApi({
      account,
      key,
      clock,
      faults,
      calls,
      rateLimit: new RateLimit(options.requestsPerSecond ?? null, () => clock.now()),
      announce: (events) => void sender.send(events),
      signal: stop.signal,
    }),
  );
  app.use(
    createLocalRoutes({
      desk,
      sender,
      account,
      faults,
      calls: () => calls,
      setWebhook: (url) => webhook.set(url),
    }),
  );
  app.use(createPayPage(account, desk));
  const server = createServer(app.callback());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, options.host ?? "127.0.0.1", resolve);
  });
  const { address, port } = server.address() as AddressInfo;
  const apiUrl = `http://${address}:${port}`;
  account.checkoutBase = apiUrl;

  return {
    apiUrl,
    key,
    webhookSecret,
    console: desk,
    account,
    faults,
    setWebhook: webhook.set,
    setStyle: webhook.style,
    release: sender.release,
    deliveries: sender.deliveries,
    calls: () => calls,
    quiet: sender.quiet,
    settled: sender.settled,
    async close() {
      stop.abort();
      await sender.close();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

/** The webhook that the operator has set up by hand, with the secret that stands in the product's configuration. */
function createWebhook(account: Account, secret: string) {
  let current: Destination | null = null;
  let style: "snapshot" | "thin" = "snapshot";

  function remove(): void {
    if (current) account.destinations.delete(current.object.id);
    current = null;
  }

  function create(url: string, events: readonly string[]): Destination {
    const common = { metadata: {}, now: account.now() };
    const object =
      style === "thin"
        ? makeEventDestination({
            ...common,
            name: "clawpool",
            description: "",
            payload: "thin",
            enabledEvents: named(events),
          })
        : makeWebhookEndpoint({
            ...common,
            url,
            enabledEvents: named(events),
            description: null,
            apiVersion: stripeApiVersion,
          });
    const made = new Destination(object, url, account.now, secret);
    account.destinations.set(object.id, made);
    return made;
  }

  /** As the style calls them. */
  const named = (events: readonly string[]) =>
    events.map((type) => (style === "thin" && type !== "*" ? `v1.${type}` : type));

  return {
    set(url: string | null, events: readonly string[] = productsEvents): void {
      if (url === null) remove();
      else if (current === null) current = create(url, events);
      else {
        // Moved, not made anew: what waits for its next try goes to the new address.
        current.url = url;
        if (current.object.object === "webhook_endpoint") current.object.url = url;
        current.object.enabled_events = named(events);
      }
    },
    style(wanted: "snapshot" | "thin"): void {
      if (wanted === style) return;
      const { url, object } = current ?? { url: null, object: null };
      const events = (object?.enabled_events ?? []).map((type) => type.replace(/^v1\./, ""));
      remove();
      style = wanted;
      if (url !== null) current = create(url, events);
    },
  };
}
