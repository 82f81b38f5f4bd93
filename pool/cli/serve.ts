import { resolve } from "node:path";
import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import { createLog } from "../observe/log.ts";
import { notifySystemd } from "../observe/systemd.ts";

/** `clawpool serve`: the daemon in the foreground, as systemd wants it. */
export function registerServe(program: Command): void {
  program
    .command("serve")
    .description("run the daemon")
    .action(async () => {
      const file = resolve(program.opts().config);
      const config = loadConfig(file);
      // Loaded here alone: it takes as long as everything that the other commands need.
      const { startDaemon } = await import("../daemon.ts");
      const log = createLog(config.log.level);
      const daemon = await startDaemon({ config, configFile: file, log });
      const systemd = notifySystemd(log);
      systemd.ready();

      let stopping = false;
      const stop = (signal: NodeJS.Signals): void => {
        if (stopping) {
          // The rows and terraform's folders say what was under way; the next start goes on from there.
          log.warn({ signal }, "second signal: leaving at once, the next start goes on where this one stops");
          process.exit(1);
        }
        stopping = true;
        log.info(
          { signal },
          "stopping: no new work; waiting for terraform and hand-overs (a second signal leaves at once)",
        );
        systemd.stopping();
        daemon.stop().then(
          () => process.exit(0),
          (error: unknown) => {
            log.error({ err: error }, "stopped, not cleanly");
            process.exit(1);
          },
        );
      };
      process.on("SIGTERM", stop);
      process.on("SIGINT", stop);
    });
}
