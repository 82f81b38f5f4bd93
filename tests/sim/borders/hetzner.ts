/** Hetzner as a wire (what the gate's own code speaks with) and as the daemon's cloud border. */
import type { Cloud, CloudServer } from "../../../pool/cloud/cloud.ts";
import { cloudServer, serverShape } from "../../../pool/cloud/shapes.ts";
import type { Answer, Call, Sent, Wire } from "../../../pool/cloud/wire.ts";
import { BorderError } from "../../../pool/errors.ts";
import type { SimServer, World } from "../world.ts";

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
  const [, collection, id, sub] = url.pathname.split("/");
  if (collection !== "servers") throw world.unknown(`the simulated Hetzner has no ${method} ${path}`);
  if (method === "POST" && id === undefined) return create(world, JSON.parse(body ?? "") as ServerBody);
  if (method === "GET" && id === undefined) {
    const servers = [...world.servers.values()].filter(({ name }) => name === url.searchParams.get("name"));
    return json(200, { servers: servers.map((server) => show(world, server)) });
  }
  const server = world.servers.get(Number(id));
  if (!server) return error(404, "not_found");
  if (sub === "actions") return json(200, { actions: actionsOf(world, server) });
  if (method === "GET") return json(200, { server: show(world, server) });
  if (method === "DELETE") return remove(world, server);
  if (method === "PUT") {
    server.labels = { ...(JSON.parse(body ?? "") as { labels: Record<string, string> }).labels };
    return json(200, { server: show(world, server) });
  }
  throw world.unknown(`the simulated Hetzner has no ${method} ${path}`);
}

const hostKeyOf = /ed25519_public: ssh-ed25519\s+(\S+)/;

function create(world: World, order: ServerBody): Answer {
  if ([...world.servers.values()].some(({ name }) => name === order.name))
    return error(409, "uniqueness_error");
  if (world.strikes(0.04)) return error(412, "resource_unavailable", "error during placement");
  if (world.strikes(0.005)) return error(403, "resource_limit_exceeded", "server limit exceeded");
  const [, key] = hostKeyOf.exec(order.user_data) ?? [];
  const bootKey = `ssh-ed25519 ${key}`;
  if (!key) throw world.unknown("user_data has no host key");
  const now = world.clock.now();
  const server: SimServer = {
    id: world.id(),
    name: order.name,
    labels: { ...order.labels },
    location: order.location,
    serverType: order.server_type,
    ipv4: world.freeAddress(),
    createdAt: now,
    // One that never boots is in effect one that takes for ever.
    bootedAt: world.strikes(0.02) ? Number.POSITIVE_INFINITY : now + world.chance.between(6_000, 25_000),
    deleting: false,
    machine: {
      hostKey: world.strikes(0.01) ? "ssh-ed25519 AAAAanother" : bootKey,
      bornKey: null,
      admin: true,
      prepared: false,
      gatewayToken: null,
      done: null,
      customer: null,
      tailnetNode: null,
    },
  };
  world.servers.set(server.id, server);
  world.builds.bought.push(now);
  world.bill.push({ id: server.id, name: server.name, from: now, until: null });
  world.note(`server ${server.id} ${server.name} is made`);
  world.onMade(server);
  return json(201, {
    server: show(world, server),
    action: actionsOf(world, server)[0],
    next_actions: [],
    root_password: null,
  });
}

function remove(world: World, server: SimServer): Answer {
  if (server.deleting) return error(423, "locked");
  if (world.strikes(0.03)) return error(423, "locked");
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
  const made = world.clock.now() - server.createdAt > 12_000;
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
  status: world.clock.now() - server.createdAt > 16_000 ? "running" : "starting",
  created: new Date(server.createdAt).toISOString(),
  labels: server.labels,
  locked: server.deleting,
  public_net: { ipv4: { ip: server.ipv4 } },
  server_type: { name: server.serverType },
  location: { name: server.location },
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
      const wanted = selector.split(",").map((part) => part.split("="));
      const servers = [...world.servers.values()].filter(({ labels }) =>
        wanted.every(([key = "", value]) => labels[key] === value),
      );
      return servers.filter(() => !world.strikes(0.02)).map(seen);
    },
    serverTypes: async () => [],
    locations: async () => [],
  };
}
