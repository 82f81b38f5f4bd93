import { userInfo } from "node:os";
import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { StripeReport } from "../sweep/stripe.ts";
import { askDaemon } from "./admin-client.ts";
import { table } from "./table.ts";

/** A look at a large account takes some hundred calls, and what is found gets 15 s for its webhook to come. */
const timeoutMs = 10 * 60_000;

interface Options {
  readonly dryRun?: boolean;
  readonly since?: string;
  readonly json?: boolean;
}

/** `clawpool reconcile stripe [--dry-run] [--since 72h]`. */
export function registerReconcile(program: Command): void {
  program
    .command("reconcile")
    .description("compare what others know with what the daemon knows, now")
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
      const { stateDir } = loadConfig(program.opts().config);
      const actor = `person:${userInfo().username}`;
      const request = { dryRun, sinceMs, actor };
      const report = await askDaemon<StripeReport>(stateDir, "POST", "/reconcile/stripe", request, timeoutMs);
      console.log(json ? JSON.stringify(report, null, 2) : describe(report, dryRun));
    });
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

function describe(report: StripeReport, dryRun: boolean): string {
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
  return [...said, ...gaps.map((gap) => `Left out: ${gap}.`)].join("\n");
}
