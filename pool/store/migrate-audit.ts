/** The migration that makes the audit rows a chain: columns for what was in `detail`, and a hash for each row. */
import type { Database } from "better-sqlite3";
import { canonicalJson, genesis, rowHash } from "./audit-chain.ts";

interface UnchainedRow {
  readonly seq: number;
  readonly at: number;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  readonly detail: string;
}

/** Rows are read in portions: SQLite does not write on a connection that is in the middle of a SELECT. */
const portion = 1_000;

const table = `
  CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    why     TEXT NOT NULL,
    run     TEXT,
    before  TEXT,
    after   TEXT,
    detail  TEXT NOT NULL,
    hash    TEXT NOT NULL
  ) STRICT`;

/** What keeps the rows as they are; the third is for INSERT OR REPLACE, which asks no DELETE trigger. */
export const auditGuards: readonly string[] = [
  "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are never changed'); END",
  "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are never deleted'); END",
  "CREATE TRIGGER audit_only_append BEFORE INSERT ON audit " +
    "WHEN NEW.seq <= (SELECT coalesce(max(seq), 0) FROM audit) " +
    "BEGIN SELECT RAISE(ABORT, 'audit rows are only appended'); END",
];

/** Inside the caller's transaction. Rows from before are kept with number and time, and hashed as they are now. */
export function chainAudit(db: Database): void {
  db.exec(`
    DROP TRIGGER audit_no_update;
    DROP TRIGGER audit_no_delete;
    DROP INDEX audit_subject;
    ALTER TABLE audit RENAME TO audit_unchained;
    ${table};`);
  const read = db.prepare<[number], UnchainedRow>(
    `SELECT * FROM audit_unchained WHERE seq > ? ORDER BY seq LIMIT ${portion}`,
  );
  const insert = db.prepare(
    `INSERT INTO audit VALUES (@seq, @at, @actor, @action, @subject, @why, @run, @before, @after, @detail, @hash)`,
  );
  let previous = { seq: 0, at: 0, hash: genesis };
  const append = (row: UnchainedRow, why: string, run: string | null, detail: unknown): void => {
    const chained = { ...row, why, run, before: null, after: null, detail: canonicalJson(detail) };
    const hash = rowHash(previous.hash, chained);
    insert.run({ ...chained, hash });
    previous = { seq: row.seq, at: row.at, hash };
  };
  for (let rows = read.all(0); rows.length > 0; rows = read.all(previous.seq)) {
    for (const row of rows) {
      const { why = "", run = null, ...detail } = JSON.parse(row.detail);
      append(row, String(why), run === null ? null : String(run), detail);
    }
  }
  if (previous.seq > 0) {
    const { seq, at } = previous;
    const mark = {
      seq: seq + 1,
      at,
      actor: "clawpool",
      action: "audit.chained",
      subject: "audit",
      detail: "",
    };
    append(mark, `rows 1 to ${seq} were written before rows had hashes, and got theirs now`, null, {});
  }
  db.exec("DROP TABLE audit_unchained; CREATE INDEX audit_subject ON audit (subject, seq)");
  for (const guard of auditGuards) db.exec(guard);
}
