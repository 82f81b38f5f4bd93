/**
 * `npm run sim -- --seeds 1000 [--from 1] [--jobs 2] [--kill-points] [--trace]`: schedules of the whole controller under
 * simulation. A seed that breaks a promise is printed with its trace and the command that repeats it.
 */
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import type { Report, Task } from "./worker.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    jobs: { type: "string", default: String(availableParallelism()) },
    trace: { type: "boolean", default: false },
    "kill-points": { type: "boolean", default: false },
    "kill-at": { type: "string" },
  },
});
const positive = (name: "seeds" | "from" | "jobs" | "kill-at", text = values[name]): number => {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new Error(`--${name}=${text}: want a whole number from 1`);
  return number;
};
const [seeds, from, jobs] = [positive("seeds"), positive("from"), positive("jobs")];
const killAt = values["kill-at"] === undefined ? null : positive("kill-at");

/** Enough that handing them over costs nothing, few enough that all threads end together. */
const portion = 20;
/**
 * Portions that one thread runs. What a killed life waits for is never over, and Node keeps every `AbortSignal.any` that
 * somebody listens to: some 0.3 MB a schedule, and a thread has 4 GB. A new one costs a second.
 */
const portionsOfThread = 100;

const started = performance.now();
let [runs, events, violations, points] = [0, 0, 0, 0];

function* tasks(): Generator<Task> {
  for (let seed = from; seed < from + seeds; seed++)
    yield { seed, killAt: values["kill-points"] ? 0 : killAt };
}
/** Schedules of which it is only now known that they are to be run. */
const more: Task[] = [];

function note(report: Report): void {
  runs += 1;
  events += report.events;
  violations += report.violations.length;
  if (values["kill-points"] && report.killAt === 0) {
    points += report.points;
    for (let point = 1; point <= report.points; point++) more.push({ seed: report.seed, killAt: point });
  }
  if (report.trace.length === 0) return;
  const at = report.killAt ? ` --kill-at ${report.killAt}` : "";
  for (const line of report.trace) console.log(`  ${line}`);
  for (const violation of report.violations) console.log(`seed ${report.seed}: ${violation}`);
  console.log(`again: npm run sim -- --seeds 1 --from ${report.seed}${at} --trace`);
}

const source = tasks();
function next(): Task[] {
  const batch = more.splice(0, portion);
  while (batch.length < portion) {
    const { value, done } = source.next();
    if (done) break;
    batch.push(value);
  }
  return batch;
}

let busy = 0;
let reported = Promise.withResolvers<void>();

/** Ends when there is nothing more to do, which nobody knows as long as another is at work. */
async function work(): Promise<void> {
  const start = () => new Worker(new URL("./worker.ts", import.meta.url));
  let worker = start();
  let portions = 0;
  for (let batch = next(); batch.length > 0 || busy > 0; batch = next()) {
    if (batch.length === 0) {
      await reported.promise;
      continue;
    }
    if (portions++ === portionsOfThread) {
      await worker.terminate();
      worker = start();
      portions = 1;
    }
    busy += 1;
    worker.postMessage({ tasks: batch, trace: values.trace });
    const [reports] = (await once(worker, "message")) as [Report[]];
    busy -= 1;
    for (const report of reports) note(report);
    reported.resolve();
    reported = Promise.withResolvers();
  }
  await worker.terminate();
}

function sum(): void {
  if (values["kill-points"])
    console.log(`${points} points at which the daemon was killed, in ${seeds} stories`);
  const rate = runs / ((performance.now() - started) / 1000);
  console.log(
    `${runs} seeds, ${events} events, ${violations} violations, ${rate.toFixed(1)} seeds per second`,
  );
}

// An hour's work says what it came to also when somebody has enough of it.
process.once("SIGINT", () => {
  sum();
  process.exit(130);
});
await Promise.all(Array.from({ length: jobs }, work));
sum();
process.exitCode = violations > 0 ? 1 : 0;
