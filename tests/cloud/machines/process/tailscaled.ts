/**
 * Stands in for tailscaled on a folder machine: the part of its LocalAPI that a join needs, on a Unix socket. It
 * registers with the simulated control server by HTTP, so keys and devices follow that server's rules. There is no
 * network behind it: an address is given and shown, nothing is carried.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

export interface Tailscaled {
  close(): Promise<void>;
}

/** What survives the machine being switched off. */
export interface TailscaleState {
  readonly machineKey: string;
  node: { readonly nodeId: string; readonly name: string; readonly addresses: readonly string[] } | null;
  hostname: string;
  controlUrl: string;
  serve: unknown;
}

export function newTailscaleState(): TailscaleState {
  return {
    machineKey: `mkey:${randomBytes(32).toString("hex")}`,
    node: null,
    hostname: "",
    controlUrl: "",
    serve: {},
  };
}

const numbers = { NeedsLogin: 2, Running: 6 } as const;

/** `registerUrl`: the control server's `/_local/register`; without it, that of the control URL which a join names. */
export async function startTailscaled(
  socketPath: string,
  state: TailscaleState,
  registerUrl?: string,
): Promise<Tailscaled> {
  const watchers = new Set<ServerResponse>();
  let pendingKey = "";
  let attempt = new AbortController();
  const backendState = () => (state.node ? "Running" : "NeedsLogin");
  const tell = (notice: object) => {
    for (const watcher of watchers) watcher.write(`${JSON.stringify(notice)}\n`);
  };
  const control = (path: string, body: object) =>
    fetch(new URL(path, registerUrl || new URL("/_local/register", state.controlUrl)), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const presence = (online: boolean) =>
    state.node ? control("presence", { nodeId: state.node.nodeId, online }).catch(() => {}) : undefined;

  /** As the real one: what is not the control server's last word is asked again, and only a limit is told of. */
  const login = async (signal: AbortSignal) => {
    const { machineKey, hostname } = state;
    for (let tries = 1; !signal.aborted; tries++) {
      const answer = await control("register", { authKey: pendingKey, hostname, machineKey }).catch(
        () => null,
      );
      if (signal.aborted) return;
      if (answer && answer.status !== 429 && answer.status < 500) return joined(answer);
      await answer?.body?.cancel();
      const retryAfter = answer?.status === 429 ? Number(answer.headers.get("retry-after")) || 10 : 0;
      if (retryAfter > 0)
        tell({ ErrMessage: `node registration rate limited; will retry after ${retryAfter}s` });
      const pause = retryAfter * 1_000 || Math.min(tries ** 2 * 10, 30_000);
      await delay(pause, undefined, { signal }).catch(() => {});
    }
  };
  const joined = async (answer: Response) => {
    const body = (await answer.json()) as { message?: string } & NonNullable<TailscaleState["node"]>;
    if (!answer.ok) return tell({ ErrMessage: body.message ?? `HTTP ${answer.status}` });
    state.node = { nodeId: body.nodeId, name: body.name, addresses: body.addresses };
    tell({ State: numbers.Running });
    // The real one learns some time after that the control server has its home relay.
    tell({ SelfChange: { StableID: body.nodeId, HomeDERP: 900 } });
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = new URL(request.url ?? "/", "http://tailscaled").pathname.replace("/localapi/v0/", "");
    const send = (status: number, body?: unknown) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(body === undefined ? "" : JSON.stringify(body));
    };
    const call = `${request.method} ${path}`;
    if (call === "GET watch-ipn-bus") {
      response.writeHead(200, { "content-type": "application/json" });
      watchers.add(response);
      response.on("close", () => watchers.delete(response));
      response.write(`${JSON.stringify({ State: numbers[backendState()] })}\n`);
      return;
    }
    if (call === "GET status") {
      const self = state.node && {
        ID: state.node.nodeId,
        HostName: state.hostname,
        DNSName: `${state.node.name}.`,
        TailscaleIPs: state.node.addresses,
        Online: true,
        Relay: "local",
      };
      return send(200, { BackendState: backendState(), ...(self ? { Self: self } : {}) });
    }
    const body = await readJson(request);
    if (call === "POST start") {
      const prefs = body.UpdatePrefs as { Hostname?: string; ControlURL?: string } | undefined;
      pendingKey = String(body.AuthKey ?? "");
      state.hostname = prefs?.Hostname ?? state.hostname;
      state.controlUrl = prefs?.ControlURL ?? state.controlUrl;
      return send(204);
    }
    if (call === "POST login-interactive") {
      attempt.abort();
      attempt = new AbortController();
      void login(attempt.signal);
      return send(204);
    }
    if (call === "POST serve-config") {
      state.serve = body;
      return send(200);
    }
    if (call === "POST logout") {
      attempt.abort();
      if (state.node) await control("logout", { nodeId: state.node.nodeId }).catch(() => {});
      state.node = null;
      tell({ State: numbers.NeedsLogin });
      return send(204);
    }
    send(404, { error: `no ${call}` });
  };

  await rm(socketPath, { force: true });
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  server.listen(socketPath);
  await once(server, "listening");
  await presence(true);
  return {
    async close() {
      attempt.abort();
      await presence(false);
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await rm(socketPath, { force: true });
    },
  };
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}
