/** Runs schedules for main.ts, on a thread of its own. */
import { parentPort } from "node:worker_threads";
import { simulate } from "./simulation.ts";

/** One schedule to be run. */
export interface Task {
  readonly seed: number;
  /** The point at which the first life of the daemon dies, and no other does; null leaves it to the seed, 0 is never. */
  readonly killAt: number | null;
}

export interface Report extends Task {
  readonly events: number;
  readonly violations: readonly string[];
  readonly points: number;
  /** Left out where nothing was violated, unless it was asked for. */
  readonly trace: readonly string[];
}

// Nobody reads the stacks of the simulated errors, and each takes longer than the call that fails.
Error.stackTraceLimit = 0;

parentPort?.on("message", async ({ tasks, trace }: { tasks: readonly Task[]; trace: boolean }) => {
  const reports: Report[] = [];
  for (const task of tasks) {
    const outcome = await simulate(task.seed, task.killAt === null ? {} : { kills: [task.killAt] });
    const shown = trace || outcome.violations.length > 0;
    reports.push({ ...outcome, ...task, trace: shown ? outcome.trace : [] });
  }
  parentPort?.postMessage(reports);
});
