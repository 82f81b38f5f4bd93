/**
 * The audit log: every decision and every run of something outside, one row each, written in the transaction of the
 * change that it tells of. Rows are only ever added (the triggers of schema.ts refuse the rest) and form a chain
 * (audit-chain.ts).
 */
import type { Database } from "better-sqlite3";
import type { Clock } from "../clock.ts";
import { type AuditHead, canonicalJson, genesis, rowHash, type StoredAuditRow } from "./audit-chain.ts";
import { anyLimit } from "./known-lists.ts";
import type { AuditFacts, AuditRow, Store } from "./store.ts";

/** Longer words are cut: other people's error texts have no end, and a row is kept for ever. */
const longestText = 2_000;

export interface AuditLog {
  /** Inside the caller's transaction. */
  append(actor: string, action: string, subject: string, facts: AuditFacts): void;
  rows(filter: { readonly subject?: string; readonly limit?: number }): AuditRow[];
  head(): AuditHead | null;
  hash(seq: number): string | null;
}

export function createAuditLog(db: Database, clock: Clock): AuditLog {
  const last = db.prepare<[], AuditHead>("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1");
  // Not the last row's number: numbers of rows that somebody cut off are not given again, so that the gap shows.
  const numbered = db.prepare<[], { seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'audit'");
  const insert = db.prepare(
    `INSERT INTO audit (seq, at, actor, action, subject, why, run, before, after, detail, hash)
     VALUES (@seq, @at, @actor, @action, @subject, @why, @run, @before, @after, @detail, @hash)`,
  );
  const rows = db.prepare<[string | null, string | null, number], StoredAuditRow>(
    `SELECT * FROM (SELECT * FROM audit WHERE ? IS NULL OR subject = ? ORDER BY seq DESC ${anyLimit}) ORDER BY seq`,
  );

  return {
    append(actor, action, subject, { why, run, before, after, ...detail }) {
      const row = {
        seq: (numbered.get()?.seq ?? 0) + 1,
        at: clock.now(),
        actor: clean(actor),
        action: clean(action),
        subject: clean(subject),
        why: clean(why),
        run: run === undefined || run === null ? null : clean(run),
        before: before ? canonicalJson(before) : null,
        after: after ? canonicalJson(after) : null,
        detail: canonicalJson(detail),
      };
      insert.run({ ...row, hash: rowHash(last.get()?.hash ?? genesis, row) });
    },
    rows: ({ subject = null, limit = 1_000 }) => rows.all(subject, subject, limit).map(auditRow),
    head: () => last.get() ?? null,
    hash: (seq) =>
      db.prepare<[number], { hash: string }>("SELECT hash FROM audit WHERE seq = ?").get(seq)?.hash ?? null,
  };
}

export function auditVerbs(
  log: AuditLog,
  write: <T>(work: () => T) => T,
): Pick<Store, "audit" | "auditRows" | "auditHead" | "auditHash"> {
  return {
    audit: (actor, action, subject, facts) => write(() => log.append(actor, action, subject, facts)),
    auditRows: (filter = {}) => log.rows(filter),
    auditHead: () => log.head(),
    auditHash: (seq) => log.hash(seq),
  };
}

export const auditRow = (row: StoredAuditRow): AuditRow => ({
  ...row,
  before: row.before === null ? null : JSON.parse(row.before),
  after: row.after === null ? null : JSON.parse(row.after),
  detail: JSON.parse(row.detail),
});

/** UTF-8 cannot hold half a surrogate pair: SQLite would give another text back than was hashed. */
function clean(text: string): string {
  const whole = text.toWellFormed();
  return whole.length <= longestText ? whole : `${whole.slice(0, longestText).toWellFormed()}…`;
}

/**
 * What of a row changed, for `before` and `after`; null when nothing did. Only the named fields are looked at, so that
 * what must not be kept for ever never gets here.
 */
export function changedFields<Row extends object>(
  before: Row,
  after: Row,
  fields: readonly (keyof Row & string)[],
): { before: Record<string, unknown>; after: Record<string, unknown> } | null {
  const changed = fields.filter(
    (field) => before[field] !== after[field] && canonicalJson(before[field]) !== canonicalJson(after[field]),
  );
  if (changed.length === 0) return null;
  const pick = (row: Row) => Object.fromEntries(changed.map((field) => [field, row[field]]));
  return { before: pick(before), after: pick(after) };
}
