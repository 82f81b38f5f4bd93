/**
 * `npm run bench:handover [-- --n 50] [--json]`: pay → serving on real machines, and the other ways in the same run.
 * Writes docs/benchmarks/handover.md. With --json the last line is {"n":…,"p50":…,"p90":…,"p99":…} in milliseconds.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type HandOver, measure, measureRestart } from "./handover/measure.ts";
import { armed, keepAdminAccess, recycle, withHold } from "./handover/recycle.ts";
import { headline, type Results, report } from "./handover/report.ts";
import { models, pause, type Rig, startRig } from "./handover/rig.ts";

const { values } = parseArgs({
  options: {
    n: { type: "string", default: "50" },
    /** How many machines are built and recycled. */
    machines: { type: "string", default: "3" },
    restart: { type: "string", default: "5" },
    config: { type: "string", default: "5" },
    cold: { type: "string", default: "2" },
    unwarmed: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});

function count(name: Exclude<keyof typeof values, "json">): number {
  const number = Number(values[name]);
  if (!Number.isInteger(number) || number < 0)
    throw new Error(`--${name}=${values[name]}: want a whole number`);
  return number;
}

/** After a machine was armed the host does nothing for it: a pool's machines wait for hours, not for a second. */
const settleMs = 1_500;
const plan = {
  n: count("n"),
  machines: Math.max(1, Math.min(count("machines"), count("n"))),
  restart: count("restart"),
  config: count("config"),
  cold: count("cold"),
  unwarmed: count("unwarmed"),
};

const started = performance.now();
function say(text: string): void {
  console.log(`[${((performance.now() - started) / 1_000).toFixed(0).padStart(5)} s] ${text}`);
}

function tell(what: string, one: HandOver): HandOver {
  const chat = one.chatMs === undefined ? "" : `, first reply ${Math.round(one.chatMs)} ms`;
  say(`${what}: ${Math.round(one.totalMs)} ms (${one.way}, load ${one.load.toFixed(1)}${chat})`);
  return one;
}

/** Measures `n` orders from the pool; every machine is ready and armed before each. */
async function fromPool(
  rig: Rig,
  n: number,
  what: string,
  order: (index: number) => Parameters<typeof measure>[1],
) {
  const list: HandOver[] = [];
  for (let index = 0; index < n; index++) {
    await pause(settleMs);
    const one = tell(`${what} ${index + 1}/${n}`, await measure(rig, order(index)));
    list.push(one);
    await recycle(rig, one.machine, one.token);
  }
  return list;
}

async function byRestart(rig: Rig, n: number): Promise<HandOver[]> {
  const list: HandOver[] = [];
  for (let index = 0; index < n; index++) {
    const [machine] = rig.store.machines({ states: ["ready"] });
    if (!machine) throw new Error("no machine is ready");
    const one = await withHold(rig, machine.name, () => measureRestart(rig, machine.name));
    list.push(tell(`restart ${index + 1}/${n}`, one));
    await recycle(rig, one.machine, one.token);
  }
  return list;
}

/** Every order finds the pool empty; its machine goes again before the next. */
async function cold(rig: Rig, n: number): Promise<HandOver[]> {
  const list: HandOver[] = [];
  for (let index = 0; index < n; index++) {
    await rig.poolIs(({ live }) => live === 0);
    const one = tell(`cold ${index + 1}/${n}`, await measure(rig));
    list.push(one);
    await rig.cloud.stripe.console.cancel(one.subscription).sent;
  }
  await rig.poolIs(({ live }) => live === 0);
  return list;
}

async function full(rig: Rig, machines: number): Promise<void> {
  await rig.poolIs(({ ready }) => ready >= machines);
  for (const { name } of rig.store.machines({ states: ["ready"] })) {
    await keepAdminAccess(rig, name);
    await armed(rig, name);
  }
}

/** First replies where preparing made no chat turn; the machines are not used for anything else. */
async function unwarmed(rig: Rig, n: number): Promise<HandOver[]> {
  if (n === 0) return [];
  await rig.configure({ minReady: n, maxTotal: n, warmUp: false });
  await rig.restartDaemon();
  await full(rig, n);
  const list: HandOver[] = [];
  for (let index = 0; index < n; index++) {
    await pause(settleMs);
    list.push(tell(`not warmed up ${index + 1}/${n}`, await measure(rig, { chat: true })));
  }
  return list;
}

function tellAll(results: Results): void {
  const text = report(results);
  console.log(`\n${text}`);
  writeFileSync(fileURLToPath(new URL("../../docs/benchmarks/handover.md", import.meta.url)), text);
}

const { machines } = plan;
say(`building ${machines} machines`);
const rig = await startRig({ minReady: machines, maxTotal: machines }, say);
try {
  await full(rig, machines);
  const fresh = await fromPool(rig, machines, "first of a machine's life", () => ({ chat: true }));
  const recycled = await fromPool(rig, plan.n - machines, "from the pool", () => ({}));
  // A machine keeps the model that its last order chose: the next one chooses the other.
  const chosen = new Map<string, number>();
  const config = await fromPool(rig, plan.config, "another model", () => {
    const [next] = rig.store
      .machines({ states: ["ready"] })
      .sort((a, b) => (a.readyAt ?? 0) - (b.readyAt ?? 0));
    const model = 1 - (chosen.get(next?.name ?? "") ?? 0);
    chosen.set(next?.name ?? "", model);
    return { model: models[model] ?? models[1] };
  });
  const restart = await byRestart(rig, plan.restart);
  await rig.configure({ minReady: 0, maxTotal: machines });
  const built = plan.cold > 0 ? await cold(rig, plan.cold) : [];
  if (plan.unwarmed > 0) await rig.poolIs(({ live }) => live === 0);
  const results = { pool: [...fresh, ...recycled], fresh, config, restart, cold: built };
  // Before the last part, which needs machines of its own and a new daemon: what is measured is kept.
  tellAll({ ...results, unwarmed: [] });
  if (plan.unwarmed > 0) tellAll({ ...results, unwarmed: await unwarmed(rig, plan.unwarmed) });
  if (values.json) console.log(JSON.stringify(headline(results)));
} finally {
  await rig.close();
}
