/**
 * A real node of the tailnet on this host, without root and without a tunnel device: tailscaled in userspace
 * networking. Tests and benchmarks use it as "another node" that looks at a machine through the tailnet.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { TailscaleBinaries } from "./build.ts";
import { endProcess } from "./control.ts";
import { type JoinOptions, type LocalApi, localApi } from "./local-api.ts";

interface TailnetDaemon {
  readonly api: LocalApi;
  /** The daemon's Unix socket. */
  readonly socket: string;
  readonly log: string;
  close(): Promise<void>;
}

export interface TailnetNode extends TailnetDaemon {
  readonly nodeId: string;
  /** IPv4 first. */
  readonly addresses: readonly string[];
  /** From the join call to state Running. */
  readonly joinMs: number;
  /** Connects and hangs up; the milliseconds until the connection stood. */
  dial(address: string, port: number, signal?: AbortSignal): Promise<number>;
  /** An HTTP request through the tailnet to a host given by address. */
  fetch(
    url: string,
    init?: {
      readonly method?: string;
      readonly headers?: Record<string, string>;
      readonly body?: string;
      readonly signal?: AbortSignal;
    },
  ): Promise<{
    readonly status: number;
    readonly headers: NodeJS.Dict<string | string[]>;
    readonly body: string;
  }>;
}

interface StartDaemonOptions {
  readonly binaries: Pick<TailscaleBinaries, "tailscaled">;
  /** State, socket and log; a short path, as a socket's must stay below 108 bytes. */
  readonly dir: string;
  /** Everything goes through the relay, as between machines that see no way to each other. */
  readonly relayOnly?: boolean;
}

/** A tailscaled that is logged out. It ends with this process, however that ends. */
export async function startDaemon({
  binaries,
  dir,
  relayOnly = false,
}: StartDaemonOptions): Promise<TailnetDaemon> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const socket = join(dir, "s");
  const log = join(dir, "tailscaled.log");
  if (Buffer.byteLength(socket) > 107) throw new Error(`too long for a Unix socket: ${socket}`);
  if (await accepts(socket)) throw new Error(`another tailscaled runs in ${dir}`);
  const output = openSync(log, "a", 0o600);
  const flags = ["--tun=userspace-networking", `--statedir=${dir}`, `--socket=${socket}`, "--port=0"];
  const child = spawn(binaries.tailscaled, [...flags, "--no-logs-no-support"], {
    stdio: ["ignore", output, output, "pipe"],
    env: {
      HOME: dir,
      PATH: process.env.PATH,
      TS_LOGS_DIR: dir,
      // A test that would talk to the real service ends with a panic instead.
      TS_PANIC_IF_HIT_MAIN_CONTROL: "1",
      // Loopback alone does not count as a network otherwise.
      TS_ASSUME_NETWORK_UP_FOR_TEST: "1",
      TS_DISABLE_PORTMAPPER: "1",
      TS_PARENT_DEATH_FD: "3",
      ...(relayOnly ? { TS_DEBUG_NEVER_DIRECT_UDP: "1" } : {}),
    },
  });
  closeSync(output);
  await once(child, "spawn");
  const close = async () => {
    await endProcess(child);
    for (const stream of child.stdio) stream?.destroy();
  };
  try {
    for (const end = Date.now() + 15_000; !(await accepts(socket)); ) {
      if (child.exitCode !== null) throw new Error(`tailscaled ended with ${child.exitCode}; see ${log}`);
      if (Date.now() > end) throw new Error(`tailscaled does not answer on ${socket}; see ${log}`);
      // A process that comes up on its own announces nothing; 10 ms is well below its start time of 60-100 ms.
      await delay(10);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { api: localApi(socket), socket, log, close };
}

/** A daemon that is in the tailnet when this resolves. */
export async function startNode(options: StartDaemonOptions & JoinOptions): Promise<TailnetNode> {
  const daemon = await startDaemon(options);
  try {
    const joinMs = await daemon.api.join(options);
    const { Self } = await daemon.api.status();
    if (!Self?.TailscaleIPs?.length) throw new Error("tailscaled is running without an address");
    const { api } = daemon;
    return {
      ...daemon,
      nodeId: Self.ID,
      addresses: Self.TailscaleIPs,
      joinMs,
      async dial(address, port, signal) {
        const started = performance.now();
        const socket = await api.dial(address, port, signal);
        const ms = performance.now() - started;
        socket.destroy();
        return ms;
      },
      fetch: (url, init = {}) => fetchThrough(api, new URL(url), init),
    };
  } catch (error) {
    await daemon.close();
    throw error;
  }
}

async function fetchThrough(
  api: LocalApi,
  url: URL,
  init: NonNullable<Parameters<TailnetNode["fetch"]>[1]>,
): ReturnType<TailnetNode["fetch"]> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const socket = await api.dial(host, Number(url.port || 80), init.signal);
  const agent = new Agent();
  agent.createConnection = () => socket;
  try {
    return await new Promise((resolve, reject) => {
      const { method = "GET", headers = {}, signal } = init;
      const outgoing = request(url, { agent, method, headers: { connection: "close", ...headers }, signal });
      outgoing.once("error", reject);
      outgoing.once("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("error", reject);
        response.once("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString("utf8"),
          }),
        );
      });
      outgoing.end(init.body);
    });
  } finally {
    socket.destroy();
  }
}

const accepts = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
