/**
 * Backups one after the other by the clock, of which the newest are kept. Each is made in a thread of its own: it copies the
 * store and reads all of it again, the audit log of all years with it, and meanwhile a customer's hand-over has half a second.
 */
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Logger } from "pino";
import { type Clock, hourMs } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { Store } from "../store/store.ts";
import { inThread, type ThreadRun } from "../thread.ts";
import type { Manifest } from "./archive.ts";
import { type BackupSource, draftSuffix } from "./backup.ts";
import type { BackupRequest } from "./backup-worker.ts";
import { backupFolder, backupName } from "./places.ts";

export interface Backups {
  /** Makes one when it is due, and removes the oldest beyond those that are kept. Never throws. */
  runIfDue(): Promise<void>;
  /** Epoch ms of the newest good one; null before the first. */
  lastAt(): number | null;
  /** Ends the one that is being made, of which nothing is left then; resolves when its thread has ended. */
  stop(): Promise<void>;
}

/** A person is told when the newest backup is older than so many intervals. */
const tellAfter = 3;
const flagKind = "backup-old";

/** How long there is none behind a start that found a try which was killed: what killed the daemon may be the backup. */
const pauseMs = hourMs;

const whole = /^clawpool-\d{8}T\d{6}Z\.backup$/;

/**
 * Removes what killed daemons left half made.
 *
 * @param folder made, with mode 0700, when it is missing
 */
export async function createBackups(options: {
  readonly store: Pick<Store, "flag" | "clearFlag" | "audit">;
  readonly source: () => BackupSource;
  readonly config: () => Pick<Config, "backup" | "stateDir">;
  readonly clock: Clock;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
}): Promise<Backups> {
  const { store, clock, log } = options;
  const startedAt = clock.now();
  const wasKilled = await removeUnfinished(backupFolder(options.config()));
  if (wasKilled) log.warn("a backup was under way when the last daemon ended; the next one waits");
  let lastAt = await newest(backupFolder(options.config()));
  let making: ThreadRun<Manifest> | null = null;
  let running: Promise<void> | null = null;
  let stopped = false;

  /** @returns null when it was stopped */
  async function make(file: string): Promise<Manifest | null> {
    const request: BackupRequest = { source: options.source(), file, takenAt: clock.now() };
    making = inThread<Manifest>(new URL("./backup-worker.ts", import.meta.url), request);
    let manifest: Manifest | null = null;
    try {
      manifest = await making.told;
    } finally {
      making = null;
      // A thread that was ended, or ran out of memory, has not cleared up.
      if (!manifest) await removeDraft(dirname(file), `${basename(file)}${draftSuffix}`);
    }
    return manifest;
  }

  async function one(folder: string, keep: number): Promise<void> {
    const file = join(folder, backupName(clock.now()));
    const manifest = stopped ? null : await make(file);
    if (!manifest) return;
    const { head, files, gaps } = manifest;
    lastAt = clock.now();
    const why = "the interval is over";
    store.audit("daemon", "backup.made", file, { why, head: head?.seq ?? 0, files: files.length, gaps });
    log.info({ file, files: files.length, gaps }, "backup made and read again");
    const old = (await namesIn(folder)).filter((found) => whole.test(found)).slice(0, -keep);
    for (const found of old) await rm(join(folder, found), { force: true });
    store.clearFlag(flagKind, "backup", "a backup was made");
  }

  function tell(everyMs: number, reason: string): void {
    const age = clock.now() - (lastAt ?? startedAt);
    if (age <= tellAfter * everyMs) return;
    const since =
      lastAt === null ? "none was ever made" : `the newest is of ${new Date(lastAt).toISOString()}`;
    store.flag(flagKind, "backup", `no good backup for ${tellAfter} intervals, ${since}: ${reason}`);
  }

  async function makeIfDue(): Promise<void> {
    const now = clock.now();
    const { everyMs, keep } = options.config().backup;
    if (everyMs === 0 || (lastAt !== null && now - lastAt < everyMs)) return;
    if (wasKilled && now - startedAt < Math.min(everyMs, pauseMs)) {
      tell(everyMs, "the daemon was killed while it made one");
      return;
    }
    const folder = backupFolder(options.config());
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await one(folder, keep);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.error({ err: error, folder }, "no backup could be made");
      tell(everyMs, reason);
    }
  }

  return {
    lastAt: () => lastAt,
    runIfDue() {
      running ??= makeIfDue()
        // A disk that is full takes no flag either.
        .catch((err) => log.error({ err }, "backups could not be seen to"))
        .finally(() => {
          running = null;
        });
      return running;
    },
    async stop() {
      stopped = true;
      await making?.stop();
      await running;
    },
  };
}

const namesIn = async (folder: string): Promise<string[]> =>
  (await readdir(folder).catch(() => [] as string[])).sort();

/** @returns whether there was one */
async function removeUnfinished(folder: string): Promise<boolean> {
  const drafts = (await namesIn(folder)).filter(
    (found) => found.endsWith(draftSuffix) && whole.test(found.slice(0, -draftSuffix.length)),
  );
  for (const draft of drafts) await removeDraft(folder, draft);
  return drafts.length > 0;
}

/** With what SQLite keeps beside a file that it writes. */
async function removeDraft(folder: string, draft: string): Promise<void> {
  for (const suffix of ["-journal", "-wal", "-shm", ""])
    await rm(join(folder, `${draft}${suffix}`), { force: true });
}

/** By the file's own time: its name says the same, but could have been copied. */
async function newest(folder: string): Promise<number | null> {
  const last = (await namesIn(folder)).filter((found) => whole.test(found)).at(-1);
  return last === undefined ? null : Math.round((await stat(join(folder, last))).mtimeMs);
}
