/** `clawpool serve` on a fast clock: the daemon as it is, but for its time. Arguments: configuration file, FastTime as JSON. */
import { systemClock } from "../../../pool/clock.ts";
import { loadSource } from "../../../pool/config/load.ts";
import { startDaemon } from "../../../pool/daemon.ts";
import { createLog } from "../../../pool/observe/log.ts";
import { type FastTime, fastClock } from "./fast-clock.ts";

const [file = "", json = ""] = process.argv.slice(2);
const time = JSON.parse(json) as FastTime;
const source = loadSource(file);
const every: Readonly<Record<string, number>> = { "* * * * *": 60_000, "0 * * * *": 3_600_000 };
const daemon = await startDaemon({
  source,
  log: createLog(source.config.log.level),
  clock: fastClock(time),
  answerClock: systemClock,
  cron(expression, run) {
    const ms = every[expression];
    if (ms === undefined) throw new Error(`no fast cron for "${expression}"`);
    const timer = setInterval(run, ms / time.speed);
    return { destroy: () => clearInterval(timer) };
  },
});
process.on("SIGTERM", () => void daemon.stop().then(() => process.exit(0)));
