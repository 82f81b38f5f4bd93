/**
 * Which local clouds exist on this host: one file for each in /run/clawpool-cloud, written before anything else is
 * made. Whoever starts a local cloud first removes what the dead ones left, even those that were killed with
 * SIGKILL. Only what carries a dead cloud's own names is touched: its cgroup (and so its processes and, with them,
 * their mounts and private networks, which live in name spaces of their own), bridge, nft table, loop devices over
 * its files, and folder.
 */
import { randomUUID } from "node:crypto";
import { link, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { killCgroup, rigCgroup } from "./cgroup.ts";
import { removeTraces } from "./container.ts";
import {
  isRouted,
  type Network,
  registryDir,
  restoreKernelSwitches,
  setKernelSwitches,
  tearDownNetwork,
} from "./network.ts";
import { unplugLoopsBelow } from "./volumes.ts";

export interface Rig {
  /** Six hexadecimal digits. */
  readonly id: string;
  readonly owner: ProcessId;
  /** Folder with the machines' disks and consoles. */
  readonly dir: string;
  readonly network: Network;
}

/** A process id alone is used again by the kernel; with the start time (clock ticks since boot) it is one process. */
export interface ProcessId {
  readonly pid: number;
  readonly startTime: string;
}

export async function thisProcess(): Promise<ProcessId> {
  const startTime = await startTimeOf(process.pid);
  if (!startTime) throw new Error("/proc is not mounted");
  return { pid: process.pid, startTime };
}

/** Field 22 of /proc/<pid>/stat (proc(5)); the second field may hold blanks and brackets. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[22 - 3];
}

export async function isAlive({ pid, startTime }: ProcessId): Promise<boolean> {
  return (await startTimeOf(pid)) === startTime;
}

/** What the names of a local cloud's containers begin with; a number of at most three digits follows. */
export const containerPrefix = (id: string): string => `c${id}-`;

const rigFile = (id: string): string => join(registryDir, `${id}.json`);
const claimFile = (net: number): string => join(registryDir, `net-${net}`);

/**
 * Claims a /24 that no other local cloud has and no route of the host covers, beginning at one derived from the id.
 *
 * @throws when all 256 are taken.
 */
export async function claimSubnet(id: string, owner: ProcessId): Promise<number> {
  for (let tries = 0; tries < 256; tries++) {
    const net = (Number.parseInt(id, 16) + tries) % 256;
    if (!(await isRouted(net)) && (await writeNew(claimFile(net), JSON.stringify(owner)))) return net;
  }
  throw new Error("no free /24 for the machines of a local cloud");
}

/** @throws when a local cloud has this id already; its subnet claim is given back. */
export async function register(rig: Rig): Promise<void> {
  if (await writeNew(rigFile(rig.id), JSON.stringify(rig))) return;
  await rm(claimFile(rig.network.net), { force: true });
  throw new Error(`a local cloud with the id ${rig.id} is running already`);
}

/**
 * Writes a file that must not exist yet; false if it does. By draft and link, so that a file that is there is whole
 * and two processes cannot both have made it.
 */
async function writeNew(path: string, text: string): Promise<boolean> {
  await mkdir(registryDir, { recursive: true, mode: 0o700 });
  const draft = join(registryDir, `.draft-${process.pid}-${randomUUID()}`);
  await writeFile(draft, text, { flag: "wx" });
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return false;
  } finally {
    await rm(draft, { force: true });
  }
}

async function entries<T>(pattern: RegExp): Promise<readonly { path: string; value: T }[]> {
  const found: { path: string; value: T }[] = [];
  for (const name of await readdir(registryDir).catch(() => [])) {
    if (!pattern.test(name)) continue;
    const path = join(registryDir, name);
    // Another process may have removed it since the listing.
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text !== undefined) found.push({ path, value: JSON.parse(text) as T });
  }
  return found;
}

export async function rigs(): Promise<readonly Rig[]> {
  return (await entries<Rig>(/^[0-9a-f]{6}\.json$/)).map(({ value }) => value);
}

/** Takes down everything a local cloud has on this host; what is not there is no error. */
export async function removeRig(rig: Rig): Promise<void> {
  await killCgroup(rigCgroup(rig.id));
  await removeTraces(new RegExp(`^${containerPrefix(rig.id)}`));
  await tearDownNetwork(rig.network);
  await unplugLoopsBelow(rig.dir);
  await rm(rig.dir, { recursive: true, force: true });
  await rm(claimFile(rig.network.net), { force: true });
  await rm(rigFile(rig.id), { force: true });
  if ((await rigs()).length > 0) return;
  await restoreKernelSwitches();
  // One that registered meanwhile may have found them set and left them so.
  if ((await rigs()).length > 0) await setKernelSwitches();
}

/** Removes the local clouds whose owner is dead; returns their ids. */
export async function removeDeadRigs(): Promise<readonly string[]> {
  const dead: string[] = [];
  for (const rig of await rigs()) {
    if (await isAlive(rig.owner)) continue;
    await removeRig(rig);
    dead.push(rig.id);
  }
  // Claims of clouds that were killed before they had registered, and drafts of writes that were cut off.
  for (const { path, value } of await entries<ProcessId>(/^net-\d+$/)) {
    if (!(await isAlive(value))) await rm(path, { force: true });
  }
  for (const name of await readdir(registryDir).catch(() => [])) {
    const pid = /^\.draft-(\d+)-/.exec(name)?.[1];
    if (pid && !(await startTimeOf(Number(pid)))) await rm(join(registryDir, name), { force: true });
  }
  return dead;
}

/** Removes the local clouds that this process has not stopped; returns their ids. */
export async function removeOwnRigs(): Promise<readonly string[]> {
  const own = await thisProcess();
  const left: string[] = [];
  for (const rig of await rigs()) {
    if (rig.owner.pid !== own.pid || rig.owner.startTime !== own.startTime) continue;
    await removeRig(rig);
    left.push(rig.id);
  }
  return left;
}
