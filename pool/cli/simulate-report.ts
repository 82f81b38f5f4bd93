/** Runs what `clawpool simulate` was asked for, and puts it into words. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { systemClock } from "../clock.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import { duration } from "../config/duration.ts";
import { loadSource } from "../config/load.ts";
import { drawDays, drawSvg } from "../sizing/replay/picture.ts";
import { ownHistory, type Setting, setting } from "../sizing/replay/setting.ts";
import { type Row, type Simulation, simulate } from "../sizing/replay/simulate.ts";
import { parseTrace } from "../sizing/replay/trace.ts";
import { openStoreForReading, type ReadableStore } from "../store/reading.ts";
import { storeFile } from "../store/store-file.ts";
import type { SimulateOptions } from "./simulate.ts";
import { table } from "./table.ts";

const shownDays = 7;
const slotsInPicture = 48 * 14;

/** @param presentFile that of `clawpool -c`. @throws Error naming the option or the file that is wrong */
export function runSimulation(presentFile: string, options: SimulateOptions): string {
  const sides = configurations(presentFile, options.config);
  const config = sides.next ?? sides.present;
  if (!config) throw new Error(`${presentFile} does not exist; name a configuration with --config`);
  const store = openStore(options.store ?? storeFile(config.stateDir), options);
  try {
    const reports = chosenPools(config, options.pool).map((pool): Report => {
      const pools = { present: poolNamed(sides.present, pool.name), next: poolNamed(sides.next, pool.name) };
      const { experiment, notes, currency } = settingOf(pool, config, store, options);
      return { ...simulate(pools, experiment), notes, currency };
    });
    const pictures = reports.flatMap((report) => {
      if (options.picture === undefined) return [];
      const file = reports.length > 1 ? ofPool(options.picture, report.pool) : options.picture;
      writeFileSync(file, drawSvg(report.slots.slice(-slotsInPicture), titleOf(report)));
      return [`Picture: ${file}`];
    });
    if (options.json) {
      const shown = reports.map(({ slots, rows, ...report }) => ({ ...report, rows: rows.map(plain) }));
      return JSON.stringify(shown, null, 2);
    }
    const texts = reports.map((report) => `${describe(report)}\n\n${drawDays(report.slots, shownDays)}`);
    return [...texts, ...pictures].join("\n\n");
  } finally {
    store?.close();
  }
}

interface Sides {
  readonly present: Config | null;
  readonly next: Config | null;
}

interface Report extends Simulation, Pick<Setting, "notes" | "currency"> {}

/** No secret is read: a replay needs none. */
function configurations(present: string, next: string | undefined): Sides {
  const read = (file: string): Config => loadSource(file, { secrets: "left out" }).config;
  return {
    present: existsSync(present) ? read(present) : null,
    next: next === undefined ? null : read(next),
  };
}

const poolNamed = (config: Config | null, name: string): PoolConfig | null =>
  config?.pools.find((pool) => pool.name === name) ?? null;

function chosenPools({ pools }: Config, asked: string | undefined): readonly PoolConfig[] {
  if (asked === undefined) return pools;
  const own = pools.filter(({ name }) => name === asked);
  if (own.length > 0) return own;
  throw new Error(`there is no pool ${asked}; known: ${pools.map(({ name }) => name).join(", ")}`);
}

/** With a trace it is only asked for prices and lead times, so it may be missing. */
function openStore(file: string, { trace, store }: SimulateOptions): ReadableStore | null {
  return trace !== undefined && store === undefined && !existsSync(file) ? null : openStoreForReading(file);
}

function settingOf(
  pool: PoolConfig,
  config: Config,
  store: ReadableStore | null,
  options: SimulateOptions,
): Setting {
  const now = systemClock.now();
  const leadMs = options.leadTime === undefined ? null : parseLead(options.leadTime);
  if (options.trace !== undefined) {
    return setting(pool, config, parseTrace(read(options.trace), options.trace), store, leadMs);
  }
  if (!store) throw new Error("without a store there is no history; name recorded claims with --trace FILE");
  const since = now - parseHistory(options.history);
  return setting(pool, config, ownHistory(store, config, pool, { since, now }), store, leadMs);
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`--trace ${file} cannot be read: ${(error as Error).message}`);
  }
}

/** @throws Error naming the option */
function parseLead(text: string): number {
  const parsed = duration.safeParse(text);
  if (parsed.success && parsed.data >= 1_000 && parsed.data <= 7_200_000) return parsed.data;
  throw new Error(`--lead-time ${text}: want between 1s and 2h, e.g. 90s, 5m`);
}

/** @throws Error naming the option */
function parseHistory(text: string): number {
  const [, count, unit = ""] = /^([1-9][0-9]{0,3})([hdw])$/.exec(text) ?? [];
  const ms = Number(count) * ({ h: 1, d: 24, w: 168 }[unit] ?? Number.NaN) * 3_600_000;
  if (ms <= 2 * 366 * 86_400_000) return ms;
  throw new Error(`--history ${text}: want hours, days or weeks, e.g. 8w, 30d; two years at most`);
}

const ofPool = (file: string, pool: string): string => `${file.replace(/\.svg$/, "")}-${pool}.svg`;

const plain = ({ candidate, ...row }: Row) => ({
  policy: candidate.name,
  hindsight: candidate.hindsight,
  ...row,
});

const day = (at: number): string => new Date(at).toISOString().slice(0, 10);

const titleOf = ({ pool, rows, to }: Report): string => {
  const own = rows.filter(({ candidate }) => !candidate.hindsight);
  const shown = own.findLast(({ candidate }) => /^(?:new|present): /.test(candidate.name));
  return `${pool}, ${shown?.candidate.name ?? ""}, to ${day(to)}: wanted (line), ready (area), misses (red)`;
};

function describe(report: Report): string {
  const { pool, rows, choices, notes, currency } = report;
  const claims = rows[0]?.claims ?? 0;
  const minutes = (report.leadMs / 60_000).toFixed(1).replace(/\.0$/, "");
  const head = [
    `${pool}: ${claims} claims from ${day(report.scoredFrom)} to ${day(report.to)}, after learning from ${day(report.from)} on; planned with ${minutes} min a build.`,
    ...notes.map((note) => `Note: ${note}.`),
  ];
  const lines = rows.map((row) => cells(row, currency));
  const columns = ["POLICY", "HIT", "SURELY", "IDLE H/CLAIM", currency ? `${currency}/MONTH` : "COST/MONTH"];
  const body = table([...columns, "WAIT P50", "P95", "WASTED", "AND MISSED"], lines);
  const legend = [
    "* picked by these very claims. SURELY: 95 % sure at least. WASTED: machines that nobody got, AND MISSED: another was",
    "begun within the hour; behind the slash if a surplus went at once, paid hour or not.",
  ];
  const chosen = choices.map(({ hitShare, chosen: choice, why }) => {
    const share = `${Number((100 * hitShare).toFixed(1))} %`;
    return `For ${share}: ${choice ? "" : "none: "}${why}.`;
  });
  return [...head, body, ...legend, ...chosen].join("\n");
}

function cells(row: Row, currency: string | null): string[] {
  const { candidate, hitShare, hitShareAtLeast, idlePerClaim, costAMonth, wait, wasted, rebuilt, atOnce } =
    row;
  const share = (value: number) => `${(Math.floor(value * 10_000) / 100).toFixed(2)} %`;
  const seconds = (ms: number | undefined) => (ms === undefined ? "-" : `${Math.round(ms / 1_000)}s`);
  return [
    `${candidate.name}${candidate.hindsight ? " *" : ""}`,
    share(hitShare),
    share(hitShareAtLeast),
    idlePerClaim.toFixed(3),
    costAMonth === null || currency === null ? "price unknown" : costAMonth.toFixed(2),
    ...[seconds(wait?.p50), seconds(wait?.p95)],
    `${wasted}/${atOnce.wasted}`,
    `${rebuilt}/${atOnce.rebuilt}`,
  ];
}
