/**
 * `npm run bench:sizing [-- --traces DIR]`: idle machine-hours a claim that each policy needs for a hit share, on
 * recorded claims; what comes of asking for a miss share; how long a replay takes. Writes docs/benchmarks/sizing.md when
 * it ran over the traces of the repository.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { createCalendar, hourMs } from "../../pool/sizing/forecast/calendar.ts";
import { adaptivePolicy } from "../../pool/sizing/policy/adaptive.ts";
import { parseTrace, type Trace } from "../../pool/sizing/replay/trace.ts";
import { askedRows, hindsightRows, levels } from "./sizing/rows.ts";
import { leadMs, score, scoredFrom, slots } from "./sizing/sweep.ts";

const ownTraces = join(import.meta.dirname, "../sizing/traces");
const { values } = parseArgs({ options: { traces: { type: "string", default: ownTraces } } });

const percent = (share: number, digits = 2) => `${(100 * share).toFixed(digits)} %`;
const table = (lines: readonly (readonly string[])[]) =>
  lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");

function section(name: string, trace: Trace): string {
  const scored = trace.claims.filter((at) => at >= scoredFrom(trace)).length;
  const days = (trace.to - scoredFrom(trace)) / 24 / hourMs;
  const rows = hindsightRows(trace).map(({ name, cells }) => [
    name,
    ...cells.map((each) => each?.toFixed(3) ?? "–"),
  ]);
  const asked = askedRows(trace).map(({ share, real, bound, idle, claims }) => [
    ...[percent(share, 1), percent(real), percent(bound), idle.toFixed(3)],
    bound > share && claims < 3 / share ? `too few claims to promise it (n = ${claims})` : "",
  ]);
  return `## ${name}

${scored} claims scored, ${(scored / days).toFixed(1)} a day.

${table([["idle h a claim at a hit share of", ...levels.map((level) => percent(level, 1))], ["---", "---", "---", "---"], ...rows])}

${table([["asked miss share", "real", "95 % sure below", "idle h a claim", ""], ["---", "---", "---", "---", "---"], ...asked])}
`;
}

/** A year at 60 claims a day, evenly spread over the waking hours. */
function yearOfReplay(): number {
  const from = Date.UTC(2025, 0, 1);
  const claims = Float64Array.from({ length: 365 * 60 }, (_, index) => {
    const [day, nth] = [Math.floor(index / 60), index % 60];
    return from + day * 24 * hourMs + 8 * hourMs + (nth * 14 * hourMs) / 60;
  });
  const trace = { claims, from, to: from + 365 * 24 * hourMs, notes: [] };
  const goal = { worthHours: 125 };
  const begun = performance.now();
  score(trace, adaptivePolicy({ calendar: createCalendar("Europe/Berlin"), since: from, goal, holdMs: 0 }));
  return performance.now() - begun;
}

const begun = performance.now();
const files = readdirSync(values.traces).filter((file) => file.endsWith(".csv"));
if (files.length === 0) throw new Error(`no *.csv in ${values.traces}`);
const sections = files.map((file) => {
  const text = section(
    basename(file, ".csv"),
    parseTrace(readFileSync(join(values.traces, file), "utf8"), file),
  );
  console.log(text);
  return text;
});
const years = Array.from({ length: 5 }, yearOfReplay).sort((a, b) => a - b);
const speed = `A year at 60 claims a day is replayed in ${Math.round(years[2] ?? 0)} ms (median of 5, slowest ${Math.round(years[4] ?? 0)} ms).`;
console.log(speed);
const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}`;
if (values.traces === ownTraces) {
  writeFileSync(
    join(import.meta.dirname, "../../docs/benchmarks/sizing.md"),
    `# Sizing: idle hours for a hit share

\`npm run bench:sizing\`, ${machine}, ${Math.round((performance.now() - begun) / 1_000)} s. Lead time ${leadMs / 1_000} s, ${slots} builds at once, surplus retired at the
end of a paid hour. A quarter of each trace (at least two weeks, at most half) is for learning, the rest is scored. Rows of the
first table have hindsight: each shows its cheapest setting that reached the hit share. The second tables have none.

${speed}

${sections.join("\n")}`,
  );
}
