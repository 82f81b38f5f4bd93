/**
 * `npm run soak -- [--orders 200] [--seed 1] [--backend process|nspawn] [--machines 12] [--minutes 10]`: random faults and
 * SIGKILLs over so many orders, which come over so many minutes; exit 1 when anything does not hold at the end.
 */
import { parseArgs } from "node:util";
import { soak } from "./soak.ts";

const { values } = parseArgs({
  options: {
    orders: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    backend: { type: "string", default: "process" },
    machines: { type: "string", default: "12" },
    minutes: { type: "string", default: "10" },
  },
});
const positive = (name: "orders" | "seed" | "machines" | "minutes"): number => {
  const number = Number(values[name]);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new Error(`--${name}=${values[name]}: want a whole number from 1`);
  return number;
};
const { backend } = values;
if (backend !== "process" && backend !== "nspawn")
  throw new Error(`--backend=${backend}: want process or nspawn`);
const { orders, ends, served, kills, hits, servers, seconds } = await soak({
  orders: positive("orders"),
  seed: positive("seed"),
  machines: positive("machines"),
  lastsMs: positive("minutes") * 60_000,
  backend,
  onProgress: console.log,
});
const states = Object.entries(ends).map(([state, count]) => `${count} ${state}`);
console.log(
  `${orders} orders (${states.join(", ")}), ${served} served, ${kills.daemon} SIGKILLs of the daemon, ${kills.terraform} of ` +
    `terraform, ${hits} faults hit, ${servers} servers bought, all invariants hold, ${seconds.toFixed(0)} s`,
);
