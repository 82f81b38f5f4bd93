import type { Command } from "commander";
import { ConfigError, loadSource } from "../config/load.ts";
import type { Daemon } from "../daemon.ts";
import { NeedsPersonError } from "../errors.ts";
import { createLog } from "../observe/log.ts";
import { notifySystemd, type Systemd } from "../observe/systemd.ts";

/** EX_TEMPFAIL of sysexits.h: ended with work under way; the next start goes on where this one stopped. */
const unfinished = 75;

/** EX_CONFIG: starting again does not help, and the unit's RestartPreventExitStatus keeps systemd from it. */
const needsPerson = 78;

function refuse({ message }: Error, status = needsPerson): never {
  console.error(`clawpool: ${message}`);
  return process.exit(status);
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
      const stopAsked = new AbortController();
      let daemon: Daemon | null = null;
      let systemd: Systemd | null = null;
      const underWay = () => daemon?.underWay() ?? ["the start"];
      /** The rows and terraform's folders say what was under way. */
      const leave = (why: string, signal: NodeJS.Signals): never => {
        log.warn({ signal, underWay: underWay() }, `${why}: leaving at once, the next start goes on`);
        return process.exit(unfinished);
      };
      const end = (running: Daemon) =>
        running.stop().then(
          () => process.exit(0),
          (error: unknown) => {
            log.error({ err: error }, "stopped, not cleanly");
            process.exit(1);
          },
        );
      const stop = (signal: NodeJS.Signals): void => {
        if (stopAsked.signal.aborted) leave("second signal", signal);
        log.info(
          { signal, underWay: underWay() },
          "stopping: no new work; waiting for terraform and hand-overs (a second signal leaves at once)",
        );
        systemd?.stopping();
        setTimeout(() => leave(`not done after ${patienceMs / 1_000} s`, signal), patienceMs).unref();
        stopAsked.abort(new Error("it was told to stop"));
        if (daemon) void end(daemon);
      };
      // Before the start: it waits for another daemon's end and for terraform, which a signal must not cut off either.
      process.on("SIGTERM", stop);
      process.on("SIGINT", stop);

      // At once: whatever it still did would cross what the other one does. A supervisor starts it anew, and it waits.
      const onFenced = () => process.exit(unfinished);
      daemon = await startDaemon({ source, log, onFenced, signal: stopAsked.signal }).catch((error) => {
        if (stopAsked.signal.aborted && error === stopAsked.signal.reason) return process.exit(0);
        if (error instanceof NeedsPersonError) return refuse(error);
        if (process.env.DEBUG) console.error(error);
        // Not by what is left to do: waiting for an earlier daemon's terraform may keep it for an hour, and nobody starts
        // another one meanwhile.
        return refuse(error, 1);
      });
      systemd = notifySystemd(log, daemon.standstill);
      systemd.ready();
      if (stopAsked.signal.aborted) await end(daemon);
    });
}
