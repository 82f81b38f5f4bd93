import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Command, Option } from "commander";
import { z } from "zod";
import { loadConfig } from "../config/load.ts";
import { auditRow } from "../store/audit.ts";
import { type AuditHead, canonicalJson, headText, type StoredAuditRow } from "../store/audit-chain.ts";
import { type AuditReport, openAuditFile } from "../store/audit-file.ts";
import { csvLine } from "./csv.ts";

interface ExportOptions {
  readonly store?: string;
  readonly since?: string;
  readonly until?: string;
  readonly subject?: string;
  readonly format: "jsonl" | "csv";
}

/** `clawpool audit verify` and `clawpool audit export`: on the store's file, whether the daemon runs or not. */
export function registerAudit(program: Command): void {
  const storeFile = (given: string | undefined): string =>
    given ?? join(loadConfig(program.opts().config).stateDir, "clawpool.sqlite");
  const store = [
    "--store <file>",
    "the store's file, e.g. of a backup (default: the one in state_dir)",
  ] as const;

  const audit = program.command("audit").description("what was decided and done, by whom and why");
  audit
    .command("verify")
    .description(
      "follow the chain of the audit rows and name the first that is wrong (then the exit status is 1)",
    )
    .option("--head <seq:hash>", "a head that was noted earlier, as the daemon logs it each hour")
    .option(...store)
    .option("--json", "as JSON")
    .action((options: { head?: string; store?: string; json?: boolean }) => {
      const recorded = options.head === undefined ? null : parseHead(options.head);
      const file = openAuditFile(storeFile(options.store));
      try {
        const report = file.verify(recorded);
        console.log(options.json ? JSON.stringify(report, null, 2) : describe(report, recorded));
        if (report.finding) process.exitCode = 1;
      } finally {
        file.close();
      }
    });
  audit
    .command("export")
    .description("print the audit rows, oldest first")
    .option("--since <time>", "from this time on: 2026-11-01 (UTC) or 2026-11-01T09:30:00Z")
    .option("--until <time>", "before this time")
    .option("--subject <name>", "only of this machine, order, …")
    .addOption(new Option("--format <format>", "how").choices(["jsonl", "csv"]).default("jsonl"))
    .option(...store)
    .action(async (options: ExportOptions) => {
      const since = parseTime("--since", options.since);
      const until = parseTime("--until", options.until);
      if (since !== undefined && until !== undefined && since >= until)
        throw new Error("--since is not before --until, so no row can match; exchange them");
      const { subject } = options;
      const file = openAuditFile(storeFile(options.store));
      try {
        await print(lines(file.rows({ since, until, subject }), options.format));
      } finally {
        file.close();
      }
    });
}

function describe({ rows, head, from, to, finding }: AuditReport, recorded: AuditHead | null): string {
  const good = head
    ? `${rows} row${rows === 1 ? "" : "s"} from ${day(from)} to ${day(to)}, head ${headText(head)}`
    : "no rows";
  if (finding) return `BAD  ${finding.text}\n     good before that: ${good}`;
  const still = recorded ? `; row ${recorded.seq} is as it was recorded` : "";
  return `ok   the chain is sound: ${good}${still}`;
}

const day = (at: number | null): string => new Date(at ?? 0).toISOString();

/** @throws Error naming the option */
function parseHead(text: string): AuditHead {
  const [, seq, hash] = /^([1-9][0-9]{0,15}):([0-9a-f]{64})$/.exec(text.trim()) ?? [];
  if (seq && hash) return { seq: Number(seq), hash };
  throw new Error(
    `--head ${text}: want <seq>:<hash>, a number and 64 hex digits, as in the daemon's log line "audit head"`,
  );
}

/** @throws Error naming the option */
function parseTime(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const good = z.union([z.iso.date(), z.iso.datetime({ offset: true })]).safeParse(text).success;
  if (good) return Date.parse(text);
  throw new Error(
    `${option} ${text}: want a day (2026-11-01, UTC) or a time with its zone (2026-11-01T09:30:00Z)`,
  );
}

const columns = [
  "seq",
  "time",
  "actor",
  "action",
  "subject",
  "why",
  "run",
  "before",
  "after",
  "detail",
  "hash",
];

function* lines(rows: Iterable<StoredAuditRow>, format: ExportOptions["format"]): Generator<string, void> {
  if (format === "csv") yield csvLine(columns);
  for (const row of rows) yield format === "csv" ? csvOf(row) : `${canonicalJson(auditRow(row))}\n`;
}

const csvOf = ({ seq, at, actor, action, subject, why, run, before, after, detail, hash }: StoredAuditRow) =>
  csvLine([seq, day(at), actor, action, subject, why, run, before, after, detail, hash]);

/** As fast as the reader takes them; a reader that has seen enough (`| head`) is no error. */
async function print(text: Iterable<string>): Promise<void> {
  try {
    await pipeline(Readable.from(text), process.stdout, { end: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
}
