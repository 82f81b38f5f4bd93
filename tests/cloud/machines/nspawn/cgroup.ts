/**
 * The cgroups of each machine, one of the same name in every hierarchy that the host has. The v2 one is how a plug is
 * pulled: `cgroup.kill` ends every process of a machine and the nspawn above it at once, whoever started them, so no
 * process id has to be recorded anywhere. It also keeps machines apart: with `--keep-unit` systemd-nspawn puts its
 * payload below the cgroup it was started in, and two payloads in one cgroup would be two service managers that fight
 * over it. The limits of a server type are set where the host has the controllers: in v2, or beside it in v1.
 */
import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { cpusOf } from "./cpus.ts";

export interface Limits {
  readonly cores: number;
  readonly memoryGiB: number;
  /** Decides which of the host's CPUs they are when there are more than `cores`. */
  readonly slot: number;
}

interface Mount {
  readonly path: string;
  readonly type: string;
  readonly options: readonly string[];
}

/** Where cgroup v2 is mounted: alone, or beside v1 ("hybrid"); undefined if it is not. */
export async function cgroupMount(): Promise<string | undefined> {
  return (await mounts()).find(({ type }) => type === "cgroup2")?.path;
}

async function mounts(): Promise<readonly Mount[]> {
  const text = await readFile("/proc/self/mounts", "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => {
    const [, path, type, options = ""] = line.split(" ");
    return path && type?.startsWith("cgroup") ? [{ path, type, options: options.split(",") }] : [];
  });
}

/** Name of the cgroup that holds the machines of one local cloud, relative to where cgroups are mounted. */
export const rigCgroup = (rig: string): string => `clawpool-${rig}`;

/** Controllers that limit or count; with v1 the files below are theirs. */
const controllers = ["cpu", "cpuacct", "cpuset", "memory", "blkio"];

/**
 * Makes a cgroup in each hierarchy and returns their folders: a process joins all of them. Limits that no hierarchy of
 * the host offers do not hold.
 *
 * @throws without cgroup v2.
 */
export async function makeCgroup(name: string, limits?: Limits): Promise<readonly string[]> {
  const all = await mounts();
  const unified = all.find(({ type }) => type === "cgroup2");
  if (!unified) throw new Error("cgroup v2 is not mounted");
  const path = join(unified.path, name);
  await mkdir(path, { recursive: true });
  for (const parent of [unified.path, join(path, "..")]) {
    // One by one: a controller that v1 has is refused, and all that were asked for with it.
    for (const each of ["cpu", "cpuset", "memory", "io"]) {
      await writeFile(join(parent, "cgroup.subtree_control"), `+${each}`).catch(() => {});
    }
  }
  const folders = [path];
  if (limits) await limitUnified(path, limits);
  for (const mount of all) {
    if (mount.type !== "cgroup" || !controllers.some((each) => mount.options.includes(each))) continue;
    const folder = join(mount.path, name);
    await mkdir(folder, { recursive: true });
    if (mount.options.includes("cpuset")) await fillCpuset(mount.path, name);
    await set(join(folder, ".."), "cpu.shares", String(rigShares));
    if (limits) await limitLegacy(folder, limits);
    folders.push(folder);
  }
  return folders;
}

/**
 * In v1 a group counts as one process of those that are in none (1024 shares), and all machines together are a group:
 * on a busy host they would hardly get on. So they count as sixteen. In v2 what they compete with are groups too.
 */
const rigShares = 16 * 1024;
const periodUs = 100_000;
const quotaUs = ({ cores }: Limits) => Math.round(cores * periodUs);
const bytes = ({ memoryGiB }: Limits) => String(Math.round(memoryGiB * 2 ** 30));

async function limitUnified(path: string, limits: Limits): Promise<void> {
  await set(path, "cpu.max", `${quotaUs(limits)} ${periodUs}`);
  await set(path, "memory.max", bytes(limits));
  const available = await gone(readFile(join(path, "cpuset.cpus.effective"), "utf8"));
  if (available) await set(path, "cpuset.cpus", cpusOf(available, limits));
}

async function limitLegacy(path: string, limits: Limits): Promise<void> {
  await set(path, "cpu.cfs_period_us", String(periodUs));
  await set(path, "cpu.cfs_quota_us", String(quotaUs(limits)));
  await set(path, "memory.limit_in_bytes", bytes(limits));
  const available = await gone(readFile(join(path, "../cpuset.cpus"), "utf8"));
  if (available) await set(path, "cpuset.cpus", cpusOf(available, limits));
}

/** A new cpuset of v1 has no CPU and no memory node, and nobody can join it. */
async function fillCpuset(mount: string, name: string): Promise<void> {
  let path = mount;
  for (const part of name.split("/")) {
    const parent = path;
    path = join(path, part);
    for (const file of ["cpuset.cpus", "cpuset.mems"]) {
      const value = (await readFile(join(path, file), "utf8")).trim();
      if (value === "") await set(path, file, await readFile(join(parent, file), "utf8"));
    }
  }
}

/** Nothing happens where there is no such file: then another hierarchy has the controller, or none. */
async function set(path: string, file: string, value: string): Promise<void> {
  await gone(writeFile(join(path, file), value, { flag: "r+" }));
}

/** Stops or thaws everything in the cgroup and below; resolves when it stands still, or runs. */
export async function freezeCgroup(name: string, frozen: boolean): Promise<void> {
  const mount = await cgroupMount();
  if (!mount) return;
  await set(join(mount, name), "cgroup.freeze", frozen ? "1" : "0");
  const state = `frozen ${frozen ? 1 : 0}`;
  for (;;) {
    const events = await gone(readFile(join(mount, name, "cgroup.events"), "utf8"));
    if (events === undefined || events.includes(state)) return;
    await delay(2);
  }
}

/**
 * Kills everything in the cgroup and below, waits until it is empty and removes it. Nothing happens if it is not
 * there; several may do it at once, which is why what vanishes on the way is no error.
 */
export async function killCgroup(name: string): Promise<void> {
  const mount = await cgroupMount();
  if (!mount) return;
  const path = join(mount, name);
  await set(path, "cgroup.kill", "1");
  for (;;) {
    const events = await gone(readFile(join(path, "cgroup.events"), "utf8"));
    if (!events?.includes("populated 1")) break;
    await delay(5);
  }
  // On a hybrid host systemd-nspawn makes the same names in v1's name=systemd hierarchy.
  for (const each of await mounts()) await removeTree(join(each.path, name));
}

async function removeTree(path: string): Promise<void> {
  for (const entry of (await gone(readdir(path, { withFileTypes: true }))) ?? []) {
    if (entry.isDirectory()) await removeTree(join(path, entry.name));
  }
  await gone(rmdir(path));
}

/** ENODEV is what an open file of a cgroup gives when the cgroup has been removed. */
async function gone<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENODEV") return undefined;
    throw error;
  }
}
