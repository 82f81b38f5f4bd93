/** tailscaled's LocalAPI over its Unix socket: the calls that joining, leaving, serving and dialling need. */

import { type IncomingMessage, request } from "node:http";
import type { Duplex } from "node:stream";

interface LocalStatus {
  readonly BackendState: string;
  readonly Self?: {
    readonly ID: string;
    readonly DNSName: string;
    readonly TailscaleIPs?: readonly string[];
    readonly Tags?: readonly string[];
    readonly Online?: boolean;
  };
  readonly Peer?: Readonly<Record<string, Peer>> | null;
}

interface Peer {
  readonly TailscaleIPs?: readonly string[];
  /** Routes that it serves, its own addresses aside. */
  readonly PrimaryRoutes?: readonly string[];
  readonly Expired?: boolean;
}

export interface JoinOptions {
  readonly controlUrl: string;
  readonly authKey: string;
  readonly hostname: string;
  /** Default 20 s. */
  readonly timeoutMs?: number;
}

export interface LocalApi {
  /** `peers`: with them; otherwise of the machine alone. */
  status(peers?: boolean): Promise<LocalStatus>;
  /** Resolves in state Running with the milliseconds it took. Rejects with the control server's refusal. */
  join(options: JoinOptions): Promise<number>;
  logout(): Promise<void>;
  /** Resolves when the daemon is in that state. */
  waitForState(state: NodeState, signal?: AbortSignal): Promise<void>;
  /** Resolves when the daemon knows (or no longer knows) a peer of that address. */
  waitForPeer(address: string, known: boolean, signal?: AbortSignal): Promise<void>;
  /** Resolves when `holds` does for the daemon's peers. */
  waitForPeers(holds: (peers: readonly Peer[]) => boolean, signal?: AbortSignal): Promise<void>;
  /** Offers routes to the tailnet, which somebody has to enable. */
  advertiseRoutes(routes: readonly string[]): Promise<void>;
  /** Forwards a port of the tailnet address to one on this host's loopback. */
  serveTcp(port: number, target: string): Promise<void>;
  /** A TCP connection through the tailnet. Rejects when the peer is unknown or does not answer. */
  dial(address: string, port: number, signal?: AbortSignal): Promise<Duplex>;
}

/** Numbers of ipn.State as they come over the bus. */
const states = { NeedsLogin: 2, NeedsMachineAuth: 3, Starting: 5, Running: 6 } as const;
export type NodeState = keyof typeof states;
/** What tailscaled says before it tries again by itself. Everything else that it says is final. */
const passing = /^node registration rate limited/;
/** Of ipn.NotifyWatchOpt: begin with the state as it is; tell of peers that come, change and go. */
const notify = { initialState: 1 << 1, peerChanges: 1 << 12 } as const;

export function localApi(socketPath: string): LocalApi {
  const send = (
    method: string,
    path: string,
    options: {
      readonly body?: string;
      readonly headers?: Record<string, string>;
      readonly signal?: AbortSignal;
    } = {},
  ) => {
    const headers = { host: "local-tailscaled.sock", ...options.headers };
    const outgoing = request({
      socketPath,
      method,
      path: `/localapi/v0/${path}`,
      headers,
      agent: false,
      signal: options.signal,
    });
    outgoing.end(options.body ?? "");
    return outgoing;
  };
  const call = async (method: string, path: string, body?: unknown): Promise<string> => {
    const outgoing = send(method, path, { body: body === undefined ? undefined : JSON.stringify(body) });
    const response = await answered(outgoing);
    const text = await readAll(response);
    const status = response.statusCode ?? 0;
    if (status >= 300) throw new Error(`LocalAPI ${path}: HTTP ${status} ${text.trim()}`);
    return text;
  };
  /** Reads the bus until `seen` says so; an error of the backend ends it. */
  const watch = async (
    mask: number,
    seen: (notice: { readonly State?: number }) => boolean | Promise<boolean>,
    signal?: AbortSignal,
    begun?: () => void,
  ) => {
    const bus = await answered(send("GET", `watch-ipn-bus?mask=${mask}`, { signal }));
    begun?.();
    for await (const line of lines(bus)) {
      const notice = JSON.parse(line) as { State?: number; ErrMessage?: string };
      if (notice.ErrMessage && !passing.test(notice.ErrMessage)) throw new Error(notice.ErrMessage);
      if (await seen(notice)) return;
    }
    throw new Error("tailscaled closed its notification bus");
  };
  const status = async (query = "") => JSON.parse(await call("GET", `status${query}`)) as LocalStatus;
  const waitForPeers: LocalApi["waitForPeers"] = (holds, signal) =>
    watch(
      notify.initialState | notify.peerChanges,
      async () => holds(Object.values((await status()).Peer ?? {})),
      signal,
    );
  return {
    status: (peers = false) => status(peers ? "" : "?peers=false"),
    async join({ controlUrl, authKey, hostname, timeoutMs = 20_000 }) {
      const started = performance.now();
      const abort = new AbortController();
      const late = setTimeout(
        () => abort.abort(new Error(`not in the tailnet after ${timeoutMs} ms`)),
        timeoutMs,
      );
      try {
        const opened = Promise.withResolvers<void>();
        const isUp = (notice: { readonly State?: number }) => notice.State === states.Running;
        const up = watch(notify.initialState, isUp, abort.signal, opened.resolve);
        up.catch(opened.reject);
        await opened.promise;
        const prefs = { ControlURL: controlUrl, Hostname: hostname, WantRunning: true, CorpDNS: false };
        await call("POST", "start", { AuthKey: authKey, UpdatePrefs: prefs });
        // Needed even with a key: `start` alone stays in NeedsLogin.
        await call("POST", "login-interactive");
        await up;
        return performance.now() - started;
      } catch (error) {
        throw abort.signal.aborted ? abort.signal.reason : error;
      } finally {
        clearTimeout(late);
        abort.abort();
      }
    },
    logout: async () => void (await call("POST", "logout")),
    waitForState: (state, signal) =>
      watch(notify.initialState, (notice) => notice.State === states[state], signal),
    waitForPeers,
    waitForPeer: (address, known, signal) =>
      waitForPeers((peers) => known === peers.some((peer) => peer.TailscaleIPs?.includes(address)), signal),
    advertiseRoutes: async (routes) => {
      await call("PATCH", "prefs", { AdvertiseRoutes: routes, AdvertiseRoutesSet: true });
    },
    serveTcp: async (port, target) => {
      await call("POST", "serve-config", { TCP: { [port]: { TCPForward: target } } });
    },
    dial(address, port, signal) {
      const headers = {
        connection: "upgrade",
        upgrade: "ts-dial",
        "dial-host": address,
        "dial-port": String(port),
      };
      const outgoing = send("POST", "dial", { headers, signal });
      return new Promise((resolve, reject) => {
        outgoing.once("upgrade", (_response, socket) => resolve(socket));
        outgoing.once("error", reject);
        outgoing.once("response", (response) => {
          readAll(response).then((text) => {
            const unknown = response.headers["dial-self"] === "true";
            reject(
              new Error(
                unknown ? `${address} is not in the tailnet` : `dial ${address}:${port}: ${text.trim()}`,
              ),
            );
          }, reject);
        });
      });
    },
  };
}

const answered = (outgoing: ReturnType<typeof request>): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    outgoing.once("response", resolve);
    outgoing.once("error", reject);
  });

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

/** Lines of a stream; leaving the loop closes it. (An interface of node:readline throws when its input is cut.) */
async function* lines(input: IncomingMessage): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of input.setEncoding("utf8")) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    yield* parts.filter((part) => part !== "");
  }
}
