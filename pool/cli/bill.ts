import type { Command } from "commander";
import type { Bill } from "../bill/bill.ts";
import { dayOf, periodOf } from "../bill/days.ts";
import { hourMs } from "../clock.ts";
import { loadConfig } from "../config/load.ts";
import { askDaemon } from "./admin-client.ts";
import { table } from "./table.ts";

interface Options {
  readonly day?: string;
  readonly month?: string;
  readonly json?: boolean;
}

/** `clawpool bill [--month 2026-11 | --day 2026-11-21] [--json]`. */
export function registerBill(program: Command): void {
  program
    .command("bill")
    .description("what the machines cost: hours and money by pool and purpose; this month, if not told")
    .option("--day <day>", "such as 2026-11-21 (UTC)")
    .option("--month <month>", "such as 2026-11")
    .option("--json", "as JSON")
    .action(async ({ day, month, json }: Options) => {
      if (day !== undefined && month !== undefined) throw new Error("--day and --month: want one of them");
      for (const [option, text] of Object.entries({ day, month })) {
        if (text !== undefined && isOther(option, text))
          throw new Error(`--${option} ${text}: ${wanted[option]}`);
      }
      const { stateDir } = loadConfig(program.opts().config);
      const query = new URLSearchParams({ ...(day && { day }), ...(month && { month }) });
      const bill = await askDaemon<Bill>(stateDir, "GET", `/bill?${query}`);
      console.log(json ? JSON.stringify(bill, null, 2) : describeBill(bill));
    });
}

const wanted: Readonly<Record<string, string>> = {
  day: "want a day such as 2026-11-21",
  month: "want a month such as 2026-11",
};

function isOther(option: string, text: string): boolean {
  try {
    const { from, until } = periodOf(text);
    return (option === "day") !== (until - from === 24 * hourMs);
  } catch {
    return true;
  }
}

function describeBill(bill: Bill): string {
  const { from, until, currency, rows, unpriced, differences } = bill;
  const money = (amount: number) => amount.toFixed(2);
  const cells = rows.map(({ pool, purpose, hours, net, gross }) => [
    pool ?? "-",
    purpose,
    hours.toFixed(1),
    money(net),
    money(gross),
  ]);
  const sum = ["all", "", bill.hours.toFixed(1), money(bill.net), money(bill.gross)];
  const unit = currency ?? "?";
  const head = ["POOL", "PURPOSE", "HOURS", `${unit} NET`, `${unit} GROSS`];
  return [
    `Machine-hours from ${dayOf(from)} to ${dayOf(until - 1)}, as far as they have begun:`,
    table(head, [...cells, sum]),
    ...unpriced.map(({ reason, hours }) => `Not in the money: ${hours} hours, ${reason}.`),
    ...(differences.length === 0 ? [] : ["Not as Hetzner shows it:"]),
    ...differences.map(
      ({ text, hours, net }) =>
        `  ${text}: ${hours} h${net === null ? "" : `, ${net.toFixed(4)} ${unit} net`}`,
    ),
  ].join("\n");
}
