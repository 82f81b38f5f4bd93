/**
 * `npm run bench:simulate`: how long a year at 60 claims a day takes to replay under all of the daemon's rules, by policy.
 * Writes docs/benchmarks/simulate.md.
 */

import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { hourMs } from "../../pool/clock.ts";
import type { SizingConfig } from "../../pool/config/config.ts";
import { parseConfig } from "../../pool/config/load.ts";
import { configured, policyText } from "../../pool/sizing/replay/candidates.ts";
import { type Experiment, tryOut } from "../../pool/sizing/replay/experiment.ts";
import { env, example } from "../config/example.ts";

const runs = 5;
const from = Date.UTC(2025, 0, 1);
/** Evenly over the waking hours. */
const claims = Float64Array.from({ length: 365 * 60 }, (_, index) => {
  const [day, nth] = [Math.floor(index / 60), index % 60];
  return from + day * 24 * hourMs + 8 * hourMs + (nth * 14 * hourMs) / 60;
});
const pool = parseConfig(example, "clawpool.yaml", env).pools[0];
if (!pool) throw new Error("the example has no pool");

const experiment: Experiment = {
  ...{ claims, from, to: from + 365 * 24 * hourMs, pricePerHour: 0.008 },
  // Between four and six minutes; one of twenty fails.
  lead: {
    planMs: 360_000,
    builds: Array.from({ length: 20 }, (_, n) => ({ ms: 240_000 + n * 6_000, failed: n === 19 })),
  },
  rules: {
    ...{ slots: 4, maxTotal: 10, buildsPerMinute: 6, failureBudget: pool.failureBudget },
    spend: { perDay: 5, perHour: 0.008 },
  },
};
const common = { timeZone: "Europe/Berlin", campaigns: [], floors: [] };
const window = { cron: "0 8 * * 1-5", lengthMs: 10 * hourMs, ready: 4 };
const policies: readonly SizingConfig[] = [
  { ...common, policy: "static", ready: 3 },
  { ...common, policy: "schedule", windows: [window] },
  { ...common, policy: "factor", scale: 1, overMs: hourMs, atMost: null },
  { ...common, policy: "adaptive", goal: { hitShare: 0.99 }, holdMs: 0 },
  { ...common, policy: "adaptive", goal: { valueEur: 1 }, holdMs: hourMs },
];

const rows = policies.map((sizing) => {
  const sized = { ...pool, minReady: 0, sizing };
  const times = Array.from({ length: runs }, () => {
    const [wall, cpu] = [performance.now(), process.cpuUsage()];
    tryOut(configured("", sized, experiment), experiment);
    const { user, system } = process.cpuUsage(cpu);
    return { wall: performance.now() - wall, cpu: (user + system) / 1_000 };
  });
  const middle = (of: "wall" | "cpu") =>
    Math.round(times.map((time) => time[of]).sort((a, b) => a - b)[Math.floor(runs / 2)] ?? 0);
  const cells = [policyText(sized), `${middle("wall")} ms`, `${middle("cpu")} ms`];
  console.log(cells.join("  "));
  return `| ${cells.join(" | ")} |`;
});

writeFileSync(
  join(import.meta.dirname, "../../docs/benchmarks/simulate.md"),
  `# A year of replay

\`npm run bench:simulate\`, ${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, load ${loadavg()[0]?.toFixed(1)}. A year at 60 claims a day under the
daemon's rules: slots, \`max_total\`, builds a minute, the day's spend, builds of four to six minutes of which one in twenty fails, the
failure budget, paid hours. Median of ${runs}; the aim is 2 s a policy.

| policy | wall | CPU |
|---|---|---|
${rows.join("\n")}
`,
);
