/**
 * A lock that says whether its holder lives. Node has no flock, SQLite has: an EXCLUSIVE transaction on a tiny database is
 * held as long as the process lives and freed by the kernel when it dies, however it dies.
 */
import Database from "better-sqlite3";

/** @returns the function that frees the lock; null when another process holds it. */
export function lockInstance(file: string): (() => void) | null {
  const db = new Database(file, { timeout: 0 });
  try {
    db.pragma("journal_mode = DELETE");
    db.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    db.close();
    if ((error as { code?: string }).code?.startsWith("SQLITE_BUSY")) return null;
    throw error;
  }
  return () => {
    db.close();
  };
}
