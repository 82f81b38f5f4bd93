/**
 * A stateful stand-in for Stripe: the API calls that the product makes, the hosted payment page, and webhooks
 * signed with Stripe's own code. Everything lives in memory.
 */
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Koa from "koa";
import { type Clock, systemClock } from "../../../pool/clock.ts";
import { type ApiCall, createStripeApi, type Fault } from "./api.ts";
import { createConsole, createLocalRoutes, type StripeConsole } from "./console.ts";
import { createSender, type Delivery, type Sender } from "./delivery.ts";
import { Account } from "./state.ts";

export interface StripeOptions {
  /** Price ids that the account sells. */
  readonly prices: readonly string[];
  readonly webhookUrl?: string;
  readonly host?: string;
  /** 0 (default) for any free one. */
  readonly port?: number;
  readonly clock?: Clock;
  /** Pauses before the second, third … try of a webhook. Stripe repeats for three days; this fake for two minutes. */
  readonly retryDelaysMs?: readonly number[];
  readonly key?: string;
  readonly webhookSecret?: string;
}

export interface LocalStripe {
  readonly apiUrl: string;
  /** `sk_test_…` */
  readonly key: string;
  /** `whsec_…` */
  readonly webhookSecret: string;
  readonly console: StripeConsole;
  readonly account: Account;
  setWebhook(url: string | null): void;
  setStyle(style: "snapshot" | "thin"): void;
  /** Sends what `hold` kept back, in the order given by event types. */
  release(order?: readonly string[]): Promise<void>;
  deliveries(): readonly Delivery[];
  /** The API calls that were made, in order. */
  calls(): readonly ApiCall[];
  /** Resolves when no webhook is being sent or waiting for its next try. */
  settled: Sender["settled"];
  close(): Promise<void>;
}

const twoMinutes = [500, 1_000, 2_000, 5_000, 10_000, 10_000, 15_000, 15_000, 30_000, 30_000];

/** Starts the stand-in; it listens when the promise resolves. */
export async function startStripe(options: StripeOptions): Promise<LocalStripe> {
  const clock = options.clock ?? systemClock;
  const key = options.key ?? `sk_test_${randomBytes(24).toString("hex")}`;
  const webhookSecret = options.webhookSecret ?? `whsec_${randomBytes(24).toString("hex")}`;
  const now = () => Math.floor(clock.now() / 1000);
  const account = new Account(options.prices, now);
  const faults: Fault[] = [];
  const calls: ApiCall[] = [];
  const sender = createSender({
    secret: webhookSecret,
    clock,
    retryDelaysMs: options.retryDelaysMs ?? twoMinutes,
    webhook: options.webhookUrl ?? null,
  });
  const desk = createConsole(account, sender, faults);

  const app = new Koa();
  const announce = (events: Parameters<Sender["send"]>[0]) => void sender.send(events);
  app.use(createStripeApi({ account, key, now: () => clock.now(), faults, calls, announce }));
  app.use(createLocalRoutes(desk, sender, account));
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
    setWebhook: sender.setWebhook,
    setStyle: sender.setStyle,
    release: sender.release,
    deliveries: sender.deliveries,
    calls: () => calls,
    settled: sender.settled,
    async close() {
      await sender.close();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}
