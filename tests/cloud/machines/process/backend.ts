/**
 * Machines that are folders: an SSH server each on a loopback address of its own, the real hand-over program, and
 * stand-ins for the gateway and tailscaled. Needs no root and no container; it shows that the parts fit together,
 * not that a Debian system boots.
 */
import { randomInt } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { MachineBackend, MachineSpec } from "../backend.ts";
import { notYet } from "../not-yet.ts";
import { type FolderMachine, folderMachine } from "./machine.ts";

export interface ProcessOptions {
  /** Where the machines' folders are kept while the local cloud runs. */
  readonly stateDir: string;
  /** Port of the machines' SSH servers, the same on all. Default 2222. */
  readonly sshPort?: number;
  /** Where tailscaled's stand-ins register; default: at the control URL that a join names. */
  readonly registerUrl?: string;
}

export interface ProcessBackend extends MachineBackend {
  readonly kind: "process";
  readonly sshPort: number;
  /** The folder that stands for a machine's root. */
  rootOf(id: number): string;
}

interface Entry {
  readonly machine: FolderMachine;
  readonly ipv4: string;
  readonly host: number;
  readonly root: string;
  /** Ends when what was asked for so far is done: switching on and off take their turns. */
  turn: Promise<unknown>;
}

export function createProcessBackend(options: ProcessOptions): ProcessBackend {
  const sshPort = options.sshPort ?? 2222;
  const stateDir = resolve(options.stateDir);
  const machines = new Map<number, Entry>();
  let subnet: { prefix: string; claim: Server } | null = null;
  let socketDir = "";

  const entry = (id: number): Entry => {
    const found = machines.get(id);
    if (!found) throw new Error(`no machine ${id}`);
    return found;
  };
  const inTurn = (id: number, work: (entry: Entry) => Promise<void>): Promise<void> => {
    const found = entry(id);
    const turn = found.turn.catch(() => {}).then(() => work(found));
    found.turn = turn;
    return turn;
  };

  return {
    ...notYet,
    kind: "process",
    sshPort,
    rootOf: (id) => entry(id).root,
    async missing() {
      const claim = await listen("127.86.13.1", 0).catch(() => null);
      await close(claim);
      if (claim) return [];
      const remedy =
        "use Linux, where all of 127.0.0.0/8 is there, or add the addresses to the loopback interface";
      return [{ part: "loopback addresses other than 127.0.0.1", remedy }];
    },
    async start() {
      if (subnet) return;
      subnet = await claimSubnet(sshPort);
      await sweep();
      socketDir = await mkdtemp(join(shortTmp(), socketPrefix));
      await chmod(socketDir, 0o700);
      await writeFile(join(socketDir, "owner"), JSON.stringify({ pid: process.pid, stateDir }), {
        mode: 0o600,
      });
      await mkdir(stateDir, { recursive: true, mode: 0o700 });
    },
    async create(spec: MachineSpec) {
      if (!subnet) throw new Error("the backend was not started");
      if (machines.has(spec.id)) throw new Error(`machine ${spec.id} exists`);
      const taken = new Set([...machines.values()].map(({ host }) => host));
      let host = 2;
      while (taken.has(host)) host++;
      if (host > 254) throw new Error("no free address for another machine");
      const ipv4 = `${subnet.prefix}.${host}`;
      const root = join(stateDir, String(spec.id));
      const machine = folderMachine({
        spec,
        root,
        address: ipv4,
        sshPort,
        socketDir,
        registerUrl: options.registerUrl,
      });
      const made = rm(root, { recursive: true, force: true }).then(() => machine.create());
      machines.set(spec.id, { machine, ipv4, host, root, turn: made });
      await made;
      return { ipv4 };
    },
    powerOn: async (id) => inTurn(id, ({ machine }) => machine.powerOn()),
    powerOff: async (id) => inTurn(id, ({ machine }) => machine.powerOff()),
    async shutdown(id) {
      entry(id);
      // Asked, not done: the caller sees isOn become false later.
      setImmediate(() => {
        if (machines.has(id)) inTurn(id, ({ machine }) => machine.powerOff()).catch(() => {});
      });
    },
    reboot: async (id) =>
      inTurn(id, async ({ machine }) => {
        await machine.powerOff();
        await machine.powerOn();
      }),
    isOn: (id) => machines.get(id)?.machine.on ?? false,
    async destroy(id) {
      await inTurn(id, async ({ machine, root }) => {
        await machine.powerOff();
        await rm(root, { recursive: true, force: true });
      });
      machines.delete(id);
    },
    async stop() {
      for (const id of [...machines.keys()]) await this.destroy(id);
      await close(subnet?.claim ?? null);
      subnet = null;
      if (socketDir !== "") await rm(socketDir, { recursive: true, force: true });
    },
  };
}

const socketPrefix = "clawpool-m-";

/**
 * Removes the folders of local clouds that were killed. Their processes have ended by themselves: gateways and
 * hand-over programs when their stdin did, the rest with the process that was killed.
 */
async function sweep(): Promise<void> {
  for (const name of await readdir(shortTmp())) {
    if (!name.startsWith(socketPrefix)) continue;
    const dir = join(shortTmp(), name);
    const owner = await readFile(join(dir, "owner"), "utf8").then(JSON.parse, () => null);
    // Another user's cannot be read; one without a note is just being made.
    if (owner === null || isAlive(owner.pid)) continue;
    for (const machine of await readdir(owner.stateDir).catch(() => [])) {
      if (/^\d+$/.test(machine)) await rm(join(owner.stateDir, machine), { recursive: true, force: true });
    }
    await rm(dir, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** A /24 of 127.0.0.0/8 for one local cloud, claimed by listening on its first address as long as it runs. */
async function claimSubnet(port: number): Promise<{ prefix: string; claim: Server }> {
  for (let tries = 0; tries < 64; tries++) {
    const prefix = `127.${randomInt(64, 255)}.${randomInt(0, 256)}`;
    try {
      return { prefix, claim: await listen(`${prefix}.1`, port) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    }
  }
  throw new Error(`no free /24 of 127.0.0.0/8 with port ${port}`);
}

async function listen(host: string, port: number): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((done, reject) => {
    server.once("error", reject);
    server.listen(port, host, done);
  });
  return server;
}

async function close(server: Server | null): Promise<void> {
  if (server) await new Promise<void>((done) => server.close(() => done()));
}

const shortTmp = () => (tmpdir().length <= 50 ? tmpdir() : "/tmp");
