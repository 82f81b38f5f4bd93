/**
 * Stands in for the OpenClaw gateway on folder machines, a process of its own. It does what the hand-over and one
 * chat turn touch, in the way that OpenClaw 2026.9.6 was seen to do it: secrets by reference through the configured
 * command, the control connection with its challenge, `secrets.reload` and `config.patch`, close code 4001 for whoever
 * used the old token, and refusals that are answered late.
 *
 *   node gateway.ts <address> <state folder>
 *
 * It ends when its stdin does, so that it never outlives the local cloud.
 */
import { execFile } from "node:child_process";
import { timingSafeEqual } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { type WebSocket, WebSocketServer } from "ws";

const version = "2026.9.6";
/** OpenClaw answers each refused request this late (and doubles it, which this does not). */
const refusalDelayMs = 250;

interface Reference {
  readonly source: "exec";
  readonly provider: string;
  readonly id: string;
}
interface Provider {
  readonly baseUrl?: string;
  readonly apiKey?: string | Reference;
}
interface Config {
  readonly gateway: { readonly port: number; readonly auth: { readonly token: Reference } };
  readonly secrets: { readonly providers: Readonly<Record<string, { command: string; args?: string[] }>> };
  readonly models: { readonly providers: Readonly<Record<string, Provider>> };
  readonly agents: { readonly defaults: { readonly model: { readonly primary: string } } };
}

const [address = "", stateDir = ""] = process.argv.slice(2);
const configFile = join(stateDir, "openclaw.json");
const readConfig = () => JSON.parse(readFileSync(configFile, "utf8")) as Config;
let config = readConfig();
let secrets: ReadonlyMap<string, string> = new Map();
/** A test's switch: a file of this name makes `secrets.reload` never answer. */
const hangFile = join(stateDir, "hang-reload");
const started = performance.now();

function references(value: unknown, found = new Set<string>()): Set<string> {
  if (typeof value !== "object" || value === null) return found;
  const { source, id } = value as Partial<Reference>;
  if (source === "exec" && typeof id === "string") found.add(id);
  for (const inner of Object.values(value)) references(inner, found);
  return found;
}

function resolveSecrets(wanted: Config): Promise<ReadonlyMap<string, string>> {
  const provider = wanted.secrets.providers[wanted.gateway.auth.token.provider];
  if (!provider) return Promise.reject(new Error("no secret provider"));
  return new Promise((resolve, reject) => {
    const child = execFile(
      provider.command,
      provider.args ?? [],
      { timeout: 5_000, env: {} },
      (error, stdout) => {
        if (error) return reject(error);
        resolve(new Map(Object.entries((JSON.parse(stdout) as { values: Record<string, string> }).values)));
      },
    );
    // A command that answers without reading is no failure.
    child.stdin?.on("error", () => {});
    child.stdin?.end(
      JSON.stringify({ protocolVersion: 1, provider: "dotenv", ids: [...references(wanted)] }),
    );
  });
}

const token = () => secrets.get(config.gateway.auth.token.id) ?? "";
function good(offered: string): boolean {
  const [a, b] = [Buffer.from(offered), Buffer.from(token())];
  return b.length > 0 && a.length === b.length && timingSafeEqual(a, b);
}

const sessions = new Map<WebSocket, string>();

/** Takes new config and secrets as one; whoever came in with a token that is no longer good is put out. */
async function activate(wanted: Config): Promise<void> {
  const resolved = await resolveSecrets(wanted);
  if (!resolved.has(wanted.gateway.auth.token.id)) throw new Error("the gateway's token is not found");
  config = wanted;
  secrets = resolved;
  // After the answer has gone out, as the real one does.
  setImmediate(() => {
    for (const [socket, used] of sessions) if (!good(used)) socket.close(4001, "gateway auth changed");
  });
}

const hash = () => `${readFileSync(configFile, "utf8").length}:${JSON.stringify(config).length}`;

function merge(base: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> = { ...(base as object) };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = merge(result[name], value);
  }
  return result;
}

async function call(method: string, params: Record<string, unknown>): Promise<unknown> {
  if (method === "secrets.reload") {
    if (exists(hangFile)) return new Promise(() => {});
    await activate(config);
    return { ok: true, warningCount: 0 };
  }
  if (method === "config.get") return { hash: hash(), config };
  if (method === "config.patch") {
    if (params.baseHash !== hash()) throw new Error("the config has changed");
    const wanted = merge(readConfig(), JSON.parse(String(params.raw))) as Config;
    await activate(wanted);
    writeFileSync(`${configFile}.new`, `${JSON.stringify(wanted, null, 2)}\n`, { mode: 0o600 });
    renameSync(`${configFile}.new`, configFile);
    return { ok: true, hash: hash() };
  }
  throw new Error(`unknown method ${method}`);
}

function exists(path: string): boolean {
  try {
    readFileSync(path);
    return true;
  } catch {
    return false;
  }
}

function control(socket: WebSocket): void {
  let connected = false;
  const send = (message: object) => socket.send(JSON.stringify(message));
  socket.on("error", () => {});
  socket.on("close", () => sessions.delete(socket));
  socket.on("message", async (data) => {
    const {
      id,
      method,
      params = {},
    } = JSON.parse(String(data)) as {
      id: string;
      method: string;
      params?: Record<string, unknown>;
    };
    const refuse = (code: string, details?: { code: string }) =>
      send({ type: "res", id, ok: false, error: { code, message: code, details } });
    if (!connected) {
      const offered = String((params.auth as { token?: unknown } | undefined)?.token ?? "");
      if (method !== "connect" || !good(offered)) {
        await late();
        refuse("INVALID_REQUEST", { code: "AUTH_TOKEN_MISMATCH" });
        return socket.close(1008, "unauthorized: gateway token mismatch");
      }
      connected = true;
      sessions.set(socket, offered);
      return send({
        type: "res",
        id,
        ok: true,
        payload: { type: "hello-ok", protocol: 4, server: { version } },
      });
    }
    try {
      send({ type: "res", id, ok: true, payload: await call(method, params) });
    } catch {
      refuse("UNAVAILABLE");
    }
  });
  send({ type: "event", event: "connect.challenge", payload: { nonce: String(started) } });
}

const late = () => new Promise((resolve) => setTimeout(resolve, refusalDelayMs));

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = new URL(request.url ?? "/", "http://gateway").pathname;
  if (path === "/healthz" || path === "/health") return json(response, 200, { ok: true, status: "live" });
  if (path === "/startupz" || path === "/readyz") {
    const uptimeMs = Math.round(performance.now() - started);
    return json(response, 200, { ok: true, status: "started", version, uptimeMs });
  }
  const offered = /^Bearer (\S+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
  if (!good(offered)) {
    await late();
    return json(response, 401, { error: { message: "Unauthorized", type: "unauthorized" } });
  }
  if (path === "/control-ui-config.json")
    return json(response, 200, { basePath: "", serverVersion: version });
  if (path === "/v1/models")
    return json(response, 200, { object: "list", data: [{ id: "openclaw/default", object: "model" }] });
  if (path === "/v1/chat/completions" && request.method === "POST") return chat(request, response);
  json(response, 404, { error: { message: "not found" } });
}

/** One turn: the configured model of the configured provider, with the key that the order brought. */
async function chat(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  const [, providerId = "", model = ""] = /^([^/]+)\/(.+)$/.exec(config.agents.defaults.model.primary) ?? [];
  const provider = config.models.providers[providerId];
  const key =
    typeof provider?.apiKey === "string" ? provider.apiKey : secrets.get(provider?.apiKey?.id ?? "");
  if (!provider?.baseUrl || !key)
    return json(response, 503, { error: { message: "SECRET_SURFACE_UNAVAILABLE" } });
  const upstream = await fetch(`${provider.baseUrl}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    body: JSON.stringify({ ...(JSON.parse(text) as object), model }),
  });
  response.writeHead(upstream.status, {
    "content-type": upstream.headers.get("content-type") ?? "application/json",
  });
  response.end(Buffer.from(await upstream.arrayBuffer()));
}

await activate(config);
const server = createServer((request, response) => {
  answer(request, response).catch(() => {
    if (response.headersSent) response.destroy();
    else json(response, 502, { error: { message: "the model does not answer" } });
  });
});
const sockets = new WebSocketServer({ server });
sockets.on("connection", control);
server.listen(config.gateway.port, address);
process.stdin.resume().on("end", () => process.exit(0));
process.on("SIGTERM", () => process.exit(0));
