/** What a configuration would change against the one in force: key by key, in machines, and in money. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { systemClock } from "../clock.ts";
import { type ConfigChange, changedKeys, configChange } from "../config/changes.ts";
import type { Config } from "../config/config.ts";
import { type ConfigSource, configOf, fileOf, loadSource } from "../config/load.ts";
import type { ConfigFile } from "../config/shape.ts";
import { needsRestart } from "../config/watch.ts";
import { effectOf, effectText, type PoolEffect } from "../sizing/background/effect.ts";
import { configHistory } from "../store/configs.ts";
import { openStoreForReading } from "../store/reading.ts";
import { storeFile } from "../store/store-file.ts";
import { table } from "./table.ts";

interface InForce {
  /** In words: which configuration this is. */
  readonly what: string;
  readonly file: ConfigFile | null;
  readonly config: Config | null;
}

/** What the daemon runs, by its own list; before there is one, the file that it would read. */
function inForce(next: ConfigSource, present: string | null): InForce {
  const store = storeFile(next.config.stateDir);
  const last = existsSync(store) ? configHistory(store).at(-1) : undefined;
  if (last) {
    const since = new Date(last.at).toISOString();
    const what = `configuration ${last.n}, in force since ${since} by ${last.actor}`;
    const [file, config] = [fileOf(last.written), configOf(last.written, next.path)];
    if (file) return { what, file, config };
    return { what: `${what}, which this release cannot read: every key is new`, file: null, config: null };
  }
  if (present === null || resolve(present) === next.path) {
    return { what: "nothing: no daemon ran here yet", file: null, config: null };
  }
  const { file, config } = loadSource(present, { secrets: "left out" });
  return { what: `${present}; no daemon ran here yet`, file, config };
}

export interface Comparison {
  readonly file: string;
  readonly against: string;
  readonly change: ConfigChange;
  /** Keys that the running daemon does not take over: it refuses the whole file until it is started anew. */
  readonly needRestart: readonly string[];
  /** In machines and money, of the pools where it is another. */
  readonly effect: readonly PoolEffect[];
}

/** @param present the file of `clawpool -c`; null: it is the one that is compared */
export function compare(next: ConfigSource, present: string | null): Comparison {
  const { what, file, config } = inForce(next, present);
  const change = configChange(file, next.file);
  const needRestart = file ? changedKeys(change).filter(needsRestart) : [];
  const path = storeFile(next.config.stateDir);
  const store = existsSync(path) ? openStoreForReading(path) : null;
  try {
    const effect = effectOf(config, next.config, store, systemClock.now());
    return { file: next.path, against: what, change, needRestart, effect };
  } finally {
    store?.close();
  }
}

export function describeComparison({ file, against, change, needRestart, effect }: Comparison): string {
  const keys = changedKeys(change);
  if (keys.length === 0) return `${file} says the same as ${against}.`;
  const rows = keys.map((key) => [
    key,
    shown(change.before, key),
    shown(change.after, key),
    needRestart.includes(key) ? "restart" : startsRollout.test(key) ? "roll-out" : "",
  ]);
  const lines = [`${file} against ${against}:`, table(["KEY", "BEFORE", "AFTER", "NEEDS"], rows)];
  if (needRestart.length > 0) {
    lines.push(
      "A running daemon refuses this file as a whole: what needs a restart comes with the next start only.",
    );
  }
  if (effect.length > 0) lines.push("What it means:", ...effect.map((each) => `  ${effectText(each)}`));
  return lines.join("\n");
}

/** What warm machines are made of: those that are there are replaced. */
const startsRollout = /^pools\.[^.]+\.(?:image|server_type)$|^prepare\./;

const shown = (side: Readonly<Record<string, unknown>>, key: string): string => {
  const value = side[key];
  if (value === undefined) return "-";
  return typeof value === "string" ? value : JSON.stringify(value);
};
