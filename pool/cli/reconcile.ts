import { userInfo } from "node:os";
import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { StripeReport } from "../sweep/stripe.ts";
import type { SweepName, SweepReport } from "../sweep/sweep.ts";
import { askDaemon } from "./admin-client.ts";
import { table } from "./table.ts";

/** A look at a large account takes some hundred calls, and what is found gets 15 s for its webhook to come. */
const timeoutMs = 10 * 60_000;

interface Options {
  readonly dryRun?: boolean;
  readonly since?: string;
  readonly confirmLosses?: boolean;
  readonly json?: boolean;
}

const sweeps: Readonly<Record<SweepName, string>> = {
  cloud: "find servers and other things that nobody remembers, and machines whose server is gone",
  tailnet: "find devices and keys that outlived their machines, and machines that lost their device",
  terraform: "find folders without a machine, and machines without a state",
  bill: "compare the machine-hours that are counted with what Hetzner shows, and close the days that are over",
};

/** `clawpool reconcile stripe|cloud|tailnet|terraform|bill [--dry-run]`. */
export function registerReconcile(program: Command): void {
  const reconcile = program
    .command("reconcile")
    .description("compare what others know with what the daemon knows, now");
  const ask = async <Report>(name: string, request: object): Promise<Report> => {
    const { stateDir } = loadConfig(program.opts().config);
    const actor = `person:${userInfo().username}`;
    return askDaemon<Report>(stateDir, "POST", `/reconcile/${name}`, { ...request, actor }, timeoutMs);
  };

  reconcile
    .command("stripe")
    .description("find and repair what lost webhooks left undone, as the daemon does every 15 minutes")
    .option("-n, --dry-run", "only say what would be repaired")
    .option(
      "--since <time>",
      "look at checkouts as old as this: 90m, 72h, 30d (default: since the last look)",
    )
    .option("--json", "as JSON")
    .action(async ({ dryRun = false, since, json }: Options) => {
      const sinceMs = since === undefined ? undefined : parseSpan(since);
      const report = await ask<StripeReport>("stripe", { dryRun, sinceMs });
      console.log(json ? JSON.stringify(report, null, 2) : describeStripe(report, dryRun));
    });

  for (const [name, description] of Object.entries(sweeps)) {
    const command = reconcile
      .command(name)
      .description(description)
      .option("-n, --dry-run", "only say what would be done")
      .option("--json", "as JSON")
      .action(async ({ dryRun = false, confirmLosses, json }: Options) => {
        const report = await ask<SweepReport>(name, { dryRun, confirmLosses });
        console.log(json ? JSON.stringify(report, null, 2) : describe(report));
      });
    if (name === "cloud")
      command.option("--confirm-losses", "machines that are gone in great number are really gone");
  }
}

const units: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const longestMs = 90 * 86_400_000;

/** @throws Error naming the option */
function parseSpan(text: string): number {
  const [, count, unit = ""] = /^([1-9][0-9]{0,5})([mhd])$/.exec(text) ?? [];
  const ms = Number(count) * (units[unit] ?? Number.NaN);
  if (ms <= longestMs) return ms;
  throw new Error(`--since ${text}: want minutes, hours or days, e.g. 90m, 72h, 30d; 90d at most`);
}

const leftOut = (gaps: readonly string[]): string[] => gaps.map((gap) => `Left out: ${gap}.`);

function describeStripe(report: StripeReport, dryRun: boolean): string {
  const { findings, sessions, subscriptions, gaps } = report;
  const since = new Date(report.since).toISOString();
  const looked = `Compared ${sessions} checkouts since ${since} and ${subscriptions} subscriptions`;
  const rows = findings.map(({ kind, subject, order, text }) => [kind, subject, order ?? "-", text]);
  const said =
    rows.length === 0
      ? [`${looked}: all is as the webhooks said.`]
      : [
          `${looked}; ${dryRun ? "would repair" : "repaired"}:`,
          table(["KIND", "STRIPE", "ORDER", "WHAT"], rows),
        ];
  return [...said, ...leftOut(gaps)].join("\n");
}

function describe({ looked, findings, gaps }: SweepReport): string {
  const rows = findings.map(({ kind, subject, done, text }) => [kind, subject, done, text]);
  const said =
    rows.length === 0
      ? [`Compared ${looked}: all is as it should be.`]
      : [`Compared ${looked}; found:`, table(["KIND", "SUBJECT", "DONE", "WHAT"], rows)];
  return [...said, ...leftOut(gaps)].join("\n");
}
