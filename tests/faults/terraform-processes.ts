/** Terraform at work in a machine's folder, as the host's process table shows it. */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

const lookEveryMs = 20;

/** Argument lists of the processes that work in the folder, by process id. */
function processesIn(folder: string): Map<number, readonly string[]> {
  const found = new Map<number, readonly string[]>();
  for (const pid of readdirSync("/proc")) {
    try {
      if (!/^\d+$/.test(pid) || readlinkSync(`/proc/${pid}/cwd`) !== folder) continue;
      found.set(Number(pid), readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0"));
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

const isProvider = ([program = ""]: readonly string[]) => program.includes("terraform-provider-hcloud");

export const providerIn = (folder: string): number[] =>
  [...processesIn(folder)].flatMap(([pid, args]) => (isProvider(args) ? [pid] : []));

/** Terraform itself, without the provider that it started. */
export function terraformIn(folder: string, command?: string): number[] {
  return [...processesIn(folder)].flatMap(([pid, args]) => {
    const isTerraform = args[0]?.includes("terraform") && !isProvider(args);
    return isTerraform && (command === undefined || args[1] === command) ? [pid] : [];
  });
}

/** Resolves as soon as terraform runs this command in the folder. */
export async function untilTerraformRuns(folder: string, command: string): Promise<number[]> {
  for (;;) {
    const pids = terraformIn(folder, command);
    if (pids.length > 0) return pids;
    await delay(lookEveryMs);
  }
}

/** @throws AssertionError when there is none */
export function signal(pids: readonly number[], wanted: NodeJS.Signals): void {
  assert(pids.length > 0, "nothing of terraform's works there");
  for (const pid of pids) process.kill(pid, wanted);
}
