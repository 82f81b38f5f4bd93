import { userInfo } from "node:os";
import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { Resumed } from "../refill/stop.ts";
import { askDaemon } from "./admin-client.ts";

/** `clawpool resume [pool]`. */
export function registerResume(program: Command): void {
  program
    .command("resume")
    .description("refill a pool again that was stopped because its builds failed")
    .argument("[pool]", "all that are stopped, if absent")
    .action(async (pool: string | undefined) => {
      const { stateDir } = loadConfig(program.opts().config);
      const actor = `person:${userInfo().username}`;
      const resumed = await askDaemon<Resumed[]>(stateDir, "POST", "/resume", { pool: pool ?? null, actor });
      if (resumed.length === 0) console.log("No pool's refill is stopped.");
      for (const { pool: name, stopped, specimens } of resumed) {
        const was =
          stopped === null
            ? "was not stopped; its next build waits no longer"
            : `goes on; it was stopped: ${stopped}`;
        console.log(`${name}: refill ${was}`);
        for (const machine of specimens) console.log(`${machine} is destroyed now`);
      }
    });
}
