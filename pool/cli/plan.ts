import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { PoolPlan } from "../sizing/explain.ts";
import { askDaemon } from "./admin-client.ts";
import { table } from "./table.ts";

/** `clawpool plan [POOL] [--json]`. */
export function registerPlan(program: Command): void {
  program
    .command("plan")
    .description("how many warm machines each pool wants, why, and what that costs")
    .argument("[pool]", "all, if absent")
    .option("--json", "as JSON")
    .action(async (pool: string | undefined, { json }: { json?: boolean }) => {
      const { stateDir } = loadConfig(program.opts().config);
      const query = pool === undefined ? "" : `?${new URLSearchParams({ pool })}`;
      const plans = await askDaemon<PoolPlan[]>(stateDir, "GET", `/plan${query}`);
      console.log(json ? JSON.stringify(plans, null, 2) : describePlans(plans));
    });
}

export function describePlans(plans: readonly PoolPlan[]): string {
  const rows = plans.map(({ pool, policy, target, ready, building, waiting, measured, price }) => [
    ...[pool, policy, String(target), String(ready), String(building), String(waiting)],
    measured.share === null ? "-" : `${(measured.share * 100).toFixed(2)} %`,
    price.known ? `${price.currency} ${price.month.toFixed(2)}` : "unknown",
  ]);
  const shown = table(["POOL", "POLICY", "TARGET", "READY", "BUILDING", "WAITING", "WARM", "A MONTH"], rows);
  return [
    shown,
    ...plans.map(({ pool, words }) => `${pool}:\n${words.map((each) => `  ${each}`).join("\n")}`),
  ].join("\n\n");
}
