/** Devices at the API: what is shown of them, filters, and what can be changed. */
import type Router from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import { type Control, type ControlDevice, type DeviceChange, Refusal } from "./control.ts";
import { ApiFailure, readJson } from "./failure.ts";
import { badTags, mayAssign } from "./keys.ts";
import type { Grant } from "./oauth.ts";

export interface DeviceParts {
  readonly control: Control;
  readonly tagOwners: Readonly<Record<string, readonly string[]>>;
  /** The grant of the request's token. @throws ApiFailure 401, 403 */
  allow(ctx: Context, scope: string): Grant;
}

const notFound = () => new ApiFailure(404, "no such device");

/** `GET /tailnet/-/devices`, `GET|DELETE /device/{id}`, `POST /device/{id}/…`. */
export function deviceRoutes(router: Router, { control, tagOwners, allow }: DeviceParts): void {
  const list = async () => (await control.devices()).devices;
  /** By nodeId or by the old decimal id. */
  const find = async (ctx: Context): Promise<ControlDevice> => {
    const id = String(ctx.params.id);
    const device = (await list()).find((candidate) => candidate.nodeId === id || candidate.id === id);
    if (!device) throw notFound();
    return device;
  };
  const change = async (ctx: Context, grant: Grant, wanted: Omit<DeviceChange, "actor">) => {
    const { nodeId } = await find(ctx);
    try {
      if (!(await control.changeDevice(nodeId, { ...wanted, actor: grant.clientId }))) throw notFound();
    } catch (error) {
      throw error instanceof Refusal ? new ApiFailure(400, error.message) : error;
    }
    ctx.status = 200;
    ctx.body = "";
  };

  router.get("/tailnet/:tailnet/devices", async (ctx) => {
    allow(ctx, "devices:core:read");
    const { fields, ...filters } = ctx.query;
    const all = allFields(fields);
    // A misspelt filter that is ignored would give every device.
    const unknown = Object.keys(filters).find((field) => !filterable.includes(field));
    if (unknown !== undefined) throw new ApiFailure(400, `cannot filter by ${unknown}`);
    const shown = (await list()).map((device) => shownDevice(device, true));
    const devices = shown.filter((device) => matches(device, filters));
    ctx.body = { devices: all ? devices : devices.map(withoutDetails) };
  });
  router.get("/device/:id", async (ctx) => {
    allow(ctx, "devices:core:read");
    ctx.body = shownDevice(await find(ctx), allFields(ctx.query.fields));
  });
  router.delete("/device/:id", async (ctx) => {
    const grant = allow(ctx, "devices:core");
    const { nodeId } = await find(ctx);
    if (!(await control.deleteDevice(nodeId, grant.clientId))) throw notFound();
    ctx.status = 200;
    ctx.body = "";
  });
  router.post("/device/:id/expire", async (ctx) => {
    await change(ctx, allow(ctx, "devices:core"), { expire: true });
  });
  router.post("/device/:id/tags", async (ctx) => {
    const grant = allow(ctx, "devices:core");
    const { tags } = await readJson(ctx.req, z.object({ tags: z.array(z.string()) }));
    if (!mayAssign(tags, grant.tags, tagOwners)) throw badTags(tags);
    await change(ctx, grant, { tags });
  });
  const changes = {
    authorized: z.object({ authorized: z.boolean() }),
    name: z.object({ name: z.string() }),
    key: z.object({ keyExpiryDisabled: z.boolean() }),
    ip: z.object({ ipv4: z.string() }),
  };
  for (const [path, shape] of Object.entries(changes)) {
    router.post(`/device/:id/${path}`, async (ctx) => {
      const grant = allow(ctx, "devices:core");
      await change(ctx, grant, await readJson<Omit<DeviceChange, "actor">>(ctx.req, shape));
    });
  }
  const routes = ({ advertisedRoutes, enabledRoutes }: ControlDevice) => ({
    advertisedRoutes,
    enabledRoutes,
  });
  router.get("/device/:id/routes", async (ctx) => {
    allow(ctx, "devices:routes:read");
    ctx.body = routes(await find(ctx));
  });
  router.post("/device/:id/routes", async (ctx) => {
    const grant = allow(ctx, "devices:routes");
    const body = await readJson(ctx.req, z.object({ routes: z.array(z.string()) }));
    await change(ctx, grant, { enabledRoutes: body.routes });
    ctx.body = routes(await find(ctx));
  });
}

function allFields(fields: unknown): boolean {
  if (fields === undefined || fields === "default") return false;
  if (fields !== "all") throw new ApiFailure(400, "fields: all or default");
  return true;
}

/** Only with `fields=all`. */
const details = ["advertisedRoutes", "enabledRoutes", "sshEnabled", "distro", "clientConnectivity"];

/** A device as the API shows it; lastSeen is absent while it is online. */
function shownDevice(device: ControlDevice, all: boolean): object {
  const { online, expired: _, keyId: __, ephemeral, lastSeen, ...rest } = device;
  const shown = {
    ...rest,
    user: device.tags.length > 0 ? "tagged-devices" : "operator@clawpool.test",
    connectedToControl: online,
    ...(online ? {} : { lastSeen }),
    isEphemeral: ephemeral,
    isExternal: false,
    updateAvailable: false,
    tailnetLockKey: "",
    tailnetLockError: "",
  };
  return all ? shown : withoutDetails(shown);
}

const withoutDetails = (device: object): object =>
  Object.fromEntries(Object.entries(device).filter(([name]) => !details.includes(name)));

/** Filters by exact match on top-level fields of simple types and lists, repeated ones all. */
function matches(device: object, filters: Readonly<Record<string, string | string[] | undefined>>): boolean {
  return Object.entries(filters).every(([field, wanted = []]) => {
    const value: unknown = Reflect.get(device, field);
    const values = Array.isArray(value) ? value.map(String) : value === undefined ? [] : [String(value)];
    return [wanted].flat().every((one) => values.includes(one));
  });
}

const filterable = [
  "addresses",
  "advertisedRoutes",
  "authorized",
  "blocksIncomingConnections",
  "clientVersion",
  "connectedToControl",
  "created",
  "enabledRoutes",
  "expires",
  "hostname",
  "id",
  "isEphemeral",
  "isExternal",
  "keyExpiryDisabled",
  "lastSeen",
  "machineKey",
  "name",
  "nodeId",
  "nodeKey",
  "os",
  "sshEnabled",
  "tags",
  "tailnetLockError",
  "tailnetLockKey",
  "updateAvailable",
  "user",
];
