/** What a local cloud of folder machines holds on the host: a subnet of loopback, and a folder for sockets. */
import { randomInt } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Folders in a state folder that are a local cloud's: machines, their rescue systems, snapshots, volumes. */
const ownFolder = /^(\d+(-rescue)?|snapshot-\d+|volume-\d+)$/;

/** A folder with a short path for the machines' sockets, with a note of whose it is. */
export async function makeSocketDir(stateDir: string): Promise<string> {
  const dir = await mkdtemp(join(shortTmp(), socketPrefix));
  await chmod(dir, 0o700);
  await writeFile(join(dir, "owner"), JSON.stringify({ pid: process.pid, stateDir }), { mode: 0o600 });
  return dir;
}

const socketPrefix = "clawpool-m-";

/**
 * Removes the folders of local clouds that were killed. Their processes have ended by themselves: gateways and
 * hand-over programs when their stdin did, the rest with the process that was killed.
 */
export async function sweep(): Promise<void> {
  for (const name of await readdir(shortTmp())) {
    if (!name.startsWith(socketPrefix)) continue;
    const dir = join(shortTmp(), name);
    const owner = await readFile(join(dir, "owner"), "utf8").then(JSON.parse, () => null);
    // Another user's cannot be read; one without a note is just being made.
    if (owner === null || isAlive(owner.pid)) continue;
    for (const machine of await readdir(owner.stateDir).catch(() => [])) {
      if (ownFolder.test(machine)) await rm(join(owner.stateDir, machine), { recursive: true, force: true });
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

export interface Subnet {
  /** The first three numbers of its addresses. */
  readonly prefix: string;
  /** As long as it listens, the subnet is this local cloud's. */
  readonly claim: Server;
}

/** A /24 of 127.0.0.0/8 for one local cloud, claimed by listening on its first address as long as it runs. */
export async function claimSubnet(port: number): Promise<Subnet> {
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

export async function listen(host: string, port: number): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((done, reject) => {
    server.once("error", reject);
    server.listen(port, host, done);
  });
  return server;
}

export async function close(server: Server | null): Promise<void> {
  if (server) await new Promise<void>((done) => server.close(() => done()));
}

const shortTmp = () => (tmpdir().length <= 50 ? tmpdir() : "/tmp");
