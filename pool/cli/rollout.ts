import { userInfo } from "node:os";
import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { PoolStatus } from "../observe/status.ts";
import type { RolloutChange } from "../refill/rollout.ts";
import { askDaemon } from "./admin-client.ts";
import { age, table } from "./table.ts";

/** `clawpool rollout status|pause|resume [pool]`. */
export function registerRollout(program: Command): void {
  const rollout = program
    .command("rollout")
    .description("how ready machines are replaced when what they are prepared by has changed");
  const stateDir = () => loadConfig(program.opts().config).stateDir;

  rollout
    .command("status", { isDefault: true })
    .description("where each pool is")
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }) => {
      const { pools } = await askDaemon<PoolStatus>(stateDir(), "GET", "/status");
      const rollouts = pools.map(({ name, rollout: row }) => ({ pool: name, ...row }));
      console.log(options.json ? JSON.stringify(rollouts, null, 2) : describeRollouts(pools));
    });

  for (const [action, description] of [
    ["pause", "replace nothing until it is resumed; holds for later roll-outs too"],
    ["resume", "go on; a roll-out that stopped begins anew with one machine"],
  ] as const) {
    rollout
      .command(action)
      .description(description)
      .argument("[pool]", "all, if absent")
      .action(async (pool: string | undefined) => {
        const request = { action, pool: pool ?? null, actor: `person:${userInfo().username}` };
        const changes = await askDaemon<RolloutChange[]>(stateDir(), "POST", "/rollout", request);
        for (const { pool: name, phase, changed } of changes)
          console.log(`${name}: ${changed ? `${action}d` : `nothing to ${action}`}; ${phase}`);
        if (changes.length === 0) console.log("No pool has had a look at its content yet.");
      });
  }
}

export function describeRollouts(pools: PoolStatus["pools"]): string {
  const rows = pools.map(({ name, rollout: row }) =>
    row === null
      ? [name, "-", "-", "-", "-", "-", "-"]
      : [
          name,
          row.paused ? `${row.phase} (paused)` : row.phase,
          age(row.phaseSince),
          String(row.fresh),
          String(row.stale),
          row.canary ?? "-",
          row.content,
        ],
  );
  const shown = table(["POOL", "PHASE", "FOR", "NEW", "STALE", "CANARY", "CONTENT"], rows);
  const reasons = pools.flatMap(({ name, rollout: row }) => (row?.reason ? [`${name}: ${row.reason}`] : []));
  return [shown, ...reasons].join("\n\n");
}
