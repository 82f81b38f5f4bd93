import { userInfo } from "node:os";
import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { StateReport } from "../machine/state-report.ts";
import { askDaemon } from "./admin-client.ts";
import { table } from "./table.ts";

/** An import runs terraform, and Hetzner may be slow. */
const timeoutMs = 3 * 60_000;

/** `clawpool state`, `clawpool state restore <machine>`, `clawpool state import <machine>`. */
export function registerState(program: Command): void {
  const state = program
    .command("state")
    .description("terraform's state of each machine and of the platform: is it what the last run left")
    .option("--json", "as JSON")
    .action(async ({ json }: { json?: boolean }) => {
      const { stateDir } = loadConfig(program.opts().config);
      const reports = await askDaemon<StateReport[]>(
        stateDir,
        "GET",
        "/terraform/states",
        undefined,
        timeoutMs,
      );
      console.log(json ? JSON.stringify(reports, null, 2) : describe(reports));
      if (reports.some(({ refused }) => refused !== null)) process.exitCode = 1;
    });
  const repair = (how: "restore" | "import", description: string, done: string) =>
    state
      .command(how)
      .description(description)
      .argument("<machine>", "a machine, or platform")
      .action(async (machine: string) => {
        const { stateDir } = loadConfig(program.opts().config);
        const actor = `person:${userInfo().username}`;
        await askDaemon(stateDir, "POST", "/terraform/states", { machine, how, actor }, timeoutMs);
        console.log(`${machine}: ${done}; the file that was there is among its run logs`);
      });
  repair("restore", "write back the state that the last run left", "its state is as the last run left it");
  repair(
    "import",
    "make a new state from the machine's server, or from what the platform has at Hetzner",
    "its state was made anew from what exists",
  );
}

function describe(reports: readonly StateReport[]): string {
  const rows = reports.map(({ machine, serverId, known, refused }) => [
    machine,
    String(serverId ?? "-"),
    known ? String(known.serial) : "-",
    refused === null ? "ok" : "REFUSED",
  ]);
  const refused = reports.flatMap(({ refused: text }) => (text === null ? [] : [text]));
  return [table(["MACHINE", "SERVER", "SERIAL", "STATE"], rows), ...refused].join("\n");
}
