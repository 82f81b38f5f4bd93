/**
 * Who a process is, beyond its number: numbers are used again, after a reboot at the latest. On Linux that is the
 * boot's id and the time of the start in clock ticks since boot; elsewhere what `ps` says of the start.
 */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";

export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
  readonly bootId: string;
}

/** The process that has this number now; null when there is none, or only one that has ended and is not waited for. */
export async function identify(pid: number): Promise<ProcessIdentity | null> {
  const startTime = process.platform === "linux" ? await linuxStart(pid) : await portableStart(pid);
  return startTime === null ? null : { pid, startTime, bootId: await bootId() };
}

export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const now = await identify(identity.pid);
  return now !== null && now.startTime === identity.startTime && now.bootId === identity.bootId;
}

/** The process whose environment has `name=value`; Linux only, null elsewhere. */
export async function findByEnvironment(name: string, value: string): Promise<ProcessIdentity | null> {
  if (process.platform !== "linux") return null;
  const wanted = `${name}=${value}`;
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const environment = await readFile(`/proc/${entry}/environ`, "utf8").catch(() => "");
    if (environment.split("\0").includes(wanted)) return identify(Number(entry));
  }
  return null;
}

async function linuxStart(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  if (stat === null) return null;
  // The second field is the program's name in parentheses and may hold anything: count from its end.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? null : (fields[19] ?? null);
}

async function portableStart(pid: number): Promise<string | null> {
  const result = await promisify(execFile)("ps", ["-o", "lstart=", "-p", String(pid)]).catch(() => null);
  return result?.stdout.trim() || null;
}

async function bootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "")).trim();
}
