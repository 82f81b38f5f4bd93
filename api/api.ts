/** The HTTP side of the daemon: Stripe's webhook, the product team's API, health, and the status page. */
import type { AddressInfo } from "node:net";
import Router from "@koa/router";
import Koa, { type Middleware } from "koa";
import type { Logger } from "pino";
import type { Clock } from "../pool/clock.ts";
import type { Config } from "../pool/config/config.ts";
import type { Metrics } from "../pool/observe/metrics.ts";
import type { PoolStatus } from "../pool/observe/status.ts";
import type { OrderDesk } from "../pool/order/desk.ts";
import type { OrderNotifier } from "../pool/order/notifier.ts";
import type { Store } from "../pool/store/store.ts";
import { requireToken, securityHeaders } from "./auth.ts";
import { billRoutes } from "./bill.ts";
import { createFailedTokens } from "./failed-tokens.ts";
import { closeServer, createHttpServer } from "./http.ts";
import { orderRoutes } from "./orders.ts";
import { statusPage } from "./pages.ts";
import { type Plans, planRoutes } from "./plan.ts";
import { Problem, problems } from "./problem.ts";
import { createOrderStreams } from "./stream.ts";
import { viewPool } from "./views.ts";
import { webhookRoutes } from "./webhooks.ts";

export interface ApiOptions {
  readonly desk: OrderDesk;
  readonly store: Store;
  readonly clock: Clock;
  readonly config: () => Pick<Config, "api" | "agent">;
  readonly log: Logger;
  readonly events: OrderNotifier;
  readonly status: () => PoolStatus;
  readonly plans: Plans;
  /** `GET /metrics` is 404 without it. */
  readonly metrics?: Pick<Metrics, "registry" | "webhook">;
  /** Pause between the comments that keep an event stream alive; 15 s unless told. */
  readonly heartbeatMs?: number;
}

export interface Api {
  readonly app: Koa;
  /** Listens on `api.listen`. `url` has the port that it got. @throws Error when the address is taken. */
  listen(): Promise<{ url: string; close(): Promise<void> }>;
}

/** For how long one look at the store answers `GET /readyz`, which anybody may ask. */
const readyForMs = 5_000;

export function createApi(options: ApiOptions): Api {
  const { store, config, log, events } = options;
  const streams = createOrderStreams({
    store,
    events,
    heartbeatMs: options.heartbeatMs ?? 15_000,
    maxStreams: 1_000,
  });
  const app = new Koa();
  app.silent = true;
  app.on("error", (err) => log.debug({ err }, "a connection broke"));
  app.use(requestLog(log));
  app.use(securityHeaders);
  app.use(problems(log));
  // Before anything that could read or change a body: the signature is over the raw bytes.
  app.use(webhookRoutes(options));
  app.use(health(options));
  app.use(statusPage());
  const failures = createFailedTokens({ now: () => performance.now() });
  app.use(requireToken({ config: () => config().api, failures }));
  app.use(orderRoutes({ ...options, streams }));
  app.use(poolRoutes(options));
  app.use(billRoutes(options));
  app.use(planRoutes(options));

  return {
    app,
    async listen() {
      const server = createHttpServer(app);
      const { host, port } = config().api.listen;
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, host, resolve);
      });
      const { address, family, port: got } = server.address() as AddressInfo;
      return {
        url: `http://${family === "IPv6" ? `[${address}]` : address}:${got}`,
        close: () => {
          streams.close();
          return closeServer(server);
        },
      };
    },
  };
}

function requestLog(log: Logger): Middleware {
  return async (context, next) => {
    const started = performance.now();
    await next();
    const { method, path, status } = context;
    log.debug({ method, path, status, ms: Math.round(performance.now() - started) }, "request");
  };
}

function health({ store, clock }: ApiOptions): Middleware {
  const router = new Router();
  let ready = { until: 0, failure: null as unknown };
  router.get("/healthz", (context) => {
    context.body = { ok: true };
  });
  router.get("/readyz", (context) => {
    const now = clock.now();
    if (now >= ready.until) {
      ready = { until: now + readyForMs, failure: null };
      try {
        // A write, because a full disk still reads well.
        store.putSetting("readyz", String(now));
      } catch (error) {
        ready.failure = error;
      }
    }
    if (ready.failure !== null) {
      throw new Problem({ status: 503, code: "store", title: "The store cannot be written" });
    }
    context.body = { ok: true };
  });
  return router.routes() as Middleware;
}

function poolRoutes({ store, clock, status, metrics }: ApiOptions): Middleware {
  const router = new Router();
  router.get("/v1/pool", (context) => {
    context.body = viewPool(status(), store, clock);
  });
  if (metrics) {
    router.get("/metrics", async (context) => {
      context.type = metrics.registry.contentType;
      context.body = await metrics.registry.metrics();
    });
  }
  return router.routes() as Middleware;
}
