import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { stringify } from "yaml";
import { type ConfigChange, changedKeys, configChange } from "../config/changes.ts";
import { type ConfigSource, fileOf, loadConfig, loadSource } from "../config/load.ts";
import { jsonSchema } from "../config/shape.ts";
import { needsRestart } from "../config/watch.ts";
import { configHistory } from "../store/configs.ts";
import type { AppliedConfig } from "../store/store.ts";
import { storeFile } from "../store/store-file.ts";
import { applyConfig } from "./config-apply.ts";
import { table } from "./table.ts";

/** `clawpool config check|diff|apply|history|show|schema`. */
export function registerConfig(program: Command): void {
  const config = program.command("config").description("look at the configuration, and change it");
  const present = (): string => program.opts().config;
  const stored = (given: string | undefined): AppliedConfig[] => {
    const file = given ?? storeFile(loadSource(present(), { secrets: "left out" }).config.stateDir);
    return configHistory(file);
  };
  const store = [
    "--store <file>",
    "the store's file, e.g. of a backup (default: the one in state_dir)",
  ] as const;

  config
    .command("check")
    .argument("[file]", "default: the file of --config")
    .description("say whether a file is usable, and what it means; exit status 2 when it is not")
    .action((file: string | undefined) => describeUsable(file ?? present()));
  config
    .command("diff")
    .argument("[file]", "default: the file of --config")
    .description("what a file would change against what the daemon runs, key by key; nothing is changed")
    .option("--json", "as JSON")
    .action((file: string | undefined, options: { json?: boolean }) => {
      const next = loadSource(file ?? present(), { secrets: "left out" });
      const comparison = compare(next, inForce(next, file === undefined ? null : present()));
      console.log(options.json ? JSON.stringify(comparison, null, 2) : describeComparison(comparison));
    });
  config
    .command("apply")
    .argument("<file>", "the new configuration; it takes the place of the file of --config")
    .description(
      "put a file in the configuration's place and have the daemon take it over at once, all or nothing",
    )
    .option("-n, --dry-run", "only check it and say what it would change")
    .action(async (file: string, { dryRun = false }: { dryRun?: boolean }) => {
      const next = loadSource(file);
      const comparison = compare(next, inForce(next, present()));
      console.log(describeComparison(comparison));
      if (dryRun) return;
      const { stateDir } = next.config;
      const to = resolve(present());
      const answer = await applyConfig(stateDir, next.path, to);
      console.log(
        answer
          ? `${answer.outcome === "unchanged" ? "Nothing to apply" : "Applied"}: the daemon runs ${to} as it is now.`
          : `Written to ${to}; no daemon runs on ${stateDir}, the next one starts with it.`,
      );
    });
  config
    .command("history")
    .description("the configurations that were in force, by whom and since when")
    .option(...store)
    .option("--json", "as JSON, with their changes")
    .action((options: { store?: string; json?: boolean }) => {
      const history = stored(options.store);
      console.log(options.json ? JSON.stringify(history, null, 2) : describeHistory(history));
    });
  config
    .command("show")
    .description("print a configuration that was in force, as it was written but for its comments")
    .option("--at <n>", "its number in `clawpool config history` (default: the last)")
    .option(...store)
    .option("--json", "as JSON")
    .action((options: { at?: string; store?: string; json?: boolean }) => {
      const history = stored(options.store);
      const found =
        options.at === undefined ? history.at(-1) : history.find(({ n }) => String(n) === options.at);
      if (!found) {
        const known = history.length === 0 ? "none was in force yet" : `1 to ${history.length} are known`;
        throw new Error(`there is no configuration ${options.at ?? ""}: ${known}`);
      }
      const { written, n, actor: by, at } = found;
      console.log(
        options.json
          ? JSON.stringify(written, null, 2)
          : `# configuration ${n}, in force since ${day(at)} by ${by}\n${stringify(written).trimEnd()}`,
      );
    });
  config
    .command("schema")
    .description("print the JSON Schema of the file, for editors")
    .action(() => console.log(JSON.stringify(jsonSchema(), null, 2)));
}

const day = (at: number): string => new Date(at).toISOString();

function describeUsable(file: string): void {
  const { pools, maxTotal } = loadConfig(file);
  console.log(
    `${file} is usable: ${pools.length} pool${pools.length === 1 ? "" : "s"}, at most ${maxTotal} machines`,
  );
  for (const pool of pools) {
    const { name, plan, serverType, locations, minReady } = pool;
    console.log(
      `  ${name}: plan ${plan}, ${serverType} in ${locations.join(", ")}; keeps ${minReady} warm, at most ${pool.maxTotal}`,
    );
  }
}

interface InForce {
  /** In words: which configuration this is. */
  readonly what: string;
  readonly source: Pick<ConfigSource, "file"> | null;
}

/** What the daemon runs, by its own list; before there is one, the file that it would read. */
function inForce(next: ConfigSource, present: string | null): InForce {
  const file = storeFile(next.config.stateDir);
  const last = existsSync(file) ? configHistory(file).at(-1) : undefined;
  if (last) {
    const what = `configuration ${last.n}, in force since ${day(last.at)} by ${last.actor}`;
    const content = fileOf(last.written);
    return content
      ? { what, source: { file: content } }
      : { what: `${what}, which this release cannot read: every key is new`, source: null };
  }
  if (present === null || resolve(present) === next.path) {
    return { what: "nothing: no daemon ran here yet", source: null };
  }
  const source = loadSource(present, { secrets: "left out" });
  return { what: `${present}; no daemon ran here yet`, source };
}

interface Comparison {
  readonly file: string;
  readonly against: string;
  readonly change: ConfigChange;
  /** Keys that the running daemon does not take over: it refuses the whole file until it is started anew. */
  readonly needRestart: readonly string[];
}

function compare(next: ConfigSource, { what, source }: InForce): Comparison {
  const change = configChange(source?.file ?? null, next.file);
  const needRestart = source ? changedKeys(change).filter(needsRestart) : [];
  return { file: next.path, against: what, change, needRestart };
}

function describeComparison({ file, against, change, needRestart }: Comparison): string {
  const keys = changedKeys(change);
  if (keys.length === 0) return `${file} says the same as ${against}.`;
  const rows = keys.map((key) => [
    key,
    shown(change.before, key),
    shown(change.after, key),
    needRestart.includes(key) ? "restart" : "",
  ]);
  const lines = [`${file} against ${against}:`, table(["KEY", "BEFORE", "AFTER", "NEEDS"], rows)];
  if (needRestart.length > 0) {
    lines.push(
      "A running daemon refuses this file as a whole: what needs a restart comes with the next start only.",
    );
  }
  return lines.join("\n");
}

const shown = (side: Readonly<Record<string, unknown>>, key: string): string => {
  const value = side[key];
  if (value === undefined) return "-";
  return typeof value === "string" ? value : JSON.stringify(value);
};

function describeHistory(history: readonly AppliedConfig[]): string {
  if (history.length === 0) return "No configuration was in force yet.";
  const rows = history.map(({ n, at, actor: by, how, change }) => {
    const keys = changedKeys(change);
    const some = keys.slice(0, 3).join(", ");
    return [String(n), day(at), by, how, keys.length > 3 ? `${some}, ${keys.length - 3} more` : some || "-"];
  });
  return table(["N", "SINCE", "WHO", "HOW", "CHANGED"], rows);
}
