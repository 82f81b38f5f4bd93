import { resolve } from "node:path";
import type { Command } from "commander";
import { stringify } from "yaml";
import { changedKeys } from "../config/changes.ts";
import { loadConfig, loadSource } from "../config/load.ts";
import { jsonSchema } from "../config/shape.ts";
import { channelsOf } from "../notify/courier.ts";
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
    .action(async (file: string | undefined, options: { json?: boolean }) => {
      const { compare, describeComparison } = await comparing();
      const next = loadSource(file ?? present(), { secrets: "left out" });
      const comparison = compare(next, file === undefined ? null : present());
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
      const { compare, describeComparison } = await comparing();
      console.log(describeComparison(compare(next, present())));
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

/** Loaded by these two alone: forecasts and replay are nothing that other commands need. */
const comparing = () => import("./config-diff.ts");

const day = (at: number): string => new Date(at).toISOString();

function describeUsable(file: string): void {
  const { pools, maxTotal, notify } = loadConfig(file);
  console.log(
    `${file} is usable: ${pools.length} pool${pools.length === 1 ? "" : "s"}, at most ${maxTotal} machines`,
  );
  for (const pool of pools) {
    const { name, plan, serverType, locations, minReady } = pool;
    console.log(
      `  ${name}: plan ${plan}, ${serverType} in ${locations.join(", ")}; keeps ${minReady} warm, at most ${pool.maxTotal}`,
    );
  }
  console.log(
    `  tells: ${channelsOf(notify).join(", ") || "nobody (there are only the flags of clawpool status)"}`,
  );
}

function describeHistory(history: readonly AppliedConfig[]): string {
  if (history.length === 0) return "No configuration was in force yet.";
  const rows = history.map(({ n, at, actor: by, how, change }) => {
    const keys = changedKeys(change);
    const some = keys.slice(0, 3).join(", ");
    return [String(n), day(at), by, how, keys.length > 3 ? `${some}, ${keys.length - 3} more` : some || "-"];
  });
  return table(["N", "SINCE", "WHO", "HOW", "CHANGED"], rows);
}
