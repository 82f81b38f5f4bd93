/**
 * A backup is one SQLite file: a copy of the store, with two more tables that hold what lies beside it (terraform's
 * states, the sealed records) and what the whole is. So it is written by SQLite's own online backup, checked by SQLite's
 * own check, and `clawpool audit verify --store` reads it as it is. No key is in it: what is sealed stays sealed.
 */
import { createHash } from "node:crypto";
import Database from "better-sqlite3";
import { z } from "zod";
import { headText } from "../store/audit-chain.ts";
import { openAuditFile } from "../store/audit-file.ts";

/** Below the state folder, with `/`. */
export interface ArchivedFile {
  readonly path: string;
  readonly content: Buffer;
}

const manifestShape = z.object({
  v: z.literal(1),
  instance: z.string(),
  /** Epoch ms. */
  takenAt: z.int(),
  /** The audit log's last row in it; null for an empty log. */
  head: z.object({ seq: z.int(), hash: z.string() }).nullable(),
  /** Ids of the keys that sealed what is in it. */
  sealingKeys: z.array(z.string()),
  files: z.array(z.object({ path: z.string(), sha256: z.string() })),
  /** What could not be taken, in words. */
  gaps: z.array(z.string()),
});
export type Manifest = z.output<typeof manifestShape>;

const tables = `
  CREATE TABLE backup_manifest (text TEXT NOT NULL) STRICT;
  CREATE TABLE backup_file (path TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT;
`;

const sha256 = (content: Buffer): string => createHash("sha256").update(content).digest("hex");

/** Adds what makes a copy of the store a backup. */
export function pack(
  file: string,
  about: Omit<Manifest, "v" | "head" | "sealingKeys" | "files">,
  files: readonly ArchivedFile[],
): Manifest {
  const db = new Database(file, { fileMustExist: true });
  try {
    // The copy is alone: no log of its own beside it.
    db.pragma("journal_mode = DELETE");
    db.pragma("synchronous = FULL");
    const head = db
      .prepare<[], { seq: number; hash: string }>("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
      .get();
    const manifest: Manifest = {
      v: 1,
      ...about,
      head: head ?? null,
      sealingKeys: sealingKeysOf(db),
      files: files.map(({ path, content }) => ({ path, sha256: sha256(content) })),
    };
    db.transaction(() => {
      db.exec(tables);
      db.prepare("INSERT INTO backup_manifest (text) VALUES (?)").run(JSON.stringify(manifest));
      const insert = db.prepare("INSERT INTO backup_file (path, content) VALUES (?, ?)");
      for (const { path, content } of files) insert.run(path, content);
    })();
    return manifest;
  } finally {
    db.close();
  }
}

/** Turns a copy of a backup into a store again. */
export function unpack(file: string): void {
  const db = new Database(file, { fileMustExist: true });
  try {
    db.exec("DROP TABLE backup_file; DROP TABLE backup_manifest;");
  } finally {
    db.close();
  }
}

/**
 * Reads a backup and checks all of it: SQLite's structure and references, the audit chain to its head, each file's digest.
 *
 * @throws Error with a sentence that says what is wrong
 */
export function readBackup(file: string): {
  manifest: Manifest;
  schemaVersion: number;
  files: ArchivedFile[];
} {
  const bad = (what: string) => new Error(`${file} is no sound backup: ${what}`);
  let db: Database.Database;
  try {
    db = new Database(file, { readonly: true, fileMustExist: true });
  } catch (error) {
    throw bad((error as Error).message);
  }
  try {
    const [found] = db.pragma("integrity_check(1)") as { integrity_check: string }[];
    if (found?.integrity_check !== "ok") throw bad(found?.integrity_check ?? "no answer");
    if ((db.pragma("foreign_key_check") as unknown[]).length > 0)
      throw bad("rows name rows that are not there");
    const row = db.prepare<[], { text: string }>("SELECT text FROM backup_manifest").get();
    const manifest = manifestShape.parse(JSON.parse(row?.text ?? ""));
    const files = db
      .prepare<[], { path: string; content: Buffer }>("SELECT path, content FROM backup_file ORDER BY path")
      .all();
    for (const { path, sha256: wanted } of manifest.files) {
      const content = files.find((candidate) => candidate.path === path)?.content;
      if (!content || sha256(content) !== wanted) throw bad(`${path} is missing or changed`);
    }
    checkAudit(file, manifest, bad);
    return { manifest, files, schemaVersion: Number(db.pragma("user_version", { simple: true })) };
  } catch (error) {
    if (error instanceof Error && error.message.startsWith(file)) throw error;
    const { code, message } = error as { code?: string; message: string };
    if (code === "SQLITE_NOTADB" || code === "SQLITE_CORRUPT") throw bad("it is damaged, or no SQLite file");
    throw bad(/no such table/.test(message) ? "it has no manifest (a store, not a backup?)" : message);
  } finally {
    db.close();
  }
}

function checkAudit(file: string, { head }: Manifest, bad: (what: string) => Error): void {
  const audit = openAuditFile(file);
  try {
    const report = audit.verify(head);
    if (report.finding) throw bad(`its audit log: ${report.finding.text}`);
    if ((report.head?.seq ?? 0) !== (head?.seq ?? 0)) {
      throw bad(`its audit log ends at ${report.head ? headText(report.head) : "nothing"}`);
    }
  } finally {
    audit.close();
  }
}

/** Every sealed text names its key. */
function sealingKeysOf(db: Database.Database): string[] {
  const rows = db
    .prepare<[], { kid: string }>(
      `SELECT DISTINCT json_extract(secrets, '$.kid') AS kid FROM machine WHERE state <> 'destroyed'
       UNION SELECT DISTINCT json_extract(secrets, '$.kid') FROM orders`,
    )
    .all();
  return rows.map(({ kid }) => kid).sort();
}
