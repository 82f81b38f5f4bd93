/** One tailnet for a test, simulated or with real tailscaled, with machines that join it. */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type LocalTailscale, startTailscale } from "./api.ts";
import type { TailscaleBinaries } from "./build.ts";
import type { TailnetSettings } from "./control.ts";
import type { NodeState } from "./local-api.ts";
import { startDaemon, startNode, type TailnetNode } from "./node.ts";
import type { NodeView } from "./simulated.ts";

/** A machine that has joined. */
export interface JoinedNode {
  readonly nodeId: string;
  readonly addresses: readonly string[];
  /** Resolves when the machine sees itself in that state. */
  waitForState(state: NodeState, signal?: AbortSignal): Promise<void>;
  /** Resolves when the machine knows (or no longer knows) a peer of that address. */
  waitForPeer(address: string, known: boolean, signal?: AbortSignal): Promise<void>;
  advertiseRoutes(routes: readonly string[]): Promise<void>;
  /** Leaves the tailnet in order. */
  logout(): Promise<void>;
  /** The machine dies. */
  disconnect(): Promise<void>;
}

export interface TailnetRig {
  readonly local: LocalTailscale;
  /** A new machine joins. Rejects with the refusal's text. */
  join(authKey: string, hostname: string): Promise<JoinedNode>;
  close(): Promise<void>;
}

export async function simulatedRig(settings: TailnetSettings = {}): Promise<TailnetRig> {
  const local = await startTailscale({ mode: "simulated", dir: "", ...settings });
  const base = new URL(local.apiUrl).origin;
  const post = (path: string, body: object) =>
    fetch(`${base}/_local/${path}`, { method: "POST", body: JSON.stringify(body) });
  const done = async (path: string, body: object) => {
    const response = await post(path, body);
    if (response.status !== 204) throw new Error(`${path}: HTTP ${response.status} ${await response.text()}`);
  };
  return {
    local,
    async join(authKey, hostname) {
      const machine = { authKey, hostname, machineKey: `mkey:${randomBytes(32).toString("hex")}` };
      const response = await persistently(() => post("register", machine));
      const answer = (await response.json()) as { nodeId: string; addresses: string[]; message?: string };
      if (!response.ok) throw new Error(answer.message);
      const { nodeId, addresses } = answer;
      const watch = async (holds: (view: NodeView) => boolean, signal?: AbortSignal) => {
        for (let query = ""; ; ) {
          const seen = await fetch(`${base}/_local/nodes/${nodeId}${query}`, { signal });
          const view = (await seen.json()) as NodeView;
          if (holds(view)) return;
          query = `?after=${view.version}`;
        }
      };
      return {
        nodeId,
        addresses,
        waitForState: (state, signal) => watch((view) => view.state === state, signal),
        waitForPeer: (address, known, signal) =>
          watch((view) => view.peers.includes(address) === known, signal),
        advertiseRoutes: (advertisedRoutes) => done("presence", { nodeId, online: true, advertisedRoutes }),
        logout: () => done("logout", { nodeId }),
        disconnect: () => done("presence", { nodeId, online: false }),
      };
    },
    close: () => local.close(),
  };
}

/** As tailscaled does: what is not the control server's last word is asked again, after Retry-After if it says so. */
async function persistently(ask: () => Promise<Response>): Promise<Response> {
  for (;;) {
    const response = await ask().catch(() => null);
    if (response && response.status !== 429 && response.status < 500) return response;
    await response?.body?.cancel();
    await delay(Number(response?.headers.get("retry-after") ?? 0) * 1_000 || 10);
  }
}

export interface RealRig extends TailnetRig {
  readonly dir: string;
  start(authKey: string, hostname: string, options?: { readonly relayOnly: boolean }): Promise<TailnetNode>;
  /** A tailscaled that is logged out, or in the state of one that ran in this folder before. */
  daemon(folder?: string): ReturnType<typeof startDaemon>;
}

export async function realRig(binaries: TailscaleBinaries, settings: TailnetSettings = {}): Promise<RealRig> {
  const dir = await mkdtemp(join(tmpdir(), "ts-"));
  const local = await startTailscale({ mode: "real", dir, binaries, ...settings });
  const closers: (() => Promise<void>)[] = [];
  let folders = 0;
  const start: RealRig["start"] = async (authKey, hostname, options) => {
    const folder = join(dir, String(folders++));
    const { controlUrl } = local;
    const node = await startNode({ binaries, controlUrl, dir: folder, authKey, hostname, ...options });
    closers.push(() => node.close());
    return node;
  };
  return {
    local,
    dir,
    start,
    async daemon(folder = String(folders++)) {
      const daemon = await startDaemon({ binaries, dir: join(dir, folder) });
      closers.push(() => daemon.close());
      return daemon;
    },
    async join(authKey, hostname) {
      const { api, nodeId, addresses, close } = await start(authKey, hostname);
      return {
        nodeId,
        addresses,
        waitForState: api.waitForState,
        waitForPeer: api.waitForPeer,
        advertiseRoutes: api.advertiseRoutes,
        logout: api.logout,
        disconnect: close,
      };
    },
    async close() {
      await Promise.all(closers.map((close) => close()));
      await local.close();
      await rm(dir, { recursive: true });
    },
  };
}
