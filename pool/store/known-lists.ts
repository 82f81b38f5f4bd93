/**
 * What was read and has not been written to since. The loop asks for the same few lists after each look, some hundred
 * times between two changes. Every statement that may write passes here, so no verb has to remember to say what it changed.
 */
import type { Database, Statement } from "better-sqlite3";

export interface KnownLists {
  /** What `read` gave the last time, until `table` is written to: by this connection, or anything by another. */
  get<T>(table: string, key: string, read: () => T): T;
  /** The database was changed otherwise than by a statement, e.g. rolled back. */
  forget(): void;
}

/** With `LIMIT ?` SQLite plans, and so compiles, the statement anew for each number that it is given. */
export const anyLimit = "LIMIT ? + 0";

/** `INSERT INTO t`, `INSERT OR REPLACE INTO t`, `UPDATE t`, `UPDATE OR FAIL t`, `DELETE FROM t`. */
const written = /^\s*(?:INSERT\b[^(]*?\bINTO|UPDATE(?:\s+OR\s+\w+)?|DELETE\s+FROM)\s+(\w+)/i;

/**
 * Compiling a statement takes longer than running it; the verbs use the same hundred again and again. From now on
 * `db.prepare` gives the statement that it gave before.
 */
export function keepStatements(db: Database): KnownLists {
  const statements = new Map<string, Statement>();
  const prepare = db.prepare.bind(db);
  const known = new Map<string, Map<string, unknown>>();
  // Another connection's commit counts it up, this one's own do not; nobody else has a database in memory.
  const dataVersion = db.memory ? null : prepare<[], number>("PRAGMA data_version").pluck();
  let seen = dataVersion?.get();

  function watchWrites(statement: Statement, sql: string): void {
    const table = written.exec(sql)?.[1];
    const forget = () => (table === undefined ? known.clear() : known.delete(table));
    for (const way of ["run", "get", "all"] as const) {
      const work = statement[way].bind(statement) as (...parameters: unknown[]) => never;
      statement[way] = (...parameters: unknown[]) => {
        forget();
        return work(...parameters);
      };
    }
  }

  db.prepare = ((sql: string) => {
    const old = statements.get(sql);
    if (old) return old;
    const statement = prepare(sql);
    if (!statement.readonly) watchWrites(statement, sql);
    statements.set(sql, statement);
    return statement;
  }) as typeof db.prepare;

  return {
    forget: () => known.clear(),
    get<T>(table: string, key: string, read: () => T): T {
      const version = dataVersion?.get();
      if (version !== seen) known.clear();
      seen = version;
      let lists = known.get(table);
      if (!lists) {
        lists = new Map();
        known.set(table, lists);
      }
      if (!lists.has(key)) lists.set(key, read());
      return lists.get(key) as T;
    },
  };
}
