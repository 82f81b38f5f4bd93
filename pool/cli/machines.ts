import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { Machine } from "../machine/machine.ts";
import type { Health } from "../store/store.ts";
import { askDaemon } from "./admin-client.ts";
import { age, table } from "./table.ts";

/** `clawpool machines`. */
export function registerMachines(program: Command): void {
  const stateDir = () => loadConfig(program.opts().config).stateDir;

  program
    .command("machines")
    .description("every machine that is not destroyed")
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }) => {
      const machines = await askDaemon<(Machine & { health: Health | null })[]>(
        stateDir(),
        "GET",
        "/machines",
      );
      if (options.json) return console.log(JSON.stringify(machines, null, 2));
      console.log(
        table(
          ["NAME", "POOL", "STATE", "FOR", "LOCATION", "IP", "ORDER"],
          machines.map((machine) => [
            machine.name,
            machine.pool,
            shownState(machine),
            age(machine.stateSince),
            machine.location,
            machine.ipv4 ?? "-",
            machine.order ?? "-",
          ]),
        ),
      );
    });
}

function shownState({ state, specimenUntil, health }: Machine & { health: Health | null }): string {
  if (specimenUntil !== null) return `${state} (specimen)`;
  return health === null || health.state === "healthy" ? state : `${state} (${health.state})`;
}
