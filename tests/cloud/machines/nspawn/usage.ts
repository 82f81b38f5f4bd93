/** What a running machine has used, from the counters that the kernel keeps for its cgroups and its network cable. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { MachineUsage } from "../backend.ts";

interface DiskUsage {
  readonly readBytes: number;
  readonly readOperations: number;
  readonly writtenBytes: number;
  readonly writeOperations: number;
}

/**
 * @param cgroups the machine's folder in each hierarchy
 * @param port the host's end of its public network cable; null without one
 * @returns null when no hierarchy counts CPU time or disk operations.
 */
export async function usageOf(cgroups: readonly string[], port: string | null): Promise<MachineUsage | null> {
  const cpuSeconds = await first(cgroups, cpuTime);
  const disk = await first(cgroups, diskUsage);
  if (cpuSeconds === undefined || disk === undefined) return null;
  // What the host's end receives is what the machine has sent.
  const [networkOutBytes = 0, networkOutPackets = 0, networkInBytes = 0, networkInPackets = 0] = port
    ? await Promise.all(
        ["rx_bytes", "rx_packets", "tx_bytes", "tx_packets"].map((name) => counter(port, name)),
      )
    : [];
  return {
    cpuSeconds,
    diskReadBytes: disk.readBytes,
    diskReadOperations: disk.readOperations,
    diskWrittenBytes: disk.writtenBytes,
    diskWriteOperations: disk.writeOperations,
    networkInBytes,
    networkInPackets,
    networkOutBytes,
    networkOutPackets,
  };
}

/**
 * Bytes that a machine holds and cannot give back: memory of its processes, files in memory, and the kernel's own for
 * them; not what is cached of its disk. Null where no hierarchy counts it.
 */
export async function memoryOf(cgroups: readonly string[]): Promise<number | null> {
  const found = await first(cgroups, async (folder) => {
    const stat = await text(folder, "memory.stat");
    if (stat === undefined) return undefined;
    const value = (key: string) => Number(new RegExp(`^${key} (\\d+)$`, "m").exec(stat)?.[1] ?? 0);
    const legacyKernel = await text(folder, "memory.kmem.usage_in_bytes");
    return legacyKernel === undefined
      ? value("anon") + value("shmem") + value("kernel")
      : value("total_rss") + value("total_shmem") + Number(legacyKernel);
  });
  return found ?? null;
}

async function first<T>(
  folders: readonly string[],
  read: (folder: string) => Promise<T | undefined>,
): Promise<T | undefined> {
  for (const folder of folders) {
    const found = await read(folder);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function cpuTime(folder: string): Promise<number | undefined> {
  const legacy = await text(folder, "cpuacct.usage");
  if (legacy) return Number(legacy) / 1e9;
  const micros = /^usage_usec (\d+)$/m.exec((await text(folder, "cpu.stat")) ?? "")?.[1];
  // A v2 hierarchy beside v1 counts nothing of what belongs to v1's controllers.
  return micros === undefined || (await text(folder, "cgroup.controllers"))?.includes("cpu") !== true
    ? undefined
    : Number(micros) / 1e6;
}

/** In v1 what the kernel writes back later is nobody's: only reads and synchronous writes are counted there. */
async function diskUsage(folder: string): Promise<DiskUsage | undefined> {
  const unified = await text(folder, "io.stat");
  if (unified !== undefined) {
    const sum = (key: string) => total(unified, new RegExp(`^(\\d+):\\d+ .*\\b${key}=(\\d+)`));
    return {
      readBytes: sum("rbytes"),
      readOperations: sum("rios"),
      writtenBytes: sum("wbytes"),
      writeOperations: sum("wios"),
    };
  }
  const bytes = await text(folder, "blkio.throttle.io_service_bytes_recursive");
  const operations = await text(folder, "blkio.throttle.io_serviced_recursive");
  if (bytes === undefined || operations === undefined) return undefined;
  const read = /^(\d+):\d+ Read (\d+)/;
  const write = /^(\d+):\d+ Write (\d+)/;
  return {
    readBytes: total(bytes, read),
    readOperations: total(operations, read),
    writtenBytes: total(bytes, write),
    writeOperations: total(operations, write),
  };
}

/** Major number of loop devices: what goes through one is counted at the disk below it too. */
const loopMajor = "7";

function total(lines: string, pattern: RegExp): number {
  let sum = 0;
  for (const line of lines.split("\n")) {
    const [, major, value] = pattern.exec(line) ?? [];
    if (major !== undefined && major !== loopMajor) sum += Number(value);
  }
  return sum;
}

const counter = async (port: string, name: string): Promise<number> =>
  Number((await text(`/sys/class/net/${port}/statistics`, name)) ?? 0);

const text = (folder: string, file: string): Promise<string | undefined> =>
  readFile(join(folder, file), "utf8").catch(() => undefined);
