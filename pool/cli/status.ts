import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { PoolStatus } from "../observe/status.ts";
import { askDaemon } from "./admin-client.ts";
import { table } from "./table.ts";

/** Between two looks of --watch. */
const everyMs = 1_000;

/** `clawpool status [--watch] [--json]`. */
export function registerStatus(program: Command): void {
  program
    .command("status")
    .description("the pools at a glance")
    .option("-w, --watch", "again every second, until Ctrl-C")
    .option("--json", "as JSON")
    .action(async (options: { watch?: boolean; json?: boolean }) => {
      const { stateDir } = loadConfig(program.opts().config);
      for (;;) {
        const status = await askDaemon<PoolStatus>(stateDir, "GET", "/status");
        // Clear the screen only on a terminal: a log of --watch should stay a log.
        if (options.watch && process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J");
        console.log(options.json ? JSON.stringify(status) : describe(status));
        if (!options.watch) return;
        await new Promise((resolve) => setTimeout(resolve, everyMs));
      }
    });
}

export function describe(status: PoolStatus): string {
  const seconds = (ms: number | null) => (ms === null ? "-" : `${Math.round(ms / 1_000)}s`);
  const rows = status.pools.map((pool) => [
    pool.name,
    pool.plan,
    `${pool.claimable}/${pool.minReady}`,
    `${pool.live}/${pool.maxTotal}`,
    String(pool.states.serving ?? 0),
    String(pool.queued),
    seconds(pool.buildMs),
    Object.entries(pool.states)
      .map(([state, count]) => `${count} ${state}`)
      .join(", ") || "empty",
  ]);
  const pools = table(["POOL", "PLAN", "READY", "LIVE", "SERVING", "QUEUED", "BUILD", "STATES"], rows);
  const paused = status.pools.flatMap(({ name, refill }) => {
    if (refill.stopped !== null) return [`${name}: refill stopped: ${refill.stopped.reason}`];
    return refill.pausedUntil === null ? [] : [`${name}: waits after ${refill.failures} failed builds`];
  });
  if (status.quarantine) {
    const { why, held } = status.quarantine;
    paused.unshift(`QUARANTINE: ${why}; ${held} machines held. See \`clawpool recover status\``);
  }
  const rollouts = status.pools.flatMap(({ name, rollout }) =>
    rollout === null || rollout.phase === "done"
      ? []
      : [`${name}: roll-out ${rollout.paused ? "paused" : rollout.phase}, ${rollout.stale} to be replaced`],
  );
  paused.push(...rollouts);
  const off = status.pools.reduce((sum, { states }) => sum + (states.suspended ?? 0), 0);
  if (off > 0) paused.push(`${off} suspended: switched off and kept; Hetzner bills them as if they ran`);
  const notes = paused.length > 0 ? `\n\n${paused.join("\n")}` : "";
  const flags = status.flags.map((flag) => `  ! ${flag.kind} ${flag.subject}: ${flag.text}`);
  return flags.length > 0 ? `${pools}${notes}\n\nNeeds a person:\n${flags.join("\n")}` : `${pools}${notes}`;
}
