import type { Command } from "commander";
import { ConfigError, loadSource } from "../config/load.ts";
import { NeedsPersonError } from "../errors.ts";
import { createLog } from "../observe/log.ts";
import { notifySystemd } from "../observe/systemd.ts";

/** EX_TEMPFAIL of sysexits.h: ended with work under way; the next start goes on where this one stopped. */
const unfinished = 75;

/** EX_CONFIG: starting again does not help, and the unit's RestartPreventExitStatus keeps systemd from it. */
const needsPerson = 78;

function refuse({ message }: Error): never {
  console.error(`clawpool: ${message}`);
  return process.exit(needsPerson);
}

function needed<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ConfigError) refuse(error);
    throw error;
  }
}

/**
 * How long a stop may wait for terraform and hand-overs, in milliseconds. The unit's TimeoutStopSec (900 s) is longer, so
 * that the end is ours, with a line in the log that says what was still under way.
 */
const patienceMs = 840_000;

/** `clawpool serve`: the daemon in the foreground, as systemd wants it. */
export function registerServe(program: Command): void {
  program
    .command("serve")
    .description("run the daemon")
    .action(async () => {
      const source = needed(() => loadSource(program.opts().config));
      // Loaded here alone: it takes as long as everything that the other commands need.
      const { startDaemon } = await import("../daemon.ts");
      const log = createLog(source.config.log.level);
      // At once: whatever it still did would cross what the other one does. A supervisor starts it anew, and it waits.
      const onFenced = () => process.exit(unfinished);
      const daemon = await startDaemon({ source, log, onFenced }).catch((error) => {
        if (error instanceof NeedsPersonError) return refuse(error);
        throw error;
      });
      const systemd = notifySystemd(log, daemon.standstill);
      systemd.ready();

      let stopping = false;
      /** The rows and terraform's folders say what was under way. */
      const leave = (why: string, signal: NodeJS.Signals): never => {
        log.warn({ signal, underWay: daemon.underWay() }, `${why}: leaving at once, the next start goes on`);
        return process.exit(unfinished);
      };
      const stop = (signal: NodeJS.Signals): void => {
        if (stopping) leave("second signal", signal);
        stopping = true;
        log.info(
          { signal, underWay: daemon.underWay() },
          "stopping: no new work; waiting for terraform and hand-overs (a second signal leaves at once)",
        );
        systemd.stopping();
        setTimeout(() => leave(`not done after ${patienceMs / 1_000} s`, signal), patienceMs).unref();
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
