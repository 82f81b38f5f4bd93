/** What there is of one local cloud on this host, found without the help of what made it. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { registryDir } from "./network.ts";

/** Mounts, processes, interfaces, rules, cgroups, loop devices, registry entries and folders, each in words. */
export async function traces(id: string, stateDir: string): Promise<readonly string[]> {
  const found: string[] = [];
  const lines = async (file: string, ...args: string[]) => (await execa(file, args)).stdout.split("\n");
  const note = (kind: string, texts: readonly string[]) => {
    for (const text of texts)
      if (text.includes(id) || text.includes(stateDir)) found.push(`${kind}: ${text}`);
  };
  note("mount", (await readFile("/proc/self/mountinfo", "utf8")).split("\n"));
  note("interface", await lines("ip", "-o", "link"));
  note("address", await lines("ip", "-o", "address"));
  note("nft table", await lines("nft", "list", "tables"));
  note("iptables rule", await lines("iptables", "-w", "-S"));
  note("process", await processes());
  for (const line of (await readFile("/proc/self/mounts", "utf8")).split("\n")) {
    const [, path, type] = line.split(" ");
    if (path && type?.startsWith("cgroup")) note(`cgroup in ${path}`, await readdir(path));
  }
  note("loop device", await loopFiles());
  note("registry", await contents(registryDir));
  note("folder", await contents(stateDir));
  note("nspawn folder", await contents("/run/systemd/nspawn/propagate"));
  return found;
}

/** Of every other process its command line, its mounts (machines have name spaces of their own) and its cgroups. */
async function processes(): Promise<readonly string[]> {
  const found: string[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    // A zombie holds nothing but its number, until the host's init has asked for its exit status.
    if (/^State:\s+Z/m.test(await readOr(`/proc/${pid}/status`))) continue;
    const command = (await readOr(`/proc/${pid}/cmdline`)).replaceAll("\0", " ");
    const rootMount = (await readOr(`/proc/${pid}/mounts`))
      .split("\n")
      .filter((line) => line.includes("overlay"));
    found.push(
      `${pid} ${command.slice(0, 200)} [${rootMount.join()}] ${await readOr(`/proc/${pid}/cgroup`)}`,
    );
  }
  return found;
}

async function loopFiles(): Promise<readonly string[]> {
  const names = (await readdir("/sys/block")).filter((name) => name.startsWith("loop"));
  return Promise.all(
    names.map(async (name) => `${name} ${await readOr(join("/sys/block", name, "loop/backing_file"))}`),
  );
}

async function contents(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return Promise.all(
    names.map(async (name) => `${name} ${folder === registryDir ? await readOr(join(folder, name)) : ""}`),
  );
}

const readOr = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");
