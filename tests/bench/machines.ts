/**
 * `npm run bench:machines [-- --process 100 --nspawn 20]`: machines of the local cloud, switched on all at once: time
 * until sshd has said its name, and memory for each when their boots are over. 0 leaves a kind out.
 * Writes docs/benchmarks/machines.md.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { MachineBackend } from "../cloud/machines/backend.ts";
import { createNspawnBackend } from "../cloud/machines/nspawn/backend.ts";
import { ed25519KeyPair, userData } from "../cloud/machines/probe.ts";
import { createProcessBackend } from "../cloud/machines/process/backend.ts";
import { describeMachine, quantile, table } from "./handover/statistics.ts";

const { values } = parseArgs({
  options: { process: { type: "string", default: "100" }, nspawn: { type: "string", default: "20" } },
});

interface Measured {
  readonly kind: string;
  readonly n: number;
  /** Milliseconds from `powerOn` to sshd's banner; machines one after the other, each the only one. */
  readonly alone: readonly number[];
  /** The same with all switched on at once. */
  readonly together: readonly number[];
  /** Bytes for each, when the boots of all are over. */
  readonly memory: number;
  readonly load: number;
}

/** Milliseconds until the server at the address has sent the beginning of its banner (RFC 4253, section 4.2). */
async function untilSshd(host: string, port: number, from: number): Promise<number> {
  while (!(await banner(host, port))) await delay(20);
  return performance.now() - from;
}

function banner(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port, timeout: 1_000 });
    const end = (found: boolean) => {
      socket.destroy();
      resolve(found);
    };
    socket.on("data", (data) => end(data.toString("latin1").startsWith("SSH-2.0")));
    socket.on("timeout", () => end(false));
    socket.on("error", () => end(false));
    socket.on("close", () => end(false));
  });
}

async function measure(
  backend: MachineBackend,
  port: number,
  n: number,
  booted: (id: number) => Promise<void>,
  /** Bytes that all of them hold. */
  memoryOf: (ids: readonly number[]) => Promise<number>,
): Promise<Measured> {
  const create = async (id: number) => {
    const keys = { host: ed25519KeyPair("host"), user: ed25519KeyPair("user") };
    const { ipv4 } = await backend.create({
      ...{ id, name: `claw-bench-${id}`, image: "debian-12", location: "fsn1", cores: 2, memoryGiB: 4 },
      userData: userData(keys.host, keys.user),
      sshKeys: [ed25519KeyPair("root").public],
    });
    return { id, ipv4 };
  };
  const start = async ({ id, ipv4 }: { id: number; ipv4: string }) => {
    const from = performance.now();
    await backend.powerOn(id);
    return untilSshd(ipv4, port, from);
  };
  await backend.start();
  try {
    const alone: number[] = [];
    for (let id = 1; id <= 10; id++) {
      alone.push(await start(await create(id)));
      await booted(id);
      await backend.destroy(id);
    }
    const machines = [];
    for (let i = 1; i <= n; i++) machines.push(await create(100 + i));
    const before = await memoryOf([]);
    const together = await Promise.all(machines.map(start));
    const load = loadavg()[0] ?? 0;
    for (const { id } of machines) await booted(id);
    const memory = ((await memoryOf(machines.map(({ id }) => id))) - before) / n;
    return { kind: backend.kind, n, alone, together, memory, load };
  } finally {
    await backend.stop();
  }
}

/** Without it the growth would be mostly what the collector has not looked at yet. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
}

async function measureProcess(n: number): Promise<Measured> {
  const stateDir = mkdtempSync(join(tmpdir(), "clawpool-bench-"));
  try {
    const backend = createProcessBackend({ stateDir, sshPort: 22_622 });
    const inThisProcess = async () => {
      collectGarbage();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    return await measure(backend, 22_622, n, async () => {}, inThisProcess);
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
}

async function measureNspawn(n: number): Promise<Measured> {
  const stateDir = mkdtempSync(join(tmpdir(), "clawpool-bench-"));
  try {
    const backend = createNspawnBackend({ stateDir, onProgress: console.log });
    const booted = async (id: number) => {
      const { code, stdout } = await backend.exec(id, ["systemctl", "is-system-running", "--wait"]);
      if (code !== 0) throw new Error(`machine ${id} is ${stdout.trim()}`);
    };
    const inCgroups = async (ids: readonly number[]) => {
      const each = await Promise.all(ids.map((id) => backend.memory(id)));
      return each.reduce((sum, bytes) => sum + bytes, 0);
    };
    return await measure(backend, 22, n, booted, inCgroups);
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
}

const counts = { process: Number(values.process), nspawn: Number(values.nspawn) };
for (const [kind, n] of Object.entries(counts)) {
  if (!Number.isInteger(n) || n < 0 || n > 240) throw new Error(`--${kind}=${n}: want a number up to 240`);
}
const all: Measured[] = [];
if (counts.process > 0) all.push(await measureProcess(counts.process));
if (counts.nspawn > 0) all.push(await measureNspawn(counts.nspawn));

const seconds = (ms: number) => (ms < 1_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1_000).toFixed(2)} s`);
const both = (list: readonly number[]) => [quantile(list, 0.5), quantile(list, 0.99)].map(seconds);
const text = `# Machines of the local cloud, all at once

From switching a machine on to the first bytes of its SSH server. *Alone*: one machine after the other. *At once*: all
switched on in the same moment. Memory for each when all have finished booting: of an nspawn machine what its cgroup
holds without the cache of its disk, after cloud-init; of a process machine by how much the heap of the one process
that they all live in has grown. No gateway runs on either. Written by \`npm run bench:machines\`.

- Machine: ${describeMachine()}
- Load average when the last one answered: ${all.map(({ kind, load }) => `${kind} ${load.toFixed(1)}`).join(", ")}
- p99 by nearest rank: the largest of up to 99, the second largest of 100
- Date: ${new Date().toISOString().slice(0, 10)}

${table(
  ["machines", "n", "alone, p50", "alone, p99 (n = 10)", "at once, p50", "at once, p99", "memory for each"],
  all.map(({ kind, n, alone, together, memory }) => [
    kind,
    n,
    ...both(alone),
    ...both(together),
    memory < 2 ** 20 ? `${(memory / 2 ** 10).toFixed(0)} KiB` : `${(memory / 2 ** 20).toFixed(1)} MiB`,
  ]),
)}
`;
writeFileSync(fileURLToPath(new URL("../../docs/benchmarks/machines.md", import.meta.url)), text);
console.log(text);
