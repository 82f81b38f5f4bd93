import { userInfo } from "node:os";
import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { RecoveryStatus } from "../recovery/findings.ts";
import type { Released } from "../recovery/release.ts";
import { askDaemon } from "./admin-client.ts";
import { table } from "./table.ts";

/** A look asks each machine; one that does not answer takes ten seconds, ten at once. */
const lookMs = 10 * 60_000;

/** `clawpool recover`, `clawpool recover status`, `clawpool recover release`. */
export function registerRecover(program: Command): void {
  const actor = () => `person:${userInfo().username}`;
  const recover = program
    .command("recover")
    .description(
      "rebuild a lost store from the cloud, terraform's folders, the machines and Stripe, into quarantine",
    )
    .option("--json", "as JSON")
    .action(async ({ json }: { json?: boolean }) => {
      const { rebuildStore } = await import("../recovery/rebuild.ts");
      const status = await rebuildStore(loadConfig(program.opts().config), actor());
      console.log(json ? JSON.stringify(status, null, 2) : describe(status));
    });
  recover
    .command("status")
    .description("what is in quarantine, what is sure and what needs a person")
    .option("--look", "look at everything again first")
    .option("--json", "as JSON")
    .action(async (options: { look?: boolean; json?: boolean }) => {
      const { stateDir } = loadConfig(program.opts().config);
      const status = options.look
        ? await askDaemon<RecoveryStatus>(stateDir, "POST", "/recovery/look", { actor: actor() }, lookMs)
        : await askDaemon<RecoveryStatus>(stateDir, "GET", "/recovery");
      console.log(options.json ? JSON.stringify(status, null, 2) : describe(status));
    });
  recover
    .command("release")
    .description("let machines go on: all that are sure, or one by its name")
    .option("--all", "all of which the last look was sure; claims, refill and destroys go on")
    .option("--machine <name>", "this one, sure or not")
    .option("--retire", "with --machine: destroy it (only one without an order)")
    .option("--serves", "with --machine: you know that its customer is served, though it does not answer")
    .action(async (options: { all?: boolean; machine?: string; retire?: boolean; serves?: boolean }) => {
      if ((options.all === true) === (options.machine !== undefined))
        throw new Error("want --all or --machine NAME; `clawpool recover status` shows them");
      if (options.retire && options.machine === undefined)
        throw new Error("--retire destroys: name the one machine with --machine NAME");
      if (options.serves && options.machine === undefined)
        throw new Error("--serves speaks of one machine: name it with --machine NAME");
      if (options.serves && options.retire) throw new Error("want --serves or --retire, not both");
      const { stateDir } = loadConfig(program.opts().config);
      const { machine = null, retire = false, serves = false } = options;
      const request = { machine, retire, serves, actor: actor() };
      const { machines, held, ended } = await askDaemon<Released>(
        stateDir,
        "POST",
        "/recovery/release",
        request,
      );
      for (const { name, state } of machines) console.log(`${name}: goes on, ${state}`);
      if (ended) console.log("The quarantine is over.");
      for (const name of held) console.log(`${name}: still held; see \`clawpool recover status\``);
    });
}

export function describe({ quarantine, inspectedAt, machines, orders }: RecoveryStatus): string {
  const time = (at: number): string => new Date(at).toISOString();
  const head = quarantine
    ? `In quarantine since ${time(quarantine.since)}: ${quarantine.why}.`
    : "Not in quarantine.";
  const rows = machines.map(({ name, state, server, order, sure, text }) => [
    name,
    state,
    String(server ?? "-"),
    order ?? "-",
    sure ? "sure" : "A PERSON",
    text,
  ]);
  const doubtful = machines.filter(({ sure }) => !sure).length;
  return [
    head,
    inspectedAt === null ? "Nothing was looked at yet." : `Looked at ${time(inspectedAt)}.`,
    ...(rows.length > 0 ? [table(["MACHINE", "STATE", "SERVER", "ORDER", "IS", "WHY"], rows)] : []),
    ...orders.map(({ id, state, text }) => `order ${id}, ${state}: ${text}`),
    ...(quarantine
      ? [`${machines.length - doubtful} sure, ${doubtful} for a person; none is touched before.`]
      : []),
  ].join("\n");
}
