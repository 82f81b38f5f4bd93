/**
 * `npm run sim -- --seeds 1000 [--from 1] [--kill-points] [--trace]`: schedules of the whole controller under simulation.
 * A seed that breaks a promise is printed with its trace; the same seed repeats it.
 */
import { parseArgs } from "node:util";
import { simulate } from "./simulation.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    trace: { type: "boolean", default: false },
    "kill-points": { type: "boolean", default: false },
  },
});
const positive = (name: "seeds" | "from"): number => {
  const number = Number(values[name]);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new Error(`--${name}=${values[name]}: want a whole number from 1`);
  return number;
};
const [seeds, from] = [positive("seeds"), positive("from")];

const started = performance.now();
let [runs, events, violations] = [0, 0, 0];
async function one(seed: number, killAt?: number): Promise<number> {
  const outcome = await simulate(seed, killAt === undefined ? {} : { kills: [killAt] });
  runs += 1;
  events += outcome.events;
  violations += outcome.violations.length;
  if (outcome.violations.length > 0 || values.trace) {
    console.log(`seed ${seed}${killAt === undefined ? "" : `, killed at ${killAt}`}`);
    for (const line of outcome.trace) console.log(`  ${line}`);
  }
  return outcome.points;
}
for (let seed = from; seed < from + seeds; seed++) {
  if (!values["kill-points"]) {
    await one(seed);
    continue;
  }
  const points = await one(seed, 0);
  for (let point = 1; point <= points; point++) await one(seed, point);
}
const rate = runs / ((performance.now() - started) / 1000);
console.log(`${runs} seeds, ${events} events, ${violations} violations, ${rate.toFixed(1)} seeds per second`);
process.exitCode = violations > 0 ? 1 : 0;
