/**
 * A small Hetzner on loopback for the gate's tests: servers, actions and the catalogue that one machine needs, with
 * the recorded shapes (fixtures/cloud.json), and faults that strike once at a chosen call. The local cloud's emulator
 * is the full one; this one fails on command, before or after the commit, in ways that a correct API does not offer.
 */
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

type Json = Record<string, unknown>;
interface ServerDocument extends Json {
  readonly id: number;
  readonly name: string;
  labels: Record<string, string>;
  status: string;
}
interface Action {
  readonly id: number;
  readonly command: string;
  readonly server: number;
  readonly startedAt: number;
  readonly ms: number;
}

export const shapes = JSON.parse(
  readFileSync(new URL("./fixtures/cloud.json", import.meta.url), "utf8"),
) as Record<"serverType" | "image" | "sshKey" | "order" | "server" | "action" | "location", Json>;

/** A recorded answer, or a connection cut before or after the call was carried out. */
export type Fault =
  | { readonly cut: "before" | "after" }
  | { readonly status: number; readonly body: unknown; readonly commit?: boolean };

export interface UpstreamOptions {
  /** Durations of actions in ms; 30 when not named. start_server begins when create_server is done. */
  readonly actionMs?: Readonly<Record<string, number>>;
}

export interface Upstream {
  readonly endpoint: string;
  readonly calls: { readonly method: string; readonly path: string; readonly token: string }[];
  servers(): ServerDocument[];
  /** Strikes the next `times` calls whose `METHOD /path` (without query) begins with `call`. */
  fail(call: string, fault: Fault, times?: number): void;
  /** Called when such a call has arrived, before it is answered; the answer waits for the promise. */
  hold(call: string, until: Promise<void>): Promise<void>;
  close(): Promise<void>;
}

export async function startUpstream(options: UpstreamOptions = {}): Promise<Upstream> {
  const servers = new Map<number, ServerDocument>();
  const actions = new Map<number, Action>();
  const calls: Upstream["calls"] = [];
  const faults: { call: string; fault: Fault; left: number }[] = [];
  const holds: { call: string; until: Promise<void>; arrived: () => void }[] = [];
  let nextId = 1_000_001;
  const durationOf = (command: string) => options.actionMs?.[command] ?? 30;

  function order(command: string, server: number, after = 0): Action {
    const startedAt = Date.now();
    const action = { id: nextId++, command, server, startedAt, ms: after + durationOf(command) };
    actions.set(action.id, action);
    return action;
  }
  const isDone = (action: Action) => Date.now() >= action.startedAt + action.ms;
  const stamp = (at: number) => new Date(at).toISOString().replace(/\.\d+Z$/, "Z");
  const show = (action: Action): Json => ({
    ...shapes.action,
    id: action.id,
    command: action.command,
    status: isDone(action) ? "success" : "running",
    progress: isDone(action) ? 100 : 0,
    started: stamp(action.startedAt),
    finished: isDone(action) ? stamp(action.startedAt + action.ms) : null,
    resources: [{ id: action.server, type: "server" }],
  });
  const showServer = (server: ServerDocument): Json => {
    const open = [...actions.values()].some((action) => action.server === server.id && !isDone(action));
    return { ...server, status: open ? "initializing" : "running", locked: open };
  };
  const list = (key: string, items: Json[]): Json => ({
    [key]: items,
    meta: {
      pagination: {
        page: 1,
        per_page: 50,
        previous_page: null,
        next_page: null,
        last_page: 1,
        total_entries: items.length,
      },
    },
  });
  const failure = (status: number, code: string, message: string) =>
    [status, { error: { code, message, details: null } }] as const;

  function answer(
    method: string,
    path: string,
    query: URLSearchParams,
    body: string,
  ): readonly [number, unknown] {
    const [collection, id, sub] = path.slice(1).split("/");
    const server = servers.get(Number(id));
    if (collection === "server_types") return [200, list("server_types", [shapes.serverType])];
    if (collection === "images") return [200, list("images", [shapes.image])];
    if (collection === "locations") return [200, list("locations", [shapes.location])];
    if (collection === "ssh_keys") {
      if (method === "DELETE") return [204, null];
      return [200, { ssh_key: { ...shapes.sshKey, id: Number(id) } }];
    }
    if (collection === "actions") {
      if (id) return [200, { action: show(actions.get(Number(id)) as Action) }];
      const wanted = query.getAll("id").flatMap((each) => actions.get(Number(each)) ?? []);
      return [200, list("actions", wanted.map(show))];
    }
    if (collection !== "servers") return failure(404, "not_found", "api route not found");
    if (id === undefined && method === "GET") {
      const name = query.get("name");
      const found = [...servers.values()].filter((each) => name === null || each.name === name);
      return [200, list("servers", found.map(showServer))];
    }
    if (id === undefined) {
      const wanted = JSON.parse(body) as { name: string; labels?: Record<string, string> };
      if ([...servers.values()].some((each) => each.name === wanted.name)) {
        return failure(409, "uniqueness_error", "server name is already used");
      }
      const made: ServerDocument = {
        ...shapes.server,
        id: nextId++,
        name: wanted.name,
        labels: wanted.labels ?? {},
        created: stamp(Date.now()),
        status: "initializing",
      };
      servers.set(made.id, made);
      const create = order("create_server", made.id);
      const start = order("start_server", made.id, create.ms);
      return [
        201,
        { server: showServer(made), action: show(create), next_actions: [show(start)], root_password: null },
      ];
    }
    if (!server) return failure(404, "not_found", "server not found");
    if (sub === "actions" && method === "GET") {
      const own = [...actions.values()].filter((action) => action.server === server.id);
      return [200, list("actions", own.map(show))];
    }
    if (method === "DELETE") {
      servers.delete(server.id);
      return [200, { action: show(order("delete_server", server.id)) }];
    }
    if (method === "PUT")
      server.labels = (JSON.parse(body) as { labels?: Record<string, string> }).labels ?? server.labels;
    return [200, { server: showServer(server) }];
  }

  async function serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(message.url ?? "/", "http://upstream");
    const path = url.pathname.replace(/^\/v1/, "");
    const method = message.method ?? "";
    const body = await text(message);
    calls.push({
      method,
      path: `${path}${url.search}`,
      token: (message.headers.authorization ?? "").replace("Bearer ", ""),
    });
    const call = `${method} ${path}`;
    const hold = holds.find((each) => call.startsWith(each.call));
    if (hold) {
      holds.splice(holds.indexOf(hold), 1);
      hold.arrived();
      await hold.until;
    }
    const struck = faults.find((each) => each.left > 0 && call.startsWith(each.call));
    if (struck) struck.left -= 1;
    const fault = struck?.fault;
    if (fault && "cut" in fault) {
      if (fault.cut === "after") answer(method, path, url.searchParams, body);
      message.socket.destroy();
      return;
    }
    if (fault?.commit) answer(method, path, url.searchParams, body);
    const [status, value] = fault
      ? ([fault.status, fault.body] as const)
      : answer(method, path, url.searchParams, body);
    const isJson = typeof value !== "string";
    response.writeHead(status, { "content-type": isJson ? "application/json" : "text/html" });
    response.end(value === null ? undefined : isJson ? JSON.stringify(value) : value);
  }

  const server = createServer((message, response) => void serve(message, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    calls,
    servers: () => [...servers.values()],
    fail: (call, fault, times = 1) => void faults.push({ call, fault, left: times }),
    hold: (call, until) => new Promise((arrived) => void holds.push({ call, until, arrived })),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
