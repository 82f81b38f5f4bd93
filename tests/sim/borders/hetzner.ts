/** Hetzner as a wire (what the gate's own code speaks with) and as the daemon's cloud border. */
import type { Cloud, CloudServer } from "../../../pool/cloud/cloud.ts";
import { type CloudResource, collectionOf, resourceKinds } from "../../../pool/cloud/resources.ts";
import { cloudServer, serverShape } from "../../../pool/cloud/shapes.ts";
import type { Answer, Call, Sent, Wire } from "../../../pool/cloud/wire.ts";
import { BorderError } from "../../../pool/errors.ts";
import { ownLabels } from "../../../pool/machine/labels.ts";
import { priceList } from "../../hetzner-client/pricing.ts";
import { carryOutLate, type SimResource } from "../leftovers.ts";
import { type SimServer, untouched, type World } from "../world.ts";
import { platformIds, platformResources } from "./terraform.ts";

/** What a `POST /servers` of the simulated terraform carries. */
export interface ServerBody {
  readonly name: string;
  readonly server_type: string;
  readonly location: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly user_data: string;
}

const json = (status: number, body: unknown): Answer => ({
  kind: "answer",
  status,
  contentType: "application/json",
  correlationId: null,
  retryAfterMs: null,
  body: JSON.stringify(body),
});
const error = (status: number, code: string, message = code): Answer =>
  json(status, { error: { code, message, details: null } });

/** One try at Hetzner's API; its answer may be lost before or after the change. */
export function simulatedWire(world: World): Wire {
  return {
    async send(call): Promise<Sent> {
      await world.takes(40, 200);
      if (world.strikes(0.02)) return { kind: "lost", reason: "cut before it arrived" };
      if (world.strikes(0.02)) return error(503, "unavailable");
      if (world.strikes(0.01)) return error(429, "rate_limit_exceeded");
      if (call.method === "POST" && call.path === "/servers" && world.strikes(0.01)) {
        world.note(`${call.method} ${call.path} is carried out late`);
        const askedAt = world.clock.now();
        void carryOutLate(world, () => order(world, JSON.parse(call.body ?? "") as ServerBody, askedAt));
        return { kind: "lost", reason: "cut before it was carried out" };
      }
      const answer = answerTo(world, call);
      await world.takes(40, 200);
      if (world.strikes(0.03)) {
        world.note(`the answer to ${call.method} ${call.path} is lost`);
        return { kind: "lost", reason: "cut on the way back" };
      }
      return answer;
    },
  };
}

function answerTo(world: World, { method, path, body }: Call): Answer {
  const url = new URL(path, "http://hetzner");
  const [, collection, id, sub, action] = url.pathname.split("/");
  const kind = resourceKinds.find((one) => collectionOf(one).path === collection);
  if (kind) return answerToResource(world, kind, method, Number(id));
  if (collection !== "servers") throw world.unknown(`the simulated Hetzner has no ${method} ${path}`);
  if (method === "POST" && id === undefined) return create(world, JSON.parse(body ?? "") as ServerBody);
  if (method === "GET" && id === undefined) {
    const servers = [...world.servers.values()].filter(({ name }) => name === url.searchParams.get("name"));
    return json(200, { servers: servers.map((server) => show(world, server)) });
  }
  const server = world.servers.get(Number(id));
  if (!server) return error(404, "not_found");
  if (sub === "actions" && method === "POST" && action) return switchPower(world, server, action);
  if (sub === "actions") return json(200, { actions: actionsOf(world, server) });
  if (method === "GET") return json(200, { server: show(world, server) });
  if (method === "DELETE") return remove(world, server);
  if (method === "PUT") {
    server.labels = { ...(JSON.parse(body ?? "") as { labels: Record<string, string> }).labels };
    return json(200, { server: show(world, server) });
  }
  throw world.unknown(`the simulated Hetzner has no ${method} ${path}`);
}

function answerToResource(world: World, kind: SimResource["kind"], method: string, id: number): Answer {
  const resource = world.resources.get(id);
  if (resource?.kind !== kind) return error(404, "not_found");
  if (method === "GET") return json(200, { [collectionOf(kind).key]: resource });
  if (method !== "DELETE") throw world.unknown(`the simulated Hetzner has no ${method} of a ${kind}`);
  world.resources.delete(id);
  world.note(`${kind} ${id} ${resource.name} is gone`);
  return json(204, null);
}

const hostKeyOf = /ed25519_public: ssh-ed25519\s+(\S+)/;
const authorizedKeyOf = /ssh_authorized_keys:\s*-\s*ssh-ed25519\s+(\S+)/;

function create(world: World, body: ServerBody): Answer {
  if (isTaken(world, body.name)) return error(409, "uniqueness_error");
  if (world.refused === "hetzner-quota")
    return error(403, "resource_limit_exceeded", "server limit exceeded");
  if (world.refused === "hetzner-auth") return error(401, "token_readonly", "only GET requests are allowed");
  const soldOut = world.refused === "sold-out" || world.strikes(0.04);
  if (soldOut) return error(412, "resource_unavailable", "error during placement");
  if (world.strikes(0.005)) return error(403, "resource_limit_exceeded", "server limit exceeded");
  const server = order(world, body);
  if (!server) return error(409, "uniqueness_error");
  return json(201, {
    server: show(world, server),
    action: actionsOf(world, server)[0],
    next_actions: [],
    root_password: null,
  });
}

/** What the action of an order takes. */
const createMs = 12_000;

/** Another action runs on it. */
const isLocked = (world: World, { deleting, lockedUntil }: SimServer): boolean =>
  deleting || world.clock.now() < lockedUntil;

const isTaken = (world: World, name: string) => [...world.servers.values()].some((one) => one.name === name);

/**
 * @param askedAt epoch ms; when it is carried out late, nobody may remember it: then nobody bought it
 * @returns null when the name is taken
 */
function order(world: World, body: ServerBody, askedAt = world.clock.now()): SimServer | null {
  if (isTaken(world, body.name)) return null;
  const [, key] = hostKeyOf.exec(body.user_data) ?? [];
  const bootKey = `ssh-ed25519 ${key}`;
  if (!key) throw world.unknown("user_data has no host key");
  const now = world.clock.now();
  const server: SimServer = {
    id: world.id(),
    name: body.name,
    labels: { ...body.labels },
    location: body.location,
    serverType: body.server_type,
    ipv4: world.freeAddress(),
    createdAt: now,
    // One that never boots is in effect one that takes for ever.
    bootedAt: world.strikes(0.02) ? Number.POSITIVE_INFINITY : now + world.chance.between(6_000, 25_000),
    off: false,
    lockedUntil: now + createMs,
    deleting: false,
    machine: {
      ...untouched,
      hostKey: world.strikes(0.01) ? "ssh-ed25519 AAAAanother" : bootKey,
      authorizedKey: authorizedKeyOf.exec(body.user_data)?.[1],
      admin: true,
    },
  };
  world.servers.set(server.id, server);
  world.note(`server ${server.id} ${server.name} is made`);
  if (askedAt < now && !world.isRemembered(server.name)) return server;
  world.builds.bought.push(now);
  world.bill.push({ id: server.id, name: server.name, from: now, until: null });
  world.onMade(server, askedAt);
  return server;
}

/** A system that was asked to shut down obeys some time, or never. */
function switchPower(world: World, server: SimServer, action: string): Answer {
  if (isLocked(world, server) || world.strikes(0.05)) return error(423, "locked");
  server.lockedUntil = world.clock.now() + world.chance.between(500, 3_000);
  world.note(`${action} of server ${server.id} ${server.name}`);
  const later = (low: number, high: number, work: () => void) =>
    void world.clock.delay(world.chance.between(low, high)).then(work);
  const switchOff = () => {
    if (!server.off) world.note(`server ${server.id} ${server.name} is off`);
    server.off = true;
  };
  if (action === "shutdown" && !world.strikes(0.2)) later(2_000, 30_000, switchOff);
  else if (action === "poweroff")
    void world.clock.delay(server.lockedUntil - world.clock.now()).then(switchOff);
  else if (action === "poweron" && server.off) {
    server.off = false;
    server.bootedAt = world.clock.now() + world.chance.between(8_000, 40_000);
  }
  return json(201, { action: actionsOf(world, server)[0] });
}

function remove(world: World, server: SimServer): Answer {
  if (isLocked(world, server) || world.strikes(0.03)) return error(423, "locked");
  server.deleting = true;
  world.onDelete(server);
  void world.clock.delay(world.chance.between(2_000, 8_000)).then(() => {
    world.servers.delete(server.id);
    for (const line of world.bill) if (line.id === server.id) line.until = world.clock.now();
    world.note(`server ${server.id} ${server.name} is gone`);
  });
  return json(200, { action: actionsOf(world, server)[1] });
}

function actionsOf(world: World, server: SimServer) {
  const at = new Date(server.createdAt).toISOString();
  const shared = { progress: 0, started: at, resources: [{ id: server.id, type: "server" }], error: null };
  const made = world.clock.now() - server.createdAt >= createMs;
  const create = {
    ...shared,
    id: server.id * 10,
    command: "create_server",
    status: made ? "success" : "running",
    finished: made ? at : null,
  };
  if (!server.deleting) return [create];
  return [
    create,
    { ...shared, id: server.id * 10 + 1, command: "delete_server", status: "running", finished: null },
  ];
}

const show = (world: World, server: SimServer) => ({
  id: server.id,
  name: server.name,
  status: server.off ? "off" : world.clock.now() - server.createdAt > 16_000 ? "running" : "starting",
  created: new Date(server.createdAt + world.skewMs).toISOString(),
  labels: server.labels,
  locked: isLocked(world, server),
  public_net: { ipv4: { ip: server.ipv4 } },
  server_type: { name: server.serverType },
  location: { name: server.location },
});

const selected = (selector: string) => {
  const wanted = selector.split(",").map((part) => part.split("="));
  return ({ labels }: { readonly labels: Readonly<Record<string, string>> }) =>
    wanted.every(([key = "", value]) => labels[key] === value);
};

const shown = ({ id, kind, name, labels, createdAt }: SimResource): CloudResource => ({
  kind,
  id,
  name,
  labels,
  createdAt,
  server: null,
  isProtected: false,
  location: "fsn1",
  type: kind === "primary_ip" ? "ipv4" : kind,
  gigabytes: 10,
  publicKey: kind === "ssh_key" ? "ssh-ed25519 AAAA" : null,
});

const ofPlatform: readonly CloudResource[] = platformResources.map(({ kind, id }) => {
  const group = platformIds.placementGroups.indexOf(id);
  const name = kind === "placement_group" ? `clawpool-test-${group}` : "clawpool-test";
  return shown({ id, kind, name, labels: ownLabels("test"), createdAt: 0 });
});

/** The daemon's own reads. A list may be empty, short or fail. */
export function simulatedCloud(world: World): Cloud {
  const look = async () => {
    await world.takes(40, 300);
    if (world.strikes(0.03)) {
      throw new BorderError("Hetzner answered 503", {
        border: "cloud",
        kind: "transient",
        code: "unavailable",
      });
    }
  };
  const known = (): CloudResource[] => [
    ...(world.platforms > 0 ? ofPlatform : []),
    ...[...world.resources.values()].map(shown),
  ];
  const seen = (server: SimServer): CloudServer => cloudServer(serverShape.parse(show(world, server)));
  return {
    async server(id) {
      await look();
      const server = world.servers.get(id);
      return server ? seen(server) : null;
    },
    async serverByName(name) {
      await look();
      const server = [...world.servers.values()].find((candidate) => candidate.name === name);
      return server ? seen(server) : null;
    },
    async servers(selector) {
      await look();
      if (world.strikes(0.05)) return [];
      // An API that does not know the selector gives everything there is.
      const servers = [...world.servers.values()].filter(
        world.strikes(0.01) ? () => true : selected(selector),
      );
      return world.listing(servers.filter(() => !world.strikes(0.02))).map(seen);
    },
    async resource(kind, id) {
      await look();
      return known().find((one) => one.kind === kind && one.id === id) ?? null;
    },
    async resources(kind, selector) {
      await look();
      if (world.strikes(0.05)) return [];
      return known()
        .filter((one) => one.kind === kind && selected(selector)(one))
        .filter(() => !world.strikes(0.02));
    },
    serverTypes: async () => [],
    locations: async () => [],
    async prices() {
      await look();
      return priceList;
    },
  };
}
