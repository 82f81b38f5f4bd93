/** The HTTP server: Tailscale's API below /api/v2, and what belongs to the local cloud alone below /_local. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import Router from "@koa/router";
import Koa, { type Context } from "koa";
import { z } from "zod";
import type { ShiftedClock } from "./clock.ts";
import type { Control } from "./control.ts";
import { deviceRoutes } from "./devices.ts";
import { ApiFailure, readJson, readText } from "./failure.ts";
import { disturb, type Faults } from "./faults.ts";
import { changedKeyShape, forbidden, keysApi } from "./keys.ts";
import { localRoutes, machineRoutes } from "./local.ts";
import type { Grant, OAuth } from "./oauth.ts";
import { permits } from "./scopes.ts";
import type { SimulatedControl } from "./simulated.ts";
import { changedWebhookShape, newWebhookShape, type Webhooks } from "./webhooks.ts";

export interface Call {
  readonly method: string;
  readonly path: string;
  /** Null: the connection was cut. */
  readonly status: number | null;
  /** The fault that hit it. */
  readonly fault: number | null;
}

export interface AppParts {
  readonly control: Control;
  readonly simulated: SimulatedControl | null;
  readonly oauth: OAuth;
  readonly webhooks: Webhooks;
  readonly faults: Faults;
  readonly clock: ShiftedClock;
  readonly tailnetId: string;
  readonly tagOwners: Readonly<Record<string, readonly string[]>>;
  readonly calls: Call[];
  advance(ms: number): Promise<void>;
  /** Ends what waits. */
  readonly signal: AbortSignal;
}

/** Listens on a free port of loopback. */
export async function startApp(parts: AppParts): Promise<{ server: Server; port: number }> {
  const server = createServer(createApp(parts).callback());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the API listens on no port");
  return { server, port: address.port };
}

function createApp(parts: AppParts): Koa {
  const app = new Koa();
  const api = new Router({ prefix: "/api/v2" });
  apiRoutes(api, parts);
  const local = new Router({ prefix: "/_local" });
  localRoutes(local, parts);
  if (parts.simulated) machineRoutes(local, parts, parts.simulated);
  app.on("error", (error, ctx: Context) => {
    if (!isGone(ctx)) console.error("local tailnet:", error);
  });
  app.use(async (ctx, next) => {
    const path = ctx.path.startsWith("/api/v2/") ? ctx.path.slice("/api/v2".length) : null;
    if (path === null) return answer(ctx, next);
    const { delays, effect, id } = parts.faults.take("api", ctx.method, path);
    for (const { ms, removed } of delays) {
      await parts.clock.delay(ms, AbortSignal.any([removed, parts.signal]));
    }
    if (effect?.when !== "before") await answer(ctx, next);
    if (effect) disturb(ctx, effect);
    const status = effect?.kind === "drop" ? null : ctx.status;
    parts.calls.push({ method: ctx.method, path: ctx.path, status, fault: id });
  });
  app.use(api.routes());
  app.use(local.routes());
  app.use((ctx) => {
    const known = [...api.stack, ...local.stack].some((layer) => layer.match(ctx.path));
    throw known ? new ApiFailure(405, "method not allowed") : new ApiFailure(404, "not found");
  });
  return app;
}

async function answer(ctx: Context, next: () => Promise<unknown>): Promise<void> {
  try {
    await next();
  } catch (error) {
    if (isGone(ctx)) return;
    if (!(error instanceof ApiFailure)) console.error("local tailnet:", error);
    const failure = error instanceof ApiFailure ? error : new ApiFailure(500, "internal server error");
    ctx.status = failure.status;
    ctx.body = { message: failure.message };
  }
}

/** A client that went away in the middle of its request is no fault of ours. */
const isGone = (ctx: Context): boolean => ctx.req.errored !== null || ctx.req.socket.destroyed;

function apiRoutes(router: Router, parts: AppParts): void {
  const { control, oauth, webhooks, tagOwners, clock } = parts;
  const allow = (ctx: Context, scope: string): Grant => {
    const grant = authenticate(ctx, oauth);
    if (!permits(grant.scopes, scope)) throw forbidden();
    return grant;
  };
  router.param("tailnet", (tailnet, _ctx, next) => {
    if (tailnet !== "-" && tailnet !== parts.tailnetId) throw new ApiFailure(404, "tailnet not found");
    return next();
  });
  router.post("/oauth/token", async (ctx) => {
    const basic = /^Basic (.+)$/i.exec(ctx.get("authorization"))?.[1];
    const credentials = basic === undefined ? null : Buffer.from(basic, "base64").toString("utf8");
    ctx.body = oauth.grant(new URLSearchParams(await readText(ctx.req)), credentials);
  });

  const keys = keysApi({ control, oauth, tagOwners, now: () => clock.now() });
  router.post("/tailnet/:tailnet/keys", async (ctx) => {
    const grant = authenticate(ctx, oauth);
    ctx.body = await keys.create(await readJson(ctx.req, z.unknown()), grant);
  });
  router.get("/tailnet/:tailnet/keys", async (ctx) => {
    ctx.body = await keys.list(ctx.query.all === "true", authenticate(ctx, oauth));
  });
  router.get("/tailnet/:tailnet/keys/:id", async (ctx) => {
    ctx.body = await keys.get(String(ctx.params.id), authenticate(ctx, oauth));
  });
  router.put("/tailnet/:tailnet/keys/:id", async (ctx) => {
    const grant = authenticate(ctx, oauth);
    ctx.body = keys.update(String(ctx.params.id), await readJson(ctx.req, changedKeyShape), grant);
  });
  router.delete("/tailnet/:tailnet/keys/:id", async (ctx) => {
    await keys.remove(String(ctx.params.id), authenticate(ctx, oauth));
    ctx.body = {};
  });

  deviceRoutes(router, { control, tagOwners, allow });

  router.get("/tailnet/:tailnet/webhooks", (ctx) => {
    allow(ctx, "webhooks:read");
    ctx.body = webhooks.list();
  });
  router.post("/tailnet/:tailnet/webhooks", async (ctx) => {
    allow(ctx, "webhooks");
    ctx.body = webhooks.create(await readJson(ctx.req, newWebhookShape));
  });
  router.get("/webhooks/:id", (ctx) => {
    allow(ctx, "webhooks:read");
    ctx.body = webhooks.get(String(ctx.params.id));
  });
  router.patch("/webhooks/:id", async (ctx) => {
    allow(ctx, "webhooks");
    ctx.body = webhooks.update(String(ctx.params.id), await readJson(ctx.req, changedWebhookShape));
  });
  router.delete("/webhooks/:id", (ctx) => {
    allow(ctx, "webhooks");
    webhooks.remove(String(ctx.params.id));
    ctx.status = 200;
    ctx.body = "";
  });
  router.post("/webhooks/:id/test", (ctx) => {
    allow(ctx, "webhooks");
    webhooks.test(String(ctx.params.id));
    ctx.status = 202;
    ctx.body = "";
  });
  router.post("/webhooks/:id/rotate", (ctx) => {
    allow(ctx, "webhooks");
    ctx.body = webhooks.rotate(String(ctx.params.id));
  });
}

/** The grant of the request's token, given as Bearer or as Basic user name. @throws ApiFailure 401, 403 */
function authenticate(ctx: Context, oauth: OAuth): Grant {
  const [, kind = "", value = ""] = /^(\S+) (\S+)$/.exec(ctx.get("authorization")) ?? [];
  const token =
    kind.toLowerCase() === "basic" ? Buffer.from(value, "base64").toString("utf8").split(":")[0] : value;
  const grant = oauth.check(token ?? "");
  if (grant) return grant;
  // A client's secret is known but is no token: Tailscale answers it with 403 (issue 15969 of tailscale/tailscale).
  throw oauth.isClientSecret(token ?? "") ? forbidden() : new ApiFailure(401, "API token invalid");
}
