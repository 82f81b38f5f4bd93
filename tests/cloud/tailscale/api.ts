/**
 * Tailscale's API v2 as far as the product uses it, in front of a control server. What Tailscale documents is kept
 * (shapes, status codes, tag rules, one-hour tokens); where its texts are not public, ours say what happened.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import Router from "@koa/router";
import Koa, { type Context } from "koa";
import getRawBody from "raw-body";
import type { TailscaleBinaries } from "./build.ts";
import { type Control, type ControlDevice, realControl } from "./control.ts";
import { ApiFailure, keysApi } from "./keys.ts";
import { type Grant, type OAuth, oauthClient } from "./oauth.ts";
import { type SimulatedControl, simulatedControl } from "./simulated.ts";

/** One answer that replaces the real one, to show a failure to the product. */
export interface Fault {
  readonly method?: string;
  /** Matched against the path without query. Default: any. */
  readonly path?: RegExp;
  /** `cut`: the request is carried out, and the connection closed without an answer. */
  readonly answer:
    | "cut"
    | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: unknown };
  /** Default 1. */
  readonly times?: number;
}

export interface LocalTailscale {
  /** Ends in /api/v2. */
  readonly apiUrl: string;
  /** For machines: `--login-server`, or the base of `/_local/register` when simulated. */
  readonly controlUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** `POST {authKey, hostname, machineKey?}` → `{nodeId, name, addresses}` or 403 `{message}`; null when real. */
  readonly registerUrl: string | null;
  /** The tailnet itself, past the API. */
  readonly control: Control;
  /** Requests so far, oldest first. */
  readonly calls: readonly { readonly method: string; readonly path: string; readonly status: number }[];
  devices(): Promise<readonly ControlDevice[]>;
  /** The first device for which `predicate` holds, as soon as there is one. */
  waitForDevice(predicate: (device: ControlDevice) => boolean, signal?: AbortSignal): Promise<ControlDevice>;
  /** Resolves with the list as soon as `predicate` holds for it. */
  waitForDevices(
    predicate: (devices: readonly ControlDevice[]) => boolean,
    signal?: AbortSignal,
  ): Promise<readonly ControlDevice[]>;
  fail(fault: Fault): void;
  /** As if every token's hour were over. */
  expireTokens(): void;
  /** Everything this started is gone when it resolves. */
  close(): Promise<void>;
}

interface StartTailscaleOptions {
  readonly mode: "real" | "simulated";
  /** For logs. */
  readonly dir: string;
  /** Where nodes reach the control server (mode real), e.g. a bridge's address. Default 127.0.0.1. */
  readonly listenHost?: string;
  /** Needed in mode real. */
  readonly binaries?: TailscaleBinaries;
  /** Tags that keys may carry; the client's own tag, tag:claw-ctl, owns them. */
  readonly tags?: readonly string[];
}

const clientTag = "tag:claw-ctl";

/** Starts control server and API; the API listens on loopback. */
export async function startTailscale(options: StartTailscaleOptions): Promise<LocalTailscale> {
  const { mode, dir, listenHost = "127.0.0.1", tags = ["tag:claw-vm", "tag:claw-pool"] } = options;
  if (mode === "real" && !options.binaries) throw new Error("mode real needs the built binaries");
  const simulated = mode === "simulated" ? simulatedControl() : null;
  const control: Control =
    simulated ??
    (await realControl({ binary: (options.binaries as TailscaleBinaries).control, dir, host: listenHost }));
  const tagOwners = Object.fromEntries(tags.map((tag) => [tag, [clientTag]]));
  const oauth = oauthClient(["auth_keys", "devices:core"], [clientTag], Date.now);
  const calls: { method: string; path: string; status: number }[] = [];
  const faults: { fault: Fault; left: number }[] = [];
  const app = createApp({ control, simulated, oauth, tagOwners, calls, faults });
  const server = createServer(app.callback());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const closing = new AbortController();
  const waitForDevices: LocalTailscale["waitForDevices"] = async (predicate, signal) => {
    const either = signal ? AbortSignal.any([closing.signal, signal]) : closing.signal;
    for (let after: number | undefined; ; ) {
      const { version, devices } = await control.devices(after, either);
      if (predicate(devices)) return devices;
      after = version;
    }
  };
  return {
    apiUrl: `${base}/api/v2`,
    controlUrl: control.url ?? base,
    clientId: oauth.clientId,
    clientSecret: oauth.clientSecret,
    registerUrl: simulated ? `${base}/_local/register` : null,
    control,
    calls,
    devices: async () => (await control.devices()).devices,
    waitForDevices,
    async waitForDevice(predicate, signal) {
      const found = (await waitForDevices((list) => list.some(predicate), signal)).find(predicate);
      if (!found) throw new Error("the device left between two looks");
      return found;
    },
    fail: (fault) => void faults.push({ fault, left: fault.times ?? 1 }),
    expireTokens: oauth.expireTokens,
    async close() {
      closing.abort(new Error("the local tailnet was closed"));
      await closeServer(server);
      await control.close();
    },
  };
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}

interface Parts {
  readonly control: Control;
  readonly simulated: SimulatedControl | null;
  readonly oauth: OAuth;
  readonly tagOwners: Readonly<Record<string, readonly string[]>>;
  readonly calls: { method: string; path: string; status: number }[];
  readonly faults: { fault: Fault; left: number }[];
}

function createApp({ control, simulated, oauth, tagOwners, calls, faults }: Parts): Koa {
  const app = new Koa();
  app.use(async (ctx, next) => {
    const fault = faults.find(
      ({ fault }) => (fault.method ?? ctx.method) === ctx.method && (fault.path ?? /^/).test(ctx.path),
    );
    if (fault && --fault.left === 0) faults.splice(faults.indexOf(fault), 1);
    if (fault && fault.fault.answer !== "cut") {
      const { status, headers = {}, body = { message: "injected" } } = fault.fault.answer;
      ctx.status = status;
      ctx.set(headers);
      ctx.body = body;
    } else await answer(ctx, next);
    calls.push({ method: ctx.method, path: ctx.path, status: ctx.status });
    if (fault?.fault.answer === "cut") {
      ctx.respond = false;
      ctx.req.destroy();
    }
  });
  const keys = keysApi(control, tagOwners, Date.now);
  const router = new Router();
  router.post("/api/v2/oauth/token", async (ctx) => {
    const basic = /^Basic (.+)$/i.exec(ctx.get("authorization"))?.[1];
    const credentials = basic === undefined ? null : Buffer.from(basic, "base64").toString("utf8");
    const { status, body } = oauth.grant(new URLSearchParams(await text(ctx)), credentials);
    ctx.status = status;
    ctx.body = body;
  });
  router.post("/api/v2/tailnet/-/keys", async (ctx) => {
    const grant = allow(ctx, oauth, "auth_keys");
    ctx.body = await keys.create(await json(ctx), grant.tags);
  });
  router.get("/api/v2/tailnet/-/keys", async (ctx) => {
    allow(ctx, oauth, "auth_keys");
    ctx.body = await keys.list();
  });
  router.get("/api/v2/tailnet/-/keys/:id", async (ctx) => {
    allow(ctx, oauth, "auth_keys");
    ctx.body = await keys.get(String(ctx.params.id));
  });
  router.delete("/api/v2/tailnet/-/keys/:id", async (ctx) => {
    allow(ctx, oauth, "auth_keys");
    await keys.remove(String(ctx.params.id));
    ctx.body = {};
  });
  deviceRoutes(router, control, oauth);
  if (simulated) localRoutes(router, simulated);
  app.use(router.routes());
  return app;
}

function deviceRoutes(router: Router, control: Control, oauth: OAuth): void {
  const list = async () => (await control.devices()).devices;
  const find = async (id: string) => {
    const device = (await list()).find((candidate) => candidate.nodeId === id || candidate.id === id);
    if (!device) throw new ApiFailure(404, "no such device");
    return device;
  };
  router.get("/api/v2/tailnet/-/devices", async (ctx) => {
    allow(ctx, oauth, "devices:core");
    const { fields, ...filters } = ctx.query;
    if (fields !== undefined && fields !== "all" && fields !== "default") {
      throw new ApiFailure(400, "fields: all or default");
    }
    ctx.body = { devices: (await list()).map(shownDevice).filter((device) => matches(device, filters)) };
  });
  router.get("/api/v2/device/:id", async (ctx) => {
    allow(ctx, oauth, "devices:core");
    ctx.body = shownDevice(await find(String(ctx.params.id)));
  });
  router.delete("/api/v2/device/:id", async (ctx) => {
    allow(ctx, oauth, "devices:core");
    const { nodeId } = await find(String(ctx.params.id));
    if (!(await control.deleteDevice(nodeId))) throw new ApiFailure(404, "no such device");
    ctx.status = 200;
    ctx.body = "";
  });
}

/** What machines that are folders do instead of running tailscaled. */
function localRoutes(router: Router, control: SimulatedControl): void {
  const known = (ctx: Context, done: boolean) => {
    if (!done) throw new ApiFailure(404, "no such node");
    ctx.status = 204;
  };
  router.post("/_local/register", async (ctx) => {
    const { authKey, hostname, machineKey } = await json(ctx);
    if (typeof authKey !== "string" || typeof hostname !== "string") {
      throw new ApiFailure(400, "authKey and hostname must be strings");
    }
    const machine = typeof machineKey === "string" ? { machineKey } : {};
    const answer = control.register({ authKey, hostname, ...machine });
    if ("error" in answer) throw new ApiFailure(403, answer.error);
    ctx.body = answer;
  });
  router.post("/_local/logout", async (ctx) => known(ctx, control.logout(String((await json(ctx)).nodeId))));
  router.post("/_local/presence", async (ctx) => {
    const { nodeId, online } = await json(ctx);
    known(ctx, control.setOnline(String(nodeId), online === true));
  });
}

async function answer(ctx: Context, next: () => Promise<unknown>): Promise<void> {
  try {
    await next();
    if (ctx.status === 404 && ctx.body === undefined) throw new ApiFailure(404, "not found");
  } catch (error) {
    ctx.status = error instanceof ApiFailure ? error.status : 500;
    ctx.body = { message: error instanceof Error ? error.message : String(error) };
  }
}

/** The grant of the request's token, given as Bearer or as Basic user name. */
function allow(ctx: Context, oauth: OAuth, scope: string): Grant {
  const [, kind = "", value = ""] = /^(\S+) (\S+)$/.exec(ctx.get("authorization")) ?? [];
  const token =
    kind.toLowerCase() === "basic" ? Buffer.from(value, "base64").toString("utf8").split(":")[0] : value;
  const grant = oauth.check(token ?? "");
  if (!grant) throw new ApiFailure(401, "API token invalid");
  if (!grant.scopes.includes(scope)) {
    throw new ApiFailure(403, "calling actor does not have enough permissions to perform this function");
  }
  return grant;
}

/** A device as the API shows it; lastSeen is absent while it is online. */
function shownDevice(device: ControlDevice) {
  const { online, expired: _, keyId: __, ephemeral, lastSeen, ...rest } = device;
  return {
    ...rest,
    user: device.tags.length > 0 ? "tagged-devices" : "operator@clawpool.test",
    authorized: true,
    connectedToControl: online,
    ...(online ? {} : { lastSeen }),
    isEphemeral: ephemeral,
    isExternal: false,
    keyExpiryDisabled: device.tags.length > 0,
    expires: "0001-01-01T00:00:00Z",
    updateAvailable: false,
    blocksIncomingConnections: false,
    tailnetLockKey: "",
    tailnetLockError: "",
  };
}

/** Filters by exact match on top-level fields, repeated ones all; on a list, that it contains the value. */
function matches(device: object, filters: Readonly<Record<string, string | string[] | undefined>>): boolean {
  return Object.entries(filters).every(([field, wanted = []]) => {
    const value: unknown = (device as Record<string, unknown>)[field];
    const values = Array.isArray(value) ? value.map(String) : [String(value)];
    return [wanted].flat().every((one) => values.includes(one));
  });
}

const text = async (ctx: Context): Promise<string> =>
  getRawBody(ctx.req, { encoding: "utf8", limit: "64kb" });

async function json(ctx: Context): Promise<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(await text(ctx));
  } catch {
    throw new ApiFailure(400, "the body is not JSON");
  }
  if (typeof value !== "object" || value === null) throw new ApiFailure(400, "the body is not an object");
  return value as Record<string, unknown>;
}
