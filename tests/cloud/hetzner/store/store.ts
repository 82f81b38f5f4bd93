import { mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import type { Documents, Kind, Stored } from "./documents.ts";

const schema = `
CREATE TABLE IF NOT EXISTS resource (
  id       INTEGER PRIMARY KEY,
  kind     TEXT NOT NULL,
  project  INTEGER NOT NULL,
  name     TEXT NOT NULL,
  document TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS resource_name ON resource (project, kind, name);

CREATE TABLE IF NOT EXISTS action (
  id         INTEGER PRIMARY KEY,
  project    INTEGER NOT NULL,
  command    TEXT NOT NULL,
  status     TEXT NOT NULL CHECK (status IN ('running', 'success', 'error')),
  duration   REAL NOT NULL,    -- ms on the emulator's clock
  started    INTEGER NOT NULL, -- ms since the epoch, as are the next two
  began      INTEGER,          -- null while it waits for the action in "after"
  finished   INTEGER,
  after      INTEGER,
  locks      INTEGER NOT NULL, -- 1: other changes of its resources get 423 meanwhile
  error      TEXT,
  parameters TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS action_running ON action (status) WHERE status = 'running';
CREATE INDEX IF NOT EXISTS action_command ON action (command);
CREATE TABLE IF NOT EXISTS action_resource (
  action   INTEGER NOT NULL REFERENCES action (id),
  type     TEXT NOT NULL,
  resource INTEGER NOT NULL,
  PRIMARY KEY (action, type, resource)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS action_of_resource ON action_resource (type, resource);

CREATE TABLE IF NOT EXISTS usage_line (
  line     INTEGER PRIMARY KEY,
  resource INTEGER NOT NULL,
  project  INTEGER NOT NULL,
  kind     TEXT NOT NULL,
  name     TEXT NOT NULL,
  type     TEXT NOT NULL,
  location TEXT NOT NULL,
  hourly   REAL NOT NULL,
  monthly  REAL NOT NULL,
  started  INTEGER NOT NULL,
  ended    INTEGER
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS usage_open ON usage_line (resource, kind) WHERE ended IS NULL;

CREATE TABLE IF NOT EXISTS token (
  digest  TEXT PRIMARY KEY, -- SHA-256 in hexadecimal
  project INTEGER NOT NULL,
  write   INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS call (
  sequence   INTEGER PRIMARY KEY,
  time       INTEGER NOT NULL,
  method     TEXT NOT NULL,
  path       TEXT NOT NULL,
  route      TEXT,
  status     INTEGER,
  project    INTEGER,
  user_agent TEXT NOT NULL,
  fault      INTEGER
) STRICT;

CREATE TABLE IF NOT EXISTS sequence (next INTEGER NOT NULL) STRICT;
INSERT INTO sequence SELECT 1000001 WHERE NOT EXISTS (SELECT 1 FROM sequence);
`;

interface Row {
  readonly id: number;
  readonly project: number;
  readonly document: string;
}

/** The emulator's state in one SQLite file; a restart on the same folder goes on where the last one ended. */
export class Store {
  readonly database: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();

  /** @param folder is made if it is missing. */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.database = new Database(join(folder, "hetzner.sqlite"));
    this.database.pragma("journal_mode = WAL");
    // Survives the death of the process; only a crash of the host may lose the last moments.
    this.database.pragma("synchronous = NORMAL");
    this.database.pragma("foreign_keys = ON");
    this.database.exec(schema);
  }

  /** Prepares `sql` once. */
  prepare(sql: string): Database.Statement {
    const known = this.#statements.get(sql);
    if (known) return known;
    const statement = this.database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  transaction<T>(work: () => T): T {
    return this.database.transaction(work).immediate();
  }

  /** Ids are unique over all kinds of one emulator (Hetzner has a series for each kind; nobody may rely on that). */
  nextId(): number {
    const row = this.prepare("UPDATE sequence SET next = next + 1 RETURNING next - 1 AS id").get() as {
      id: number;
    };
    return row.id;
  }

  insert<K extends Kind>(kind: K, project: number, document: Documents[K], id = this.nextId()): Stored<K> {
    this.prepare("INSERT INTO resource (id, kind, project, name, document) VALUES (?, ?, ?, ?, ?)").run(
      id,
      kind,
      project,
      document.name,
      JSON.stringify(document),
    );
    return { ...document, id, project };
  }

  get<K extends Kind>(kind: K, project: number, id: number): Stored<K> | null {
    const row = this.prepare(
      "SELECT id, project, document FROM resource WHERE id = ? AND kind = ? AND project = ?",
    ).get(id, kind, project) as Row | undefined;
    return row ? revive<K>(row) : null;
  }

  /**
   * Changes what is stored now, whatever has changed since `resource` was read.
   * @throws when there is no such resource: callers hold an id that they were given by this store.
   */
  update<K extends Kind>(kind: K, resource: Stored<K>, patch: Partial<Documents[K]>): Stored<K> {
    const current = this.get(kind, resource.project, resource.id);
    if (!current) throw new Error(`${kind} ${resource.id} is gone`);
    const merged: Stored<K> = { ...current, ...patch };
    const { id, project: _project, ...document } = merged;
    this.prepare("UPDATE resource SET name = ?, document = ? WHERE id = ?").run(
      merged.name,
      JSON.stringify(document),
      id,
    );
    return merged;
  }

  delete(id: number): void {
    this.prepare("DELETE FROM resource WHERE id = ?").run(id);
  }

  /** Oldest first. */
  list<K extends Kind>(kind: K, project: number): Stored<K>[] {
    const rows = this.prepare(
      "SELECT id, project, document FROM resource WHERE kind = ? AND project = ? ORDER BY id",
    ).all(kind, project) as Row[];
    return rows.map((row) => revive<K>(row));
  }

  /** Over all projects, oldest first. */
  listAll<K extends Kind>(kind: K): Stored<K>[] {
    const rows = this.prepare("SELECT id, project, document FROM resource WHERE kind = ? ORDER BY id").all(
      kind,
    ) as Row[];
    return rows.map((row) => revive<K>(row));
  }

  hasName(kind: Kind, project: number, name: string, except?: number): boolean {
    const row = this.prepare("SELECT id FROM resource WHERE project = ? AND kind = ? AND name = ?").get(
      project,
      kind,
      name,
    ) as { id: number } | undefined;
    return row !== undefined && row.id !== except;
  }

  close(): void {
    this.database.close();
  }
}

function revive<K extends Kind>(row: Row): Stored<K> {
  return { ...(JSON.parse(row.document) as Documents[K]), id: row.id, project: row.project };
}
