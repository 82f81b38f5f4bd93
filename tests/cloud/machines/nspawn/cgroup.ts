/**
 * One cgroup (v2) for each machine. It is how a plug is pulled: `cgroup.kill` ends every process of a machine and
 * the nspawn above it at once, whoever started them, so no process id has to be recorded anywhere. It also keeps
 * machines apart: with `--keep-unit` systemd-nspawn puts its payload below the cgroup it was started in, and two
 * payloads in one cgroup would be two service managers that fight over it.
 */
import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** Where cgroup v2 is mounted: alone, or beside v1 ("hybrid"); undefined if it is not. */
export async function cgroupMount(): Promise<string | undefined> {
  return (await mounts()).find(({ type }) => type === "cgroup2")?.path;
}

async function mounts(): Promise<readonly { path: string; type: string }[]> {
  const text = await readFile("/proc/self/mounts", "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => {
    const [, path, type] = line.split(" ");
    return path && type?.startsWith("cgroup") ? [{ path, type }] : [];
  });
}

/** Name of the cgroup that holds the machines of one local cloud, relative to where cgroups are mounted. */
export const rigCgroup = (rig: string): string => `clawpool-${rig}`;

/**
 * Makes a machine's cgroup and returns its folder. Its limits hold only where v2 has the controllers: on a hybrid
 * host they belong to v1, and a machine may then use all of the host's cores and memory.
 *
 * @throws without cgroup v2.
 */
export async function makeCgroup(
  name: string,
  limits: { cores: number; memoryGiB: number },
): Promise<string> {
  const mount = await cgroupMount();
  if (!mount) throw new Error("cgroup v2 is not mounted");
  const path = join(mount, name);
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "..", "cgroup.subtree_control"), "+cpu +memory").catch(() => {});
  const set = (file: string, value: string) => gone(writeFile(join(path, file), value, { flag: "r+" }));
  const periodUs = 100_000;
  await set("cpu.max", `${Math.round(limits.cores * periodUs)} ${periodUs}`);
  await set("memory.max", String(Math.round(limits.memoryGiB * 2 ** 30)));
  return path;
}

/**
 * Kills everything in the cgroup and below, waits until it is empty and removes it. Nothing happens if it is not
 * there; several may do it at once, which is why what vanishes on the way is no error.
 */
export async function killCgroup(name: string): Promise<void> {
  const mount = await cgroupMount();
  if (!mount) return;
  const path = join(mount, name);
  await gone(writeFile(join(path, "cgroup.kill"), "1", { flag: "r+" }));
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
