/**
 * `npm run bench:day [-- --speed 60 --share 0.99 --slots 6]`: one recorded day of customers in the local cloud, on clocks that run
 * `speed` times as fast: each buys at Stripe's stand-in when the record says, the daemon builds process machines as its
 * policy wants. Beside it what the simulator makes of the same day. Writes docs/benchmarks/day.md.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { parse, stringify } from "yaml";
import { makeBill } from "../../pool/bill/bill.ts";
import { hourMs } from "../../pool/clock.ts";
import { loadConfig } from "../../pool/config/load.ts";
import { createSealer } from "../../pool/secrets/seal.ts";
import { keptChoice } from "../../pool/sizing/kept-choice.ts";
import { chosenText } from "../../pool/sizing/policy/chosen.ts";
import { parseTrace } from "../../pool/sizing/replay/trace.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import { nodeArgs, startDaemonProcess } from "../cloud/daemon-process.ts";
import { startLocalCloud } from "../cloud/local-cloud.ts";
import { openShop } from "../cloud/shop.ts";
import { type FastTime, fastClock } from "./day/fast-clock.ts";
import { leads, measured, type Outcome, predicted, remember } from "./day/measure.ts";
import { describeMachine, table } from "./handover/statistics.ts";

const { values } = parseArgs({
  options: {
    speed: { type: "string", default: "60" },
    share: { type: "string", default: "0.99" },
    slots: { type: "string", default: "6" },
  },
});
const speed = Number(values.speed);
const share = Number(values.share);
const dayMs = 24 * hourMs;
/** Until the first customer the pool is filled and its builds are measured. */
const eveMs = 2 * hourMs;
const slots = Number(values.slots);

const { claims: recorded } = parseTrace(
  readFileSync(join(import.meta.dirname, "../sizing/traces/retail-orders.csv"), "utf8"),
  "retail-orders.csv",
);

/** The last day of the record that has as many customers as the median of all days on which anybody came. */
function ordinaryDay(): number {
  const counts = new Map<number, number>();
  for (const at of recorded) {
    const day = Math.floor(at / dayMs) * dayMs;
    counts.set(day, (counts.get(day) ?? 0) + 1);
  }
  const sorted = [...counts.values()].sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  return Math.max(...[...counts].flatMap(([day, count]) => (count === median ? [day] : [])));
}

const recordedDay = ordinaryDay();
// The same weekday, so that clocks and certificates are of this time.
const shift = Math.floor((Date.now() - recordedDay) / (7 * dayMs)) * 7 * dayMs;
const day = { from: recordedDay + shift, to: recordedDay + shift + dayMs };
const known = recorded.filter((at) => at < recordedDay + dayMs).map((at) => at + shift);
const before = known.filter((at) => at < day.from);
const customers = known.filter((at) => at >= day.from);

const dir = mkdtempSync(join(tmpdir(), "clawpool-day-"));
const cleanUps: (() => unknown)[] = [() => rmSync(dir, { recursive: true, force: true })];
try {
  // Nothing is built meanwhile: what the parts need is there before time begins to run.
  const time: FastTime = { really: Date.now() + 60_000, shown: day.from - eveMs, speed };
  const clock = fastClock(time);
  const cloud = await startLocalCloud({
    ...{ machines: "process", dir, clock, serverLimit: 500 },
    onProgress: (text) => console.log(text),
  });
  cleanUps.push(() => cloud.stop());
  const operator = await cloud.writeConfig({ maxTotal: 400, maxParallelBuilds: slots });
  const file = parse(readFileSync(operator.configFile, "utf8"));
  Object.assign(file.pools["small-eu"], {
    min_ready: 0,
    max_ready: 20,
    sizing: {
      policy: "adaptive",
      target_hit_share: share,
      time_zone: "UTC",
      floors: [{ cron: `0 ${24 - eveMs / hourMs} * * *`, for: "2h", ready: 3 }],
    },
  });
  // What is real takes `speed` times as long on the fast clock.
  const patient = (minutes: number) => `${minutes * speed}m`;
  file.deadlines = {
    ...{ creating: patient(5), booting: patient(5), preparing: patient(10), proving: patient(5) },
    ...{ handing_over: patient(2) },
  };
  file.sweeps = { orphan_grace: patient(30) };
  // Who is served is not what is measured.
  file.serving = { heartbeat: patient(10) };
  writeFileSync(operator.configFile, stringify(file));
  const config = loadConfig(operator.configFile);
  const [pool] = config.pools;
  if (!pool) throw new Error("no pool");
  const storeFile = join(operator.stateDir, "clawpool.sqlite");
  await mkdir(operator.stateDir, { recursive: true, mode: 0o700 });
  const open = () => openSqliteStore({ file: storeFile, sealer: createSealer(config.sealingKeys), clock });
  open().close();
  remember(storeFile, pool, "eu-central", before);

  await delay(Math.max(0, time.really - Date.now()));
  const program = join(import.meta.dirname, "day/daemon-child.ts");
  const daemon = await startDaemonProcess(
    operator.configFile,
    join(dir, "daemon.log"),
    nodeArgs(program, operator.configFile, JSON.stringify(time)),
  );
  cleanUps.push(() => daemon.stop());
  cloud.stripe.setWebhook(`${daemon.url}/webhooks/stripe`);
  const shop = openShop(daemon.url, operator.apiToken);
  const store = open();
  cleanUps.push(() => store.close());
  const until = (at: number) => delay(Math.max(0, at - clock.now()) / speed);

  await until(day.from);
  const eve = leads(store, pool);
  const policy = keptChoice(store, pool)?.policy;
  const chosen = policy ? chosenText(policy) : "a price found by own misses";
  const span = { ...day, fillFrom: time.shown };
  const beforehand = predicted(store, pool, { claims: known, span, lead: eve, slots });
  const loads: number[] = [];
  const served: Promise<unknown>[] = [];
  for (const [index, at] of customers.entries()) {
    await until(at);
    const order = await shop.order({ customer: `customer-${index}` });
    served.push(shop.follow(order.id, ["running"]));
    const { sent } = cloud.stripe.console.buy(order.checkout_session ?? "");
    await sent;
    loads.push(loadavg()[0] ?? 0);
    const view = new Date(clock.now()).toISOString().slice(11, 16);
    console.log(
      `${view} customer ${index + 1} of ${customers.length}, ${store.machines({ pool: pool.name, states: ["ready"] }).length} ready`,
    );
  }
  await Promise.all(served);
  await until(day.to);

  const real = measured(store, pool, day);
  const asBuilt = predicted(store, pool, { claims: known, span, lead: leads(store, pool), slots });
  const now = clock.now();
  const waiting = makeBill(store, { from: day.from, until: day.to }, now).rows.filter(
    ({ purpose }) => purpose !== "serving",
  );
  const own = makeBill(store, { from: time.shown - dayMs, until: day.to + dayMs }, now).net;
  const euros = {
    waiting: waiting.reduce((sum, row) => sum + row.net, 0),
    own,
    hetzner: cloud.hetzner.bill().total,
  };
  const planned = `${eve.builds.length} builds on the eve, planned with ${Math.round(eve.planMs / 1_000)} s of lead time, sized by ${chosen}`;
  const text = report({ real, beforehand, asBuilt }, euros, planned, loads);
  console.log(text);
  writeFileSync(join(import.meta.dirname, "../../docs/benchmarks/day.md"), text);
} finally {
  for (const clean of cleanUps.reverse()) await clean();
}

function report(
  outcomes: { readonly real: Outcome; readonly beforehand: Outcome; readonly asBuilt: Outcome },
  euros: { readonly waiting: number; readonly own: number; readonly hetzner: number },
  planned: string,
  loads: readonly number[],
): string {
  const row = (
    name: string,
    { claims, hits, idleHours, paidHours, built, wasted, missedWaitMs }: Outcome,
  ) => [
    ...[name, claims, `${hits} (${((100 * hits) / claims).toFixed(1)} %)`, idleHours.toFixed(1)],
    ...[(idleHours / claims).toFixed(3), paidHours, built, wasted],
    missedWaitMs === null ? "–" : `${Math.round(missedWaitMs / 1_000)} s`,
  ];
  return `# A recorded day of customers, against the simulator

\`npm run bench:day\`, ${describeMachine()}; load ${Math.min(...loads).toFixed(1)}–${Math.max(...loads).toFixed(1)}.
Of \`retail-orders\` the ${new Date(recordedDay).toISOString().slice(0, 10)}, ${speed} times as fast: the daemon, terraform, Ansible and folder machines are real, and as fast as they
are (so a build seems ${speed} times as long); Stripe, Hetzner and Tailscale are the local cloud's. The pool is \`adaptive\`, asked for
${100 * share} %, and remembers the ${before.length} customers of before; at most ${slots} builds at once. ${planned}. All times are the fast clock's.

${table(
  [
    "",
    "customers",
    "found one ready",
    "idle h",
    "idle h a claim",
    "paid h",
    "built",
    "wasted",
    "median wait of the others",
  ],
  [
    row("the daemon", outcomes.real),
    row("simulated, with the eve's builds", outcomes.beforehand),
    row("simulated, with the day's builds", outcomes.asBuilt),
  ],
)}

"Paid" are begun hours until a customer took the machine, or it was gone. The daemon counts EUR ${euros.waiting.toFixed(4)} net for machines
that did not serve that day, and EUR ${euros.own.toFixed(4)} for all and everything; Hetzner's stand-in bills EUR ${euros.hetzner.toFixed(4)}.
`;
}
