/**
 * `npm run bench:times`: what docs promise of deaths, orphans and lost webhooks, in real time at the intervals that a daemon
 * has in production, under its systemd unit. About 20 minutes, as root. Writes docs/benchmarks/times.md; exit 1 when
 * something took longer than promised.
 */
import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { pause } from "./handover/rig.ts";
import { describeMachine, quantile, table } from "./handover/statistics.ts";
import { lostWebhook, orphan, replaced, resumed } from "./times/measure.ts";
import { startRig } from "./times/rig.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "5" },
    hangs: { type: "string", default: "3" },
    resumed: { type: "string", default: "5" },
    orphans: { type: "string", default: "3" },
    webhooks: { type: "string", default: "3" },
  },
});
function count(name: keyof typeof values): number {
  const number = Number(values[name]);
  if (!Number.isInteger(number) || number < 0 || number > 8)
    throw new Error(`--${name}=${values[name]}: want a whole number up to 8`);
  return number;
}
const plan = {
  kills: count("kills"),
  hangs: count("hangs"),
  resumed: count("resumed"),
  orphans: count("orphans"),
  webhooks: count("webhooks"),
};

const started = performance.now();
const loads: number[] = [];
function say(text: string): void {
  loads.push(loadavg()[0] ?? 0);
  console.log(`[${((performance.now() - started) / 1_000).toFixed(0).padStart(5)} s] ${text}`);
}

/** One after the other. */
async function each<T>(n: number, what: string, measure: (number: number) => Promise<T>): Promise<T[]> {
  const list: T[] = [];
  for (let number = 0; number < n; number++) {
    const one = await measure(number);
    say(`${what} ${number + 1}/${n}: ${JSON.stringify(one, (_, value) => rounded(value))}`);
    list.push(one);
  }
  return list;
}
const rounded = (value: unknown) => (typeof value === "number" ? Math.round(value) : value);

/** Each begins so much after the one before, whatever became of that. */
async function staggered<T>(
  n: number,
  afterMs: number,
  measure: (number: number) => Promise<T>,
): Promise<T[]> {
  return Promise.all(
    Array.from({ length: n }, async (_, number) => {
      await pause(number * afterMs);
      return measure(number);
    }),
  );
}

const minute = 60_000;
const rig = await startRig(3, say);
let lines: [string, readonly number[], number][];
let watchdog: number;
let restarts: string;
try {
  await rig.ready(3);
  say("the pool is full");
  const killed = await each(plan.kills, "SIGKILL", (number) => replaced(rig, "SIGKILL", number));
  const stopped = await each(plan.hangs, "SIGSTOP", (number) => replaced(rig, "SIGSTOP", number));
  const handedOver = await each(plan.resumed, "SIGKILL in a hand-over", (number) => resumed(rig, number));
  await rig.ready(Math.min(3, plan.webhooks));
  say("orphans and lost webhooks");
  const [orphans, webhooks] = await Promise.all([
    staggered(plan.orphans, minute, async (number) => {
      const one = await orphan(rig, number);
      say(`orphan: ${JSON.stringify(one, (_, value) => rounded(value))}`);
      return one;
    }),
    staggered(plan.webhooks, 4 * minute, async (number) => {
      const ms = await lostWebhook(rig, number);
      say(`lost webhook: ${rounded(ms)}`);
      return ms;
    }),
  ]);
  const journal = await rig.host.journal();
  watchdog = journal.split("\n").filter((line) => /Watchdog timeout/.test(line)).length;
  restarts = await rig.host.systemctl("show", "-p", "NRestarts", "--value", "clawpool");
  lines = [
    ["daemon killed (SIGKILL) → another answers", killed.map(({ answers }) => answers), 40_000],
    ["… an order paid at that moment runs", killed.map(({ serves }) => serves), 40_000],
    [
      "daemon hangs (SIGSTOP) → the watchdog had it replaced, another answers",
      stopped.map(({ answers }) => answers),
      40_000,
    ],
    ["… an order paid at that moment runs", stopped.map(({ serves }) => serves), 40_000],
    ["daemon killed in a hand-over → the order runs, on the same machine", handedOver, 40_000],
    ["orphan server made → a person is told", orphans.map(({ found }) => found), 2 * minute],
    // Two looks of 30 s behind the grace at most, and the delete itself.
    ["… it is deleted (15 min of grace)", orphans.map(({ deleted }) => deleted), 17 * minute],
    ["payment whose webhook is lost → its order runs", webhooks, 15 * minute],
  ];
} finally {
  await rig.close();
}

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
const text = `# Deaths, orphans and lost webhooks in real time

The daemon runs under \`deploy/clawpool.service\` as it is, on a Debian 12 with systemd as its init (a container on the host's
network), against the local cloud with folder machines. Its intervals are production's defaults: \`WatchdogSec=20\`,
\`RestartSec=2\`, \`sweeps.every\` 30 s, \`sweeps.orphan_grace\` 15 min, a Stripe sweep every 14 min. Written by
\`npm run bench:times\`.

- Machine: ${describeMachine()}; everything of both sides runs on it; load average: lowest ${quantile(loads, 0).toFixed(1)}, median ${quantile(loads, 0.5).toFixed(1)}, highest ${quantile(loads, 1).toFixed(1)}
- Date: ${new Date().toISOString().slice(0, 10)}
- systemd's own count: ${restarts} restarts of the unit, ${watchdog} for a watchdog that was not fed

${table(
  ["from → to", "n", "each", "longest", "promised"],
  lines
    .filter(([, list]) => list.length > 0)
    .map(([what, list, most]) => {
      const longest = quantile(list, 1);
      const kept = longest <= most ? "" : " **broken**";
      return [what, list.length, list.map(seconds).join(", "), `${seconds(longest)}${kept}`, seconds(most)];
    }),
)}

A buyer's webhook that meets a dead daemon is repeated by Stripe's stand-in after 0.5, 1, 2, 5, 10 … s (Stripe's own pauses are
longer); the Stripe sweep at a daemon's start may be sooner. A lost webhook is never repeated: it waits for the next sweep,
so the times depend on when it was lost.
`;
writeFileSync(fileURLToPath(new URL("../../docs/benchmarks/times.md", import.meta.url)), text);
console.log(text);
process.exitCode = lines.some(([, list, most]) => list.some((ms) => ms > most)) ? 1 : 0;
