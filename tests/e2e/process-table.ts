/**
 * A worker that looks at every process below this one, over and over, and remembers what anybody on this host could
 * read of them: command lines, and the environments of what the daemon started. Says what it saw when it is asked to end.
 */
import { readdirSync, readFileSync } from "node:fs";
import { parentPort } from "node:worker_threads";

export interface Seen {
  readonly commandLines: readonly string[];
  /** Of the daemon and everything below it, `NAME=value` lines. */
  readonly environments: readonly string[];
  readonly looks: number;
}

const everyMs = 60;
const commandLines = new Set<string>();
const environments = new Set<string>();
let looks = 0;

const read = (file: string): string => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // It ended in between.
    return "";
  }
};

function look(): void {
  looks++;
  const parents = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = read(`/proc/${entry}/stat`);
    parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
  }
  const lines = new Map<number, string>();
  const lineOf = (pid: number): string => {
    const known = lines.get(pid);
    if (known !== undefined) return known;
    const line = read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
    lines.set(pid, line);
    return line;
  };
  for (const pid of parents.keys()) {
    let ours = false;
    let daemons = false;
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = parents.get(at)) {
      if (lineOf(at).includes("pool/cli/main.ts")) daemons = true;
      if (at === process.pid) ours = true;
    }
    if (!ours || pid === process.pid) continue;
    commandLines.add(lineOf(pid));
    if (daemons) environments.add(read(`/proc/${pid}/environ`).replaceAll("\0", "\n"));
  }
}

const timer = setInterval(look, everyMs);
parentPort?.once("message", () => {
  clearInterval(timer);
  look();
  const seen: Seen = { commandLines: [...commandLines], environments: [...environments], looks };
  parentPort?.postMessage(seen);
  parentPort?.close();
});
