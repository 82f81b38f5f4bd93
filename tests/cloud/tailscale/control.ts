/**
 * What stands behind the API: the tailnet itself. Two implementations with one contract: realControl (real
 * tailscaled nodes join it) and simulatedControl (simulated.ts, joined by a POST).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { Fault } from "./faults.ts";

export interface ControlKey {
  readonly id: string;
  readonly tags: readonly string[];
  /** ISO 8601, as all times here. */
  readonly created: string;
  readonly expires: string;
  readonly revoked?: string;
  readonly reusable: boolean;
  readonly ephemeral: boolean;
  readonly preauthorized: boolean;
  /** Nodes that joined by it. */
  readonly uses: number;
}

type NewKey = Omit<ControlKey, "created" | "revoked" | "uses">;

export interface ControlDevice {
  /** Stable id, e.g. `n00000001CNTRL`. */
  readonly nodeId: string;
  /** Legacy decimal id. */
  readonly id: string;
  /** As the machine calls itself. */
  readonly hostname: string;
  /** Full MagicDNS name; the second of the same host name gets `-1`. */
  readonly name: string;
  readonly addresses: readonly string[];
  readonly tags: readonly string[];
  /** Holds an open map session. */
  readonly online: boolean;
  /** Approved, or needs no approval. */
  readonly authorized: boolean;
  /** Logged out, or its key is over. */
  readonly expired: boolean;
  /** When its key ends or would end, also while expiry is disabled. */
  readonly expires: string;
  readonly keyExpiryDisabled: boolean;
  readonly ephemeral: boolean;
  readonly created: string;
  readonly lastSeen: string;
  /** The auth key it joined by. */
  readonly keyId: string;
  readonly nodeKey: string;
  readonly machineKey: string;
  readonly os: string;
  readonly clientVersion: string;
  readonly blocksIncomingConnections: boolean;
  readonly advertisedRoutes: readonly string[];
  readonly enabledRoutes: readonly string[];
  readonly sshEnabled: boolean;
  readonly distro?: { readonly name: string; readonly version: string; readonly codeName: string };
  /** In the API's shape. */
  readonly clientConnectivity?: { readonly endpoints: readonly string[]; readonly latency: object };
}

/** What the API can do to a device; absent fields stay as they are. */
export interface DeviceChange {
  /** Whom events name as the cause. */
  readonly actor: string;
  readonly tags?: readonly string[];
  /** With or without the tailnet's suffix; "" goes back to the host name. */
  readonly name?: string;
  readonly authorized?: boolean;
  readonly keyExpiryDisabled?: boolean;
  /** Ends the key now. */
  readonly expire?: true;
  readonly enabledRoutes?: readonly string[];
  readonly ipv4?: string;
}

/** One thing that webhooks tell of, under the name that they use. */
export interface ControlEvent {
  /** Counts from 1. */
  readonly seq: number;
  readonly type: string;
  readonly at: string;
  readonly nodeId: string;
  readonly name: string;
  readonly address: string;
  readonly managedBy: string;
  readonly actor: string;
  /** With events of the node's key. */
  readonly expiration?: string;
}

interface DeviceList {
  /** Grows with every change of the tailnet. */
  readonly version: number;
  readonly devices: readonly ControlDevice[];
}

/** A change that cannot be: a name that is taken, a route that is none. */
export class Refusal extends Error {}

export interface Control {
  /** For `--login-server`; null when only simulated nodes can join. */
  readonly url: string | null;
  /** Null when nobody but the front can disturb it. */
  readonly faults: {
    add(fault: Fault): Promise<void>;
    remove(id: number): Promise<void>;
    hits(): Promise<ReadonlyMap<number, number>>;
  } | null;
  addKey(text: string, key: NewKey): Promise<void>;
  keys(): Promise<readonly ControlKey[]>;
  /** False when there is no such key. A revoked one stays listed. */
  revokeKey(id: string): Promise<boolean>;
  /** With `after`: when the list is newer than that version, or after 25 s at the latest. */
  devices(after?: number, signal?: AbortSignal): Promise<DeviceList>;
  /** False when it is not there. @throws Refusal, and nothing was changed */
  changeDevice(nodeId: string, change: DeviceChange): Promise<boolean>;
  /** Cuts the node off: its session ends, its key is refused, its peers forget it. False when it is not there. */
  deleteDevice(nodeId: string, actor?: string): Promise<boolean>;
  /** Those after the one of that number, oldest first: at least one, or none after 25 s. */
  events(after: number, signal?: AbortSignal): Promise<readonly ControlEvent[]>;
  /** Puts its clock forward, and does what has become due by it. */
  advance(ms: number): Promise<void>;
  close(): Promise<void>;
}

export interface TailnetSettings {
  /** Machines that join by a key which is not pre-authorized wait for approval. Default false. */
  readonly deviceApproval?: boolean;
  /** Life of a node key in days. Default 180, as in a new tailnet. */
  readonly keyLifeDays?: number;
}

interface RealControlOptions extends TailnetSettings {
  /** Path of the control program. */
  readonly binary: string;
  /** Folder for its log. */
  readonly dir: string;
  /** IP address on which nodes reach it. */
  readonly host: string;
  /** Default: a free one. */
  readonly port?: number;
}

interface Ready {
  readonly controlUrl: string;
  readonly adminUrl: string;
}

/** Starts the Go control server; resolves when it listens. It ends with this process, however that ends. */
export async function realControl(options: RealControlOptions): Promise<Control> {
  await mkdir(options.dir, { recursive: true });
  const log = openSync(join(options.dir, "control.log"), "a", 0o600);
  const { deviceApproval = false, keyLifeDays = 180 } = options;
  const flags = [
    `-listen=${options.host}:${options.port ?? 0}`,
    `-approval=${deviceApproval}`,
    `-key-life=${keyLifeDays * 24}h`,
  ];
  const child = spawn(options.binary, flags, { stdio: ["pipe", "pipe", log], env: {} });
  closeSync(log);
  await once(child, "spawn");
  const ready = await readyLine(child, join(options.dir, "control.log"));
  const admin = async (method: string, path: string, body?: unknown, signal?: AbortSignal) => {
    const response = await fetch(`${ready.adminUrl}${path}`, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
    if (!response.ok && response.status !== 404) {
      const text = (await response.text()).trim();
      if (response.status === 409) throw new Refusal(text);
      throw new Error(`control ${method} ${path}: HTTP ${response.status} ${text}`);
    }
    return response;
  };
  const node = (nodeId: string) => `/nodes/${encodeURIComponent(nodeId)}`;
  return {
    url: ready.controlUrl,
    faults: {
      add: async (fault) => {
        const times = fault.effect.kind === "down" ? 0 : fault.times;
        await admin("POST", "/faults", { ...fault, times });
      },
      remove: async (id) => void (await admin("DELETE", `/faults/${id}`)),
      async hits() {
        const list = (await (await admin("GET", "/faults")).json()) as {
          faults: { id: number; hits: number }[];
        };
        return new Map(list.faults.map(({ id, hits }) => [id, hits]));
      },
    },
    addKey: async (text, key) => {
      await admin("POST", "/keys", { ...key, key: text });
    },
    keys: async () => ((await (await admin("GET", "/keys")).json()) as { keys: ControlKey[] }).keys,
    revokeKey: async (id) => (await admin("DELETE", `/keys/${encodeURIComponent(id)}`)).ok,
    devices: async (after, signal) => {
      const query = after === undefined ? "" : `?after=${after}`;
      const list = await (await admin("GET", `/nodes${query}`, undefined, signal)).json();
      const { version, nodes } = list as { version: number; nodes: ControlDevice[] };
      return { version, devices: nodes };
    },
    changeDevice: async (nodeId, change) => (await admin("PATCH", node(nodeId), change)).ok,
    deleteDevice: async (nodeId, actor = "") =>
      (await admin("DELETE", `${node(nodeId)}?actor=${encodeURIComponent(actor)}`)).ok,
    async events(after, signal) {
      const list = await (await admin("GET", `/events?after=${after}`, undefined, signal)).json();
      return (list as { events: ControlEvent[] }).events;
    },
    advance: async (ms) => void (await admin("POST", "/clock", { advanceMs: ms })),
    close: () => endProcess(child),
  };
}

async function readyLine(child: ChildProcess, log: string): Promise<Ready> {
  if (!child.stdout) throw new Error("the control server has no standard output");
  for await (const line of createInterface({ input: child.stdout })) return JSON.parse(line) as Ready;
  throw new Error(`the control server ended before it listened; see ${log}`);
}

/** Closes the process's stdin and asks it to end; after 5 s it is killed. Resolves when it is gone. */
export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.stdin?.destroy();
  child.kill("SIGTERM");
  const late = new AbortController();
  const kill = delay(5_000, undefined, { signal: late.signal }).then(
    () => child.kill("SIGKILL"),
    () => false,
  );
  await gone;
  late.abort();
  await kill;
}
