/**
 * The audit log of a store's file, read for `clawpool audit`: beside the daemon that writes it, without one, or from a
 * backup. Nothing is written, and nothing is held: rows are read in portions, because a long SELECT would keep the
 * daemon's write-ahead log from being cut.
 */
import type { Database } from "better-sqlite3";
import { type AuditFinding, type AuditHead, ChainCheck, type StoredAuditRow } from "./audit-chain.ts";
import { auditGuards } from "./migrate-audit.ts";
import { openForReading } from "./store-file.ts";

export interface AuditFilter {
  /** Epoch ms; the first is included, the second is not. */
  readonly since?: number;
  readonly until?: number;
  readonly subject?: string;
}

export interface AuditReport {
  /** Rows that are good; all of them when there is no finding. */
  readonly rows: number;
  /** The last good row; null when the log is empty. */
  readonly head: AuditHead | null;
  /** Epoch ms of the first and the last good row. */
  readonly from: number | null;
  readonly to: number | null;
  readonly finding: AuditFinding | null;
}

export interface AuditFile {
  /** Follows the chain from its first row; `recorded` is a head that must still be in it. */
  verify(recorded?: AuditHead | null): AuditReport;
  /** In the order in which they were written. */
  rows(filter?: AuditFilter): Generator<StoredAuditRow, void>;
  close(): void;
}

const portion = 1_000;

/** @throws Error with a sentence for the operator when the file is missing, unreadable, or no store with a chain. */
export function openAuditFile(file: string): AuditFile {
  const db = open(file);
  const page = db.prepare<[Record<string, unknown>], StoredAuditRow>(
    `SELECT seq, at, actor, action, subject, why, run, before, after, detail, hash FROM audit
     WHERE seq > @seq AND (@subject IS NULL OR subject = @subject) AND at >= @since AND at < @until
     ORDER BY seq LIMIT ${portion}`,
  );

  function* rows({ since, until, subject }: AuditFilter = {}): Generator<StoredAuditRow, void> {
    const filter = {
      since: since ?? Number.MIN_SAFE_INTEGER,
      until: until ?? Number.MAX_SAFE_INTEGER,
      subject: subject ?? null,
    };
    // A forged row may have a number below 1.
    for (let seq = Number.MIN_SAFE_INTEGER; ; ) {
      const read = page.all({ ...filter, seq });
      yield* read;
      const last = read.at(-1);
      if (!last || read.length < portion) return;
      seq = last.seq;
    }
  }

  return {
    rows,
    verify(recorded = null) {
      // Before the rows are read: the daemon may add some meanwhile.
      const numbered = lastNumber(db);
      const check = new ChainCheck(recorded);
      let [from, to]: [number | null, number | null] = [null, null];
      let finding: AuditFinding | null = null;
      for (const [row, following] of pairs(rows())) {
        finding = check.next(row, following);
        if (finding) break;
        from ??= row.at;
        to = row.at;
      }
      finding ??= check.end(numbered) ?? unguarded(db);
      const { seq, hash } = check.head;
      return { rows: seq, head: seq === 0 ? null : { seq, hash }, from, to, finding };
    },
    close: () => {
      db.close();
    },
  };
}

/** Each row with the one behind it. */
function* pairs(rows: Iterable<StoredAuditRow>): Generator<[StoredAuditRow, StoredAuditRow | null], void> {
  let held: StoredAuditRow | null = null;
  for (const row of rows) {
    if (held) yield [held, row];
    held = row;
  }
  if (held) yield [held, null];
}

function open(file: string): Database {
  const db = openForReading(file);
  if (db.prepare("SELECT 1 FROM pragma_table_info('audit') WHERE name = 'hash'").get()) return db;
  db.close();
  throw new Error(
    `${file} has no chained audit log: no store, or an older clawpool wrote it. \`clawpool serve\` brings it up to date`,
  );
}

/** The highest number that SQLite gave to a row of the log; it stays when rows are cut off. */
function lastNumber(db: Database): number {
  const row = db.prepare<[], { seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").get();
  return row?.seq ?? 0;
}

/** The triggers that refuse changes: who took one away had something in mind. */
function unguarded(db: Database): AuditFinding | null {
  const there = db
    .prepare<[], { sql: string }>(
      "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'",
    )
    .all()
    .map(({ sql }) => sql);
  const missing = auditGuards.filter((guard) => !there.includes(guard));
  if (missing.length === 0) return null;
  const names = missing.map((guard) => guard.split(" ")[2]).join(", ");
  const text = `the rows are sound, but the trigger ${names} that keeps them so is not as it was made`;
  return { kind: "unguarded", seq: null, text };
}
