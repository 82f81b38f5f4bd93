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
  /** Logged out. */
  readonly expired: boolean;
  readonly ephemeral: boolean;
  readonly created: string;
  readonly lastSeen: string;
  /** The auth key it joined by. */
  readonly keyId: string;
  readonly nodeKey: string;
  readonly machineKey: string;
  readonly os: string;
  readonly clientVersion: string;
}

interface DeviceList {
  /** Grows with every change of the tailnet. */
  readonly version: number;
  readonly devices: readonly ControlDevice[];
}

export interface Control {
  /** For `--login-server`; null when only simulated nodes can join. */
  readonly url: string | null;
  addKey(text: string, key: NewKey): Promise<void>;
  keys(): Promise<readonly ControlKey[]>;
  /** False when there is no such key. A revoked one stays listed. */
  revokeKey(id: string): Promise<boolean>;
  /** With `after`: when the list is newer than that version, or after 25 s at the latest. */
  devices(after?: number, signal?: AbortSignal): Promise<DeviceList>;
  /** Cuts the node off: its session ends, its key is refused, its peers forget it. False when it is not there. */
  deleteDevice(nodeId: string): Promise<boolean>;
  close(): Promise<void>;
}

interface RealControlOptions {
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
  const child = spawn(options.binary, ["-listen", `${options.host}:${options.port ?? 0}`], {
    stdio: ["pipe", "pipe", log],
    env: {},
  });
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
      throw new Error(`control ${method} ${path}: HTTP ${response.status} ${await response.text()}`);
    }
    return response;
  };
  return {
    url: ready.controlUrl,
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
    deleteDevice: async (nodeId) => (await admin("DELETE", `/nodes/${encodeURIComponent(nodeId)}`)).ok,
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
