/** The store's file before it is opened: is it there, is it whole; and what SQLite's errors mean to an operator. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { NeedsPersonError } from "../errors.ts";
import { witnessFile } from "./witness.ts";

export const storeFile = (stateDir: string): string => join(stateDir, "clawpool.sqlite");

/**
 * Reads the whole file and follows every index (about a second for 100 MB).
 *
 * @throws NeedsPersonError when the file is damaged or cannot be read. An empty file counts as none: SQLite would take it
 * for a new database.
 */
export function inspectStore(file: string): "whole" | "missing" {
  if (!existsSync(file) || statSync(file).size === 0) return "missing";
  let db: Database.Database | null = null;
  try {
    db = new Database(file, { fileMustExist: true });
    const [found] = db.pragma("integrity_check(1)") as { integrity_check: string }[];
    if (found?.integrity_check !== "ok") throw damaged(file, found?.integrity_check ?? "no answer");
    if (!db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'machine'").get()) return "missing";
    return "whole";
  } catch (error) {
    throw explained(error, file);
  } finally {
    db?.close();
  }
}

/**
 * For a look beside the daemon that writes it, without one, or into a backup: nothing is written.
 *
 * @throws Error with a sentence for the operator when the file is missing, unreadable, or no database
 */
export function openForReading(file: string): Database.Database {
  if (!existsSync(file)) {
    throw new Error(
      `${file} does not exist; is state_dir right? The daemon makes it when it starts first (\`clawpool serve\`)`,
    );
  }
  let db: Database.Database | null = null;
  try {
    db = new Database(file, { readonly: true, fileMustExist: true });
    // The file is read only now.
    db.pragma("schema_version");
    return db;
  } catch (error) {
    db?.close();
    const { code, message } = error as { code?: string; message: string };
    if (code === "SQLITE_NOTADB") throw new Error(`${file} is no SQLite database; name the store's file`);
    throw new Error(`${file} cannot be read (${message}); run this as the daemon's user`);
  }
}

/** Traces of an installation that had a store: without one they make a new pool a mistake. In words; null without any. */
export function tracesOf(stateDir: string, terraformRoot: string): string | null {
  const folders = [join(terraformRoot, "machines"), join(stateDir, "records")];
  for (const folder of folders) {
    const [first] = existsSync(folder) ? readdirSync(folder) : [];
    if (first !== undefined) return join(folder, first);
  }
  const files = [join(terraformRoot, "platform", "terraform.tfstate"), witnessFile(stateDir)];
  return files.find((file) => existsSync(file)) ?? null;
}

/** @returns the error to throw when there was a store, and is none. */
export const lostStore = (file: string, trace: string): NeedsPersonError =>
  new NeedsPersonError(
    `the store ${file} is missing, but this is no new installation: there is ${trace}. Bring a backup back with ` +
      "`clawpool restore FILE`, or rebuild what can be known with `clawpool recover` (docs/recovery.md)",
  );

const damaged = (file: string, what: string): NeedsPersonError =>
  new NeedsPersonError(
    `the store ${file} is damaged (${what.replace(/\s+/g, " ")}). Nothing was changed. Bring the newest backup back with \`clawpool restore ` +
      "FILE`; without one move the file away and use `clawpool recover` (docs/recovery.md)",
  );

/** SQLite's errors of damage, space and rights in an operator's words; any other error as it is. */
export function explained(error: unknown, file: string): Error {
  const { code = "", message } = error as { code?: string; message: string };
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) return damaged(file, message);
  if (code.startsWith("SQLITE_FULL")) {
    return new Error(
      `the disk with the store ${file} is full (${message}): make room; nothing that was acknowledged is lost`,
    );
  }
  if (/^SQLITE_(READONLY|CANTOPEN|PERM)/.test(code) || code === "EACCES") {
    return new Error(
      `the store ${file} cannot be written (${message}): give file and folder to the daemon's user, and look whether ` +
        "the disk is mounted read-only",
    );
  }
  if (code.startsWith("SQLITE_IOERR")) {
    return new Error(`the disk with the store ${file} fails (${message}): look at the kernel's log`);
  }
  return error instanceof Error ? error : new Error(String(error));
}
