/** Makes backups: one by hand, and one after the other by the clock, of which the newest are kept. */
import { mkdir, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import Database from "better-sqlite3";
import type { Logger } from "pino";
import { terraformRoot } from "../borders.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { moveFile } from "../durable-file.ts";
import { recordsFolder } from "../recovery/record-files.ts";
import type { Store } from "../store/store.ts";
import { storeFile } from "../store/store-file.ts";
import { stateFileOf } from "../terraform/folders.ts";
import { type ArchivedFile, type Manifest, pack, readBackup } from "./archive.ts";

export interface BackupSource {
  readonly instance: string;
  readonly stateDir: string;
  /** The `root` of terraform's folders, below the state folder. */
  readonly terraformRoot: string;
}

export const backupSource = (config: Config): BackupSource => ({
  instance: config.instance,
  stateDir: config.stateDir,
  terraformRoot: terraformRoot(config),
});

/**
 * Writes a backup to `file`, beside the daemon that works on, and reads it again before it gets its name.
 *
 * @returns what is in it
 * @throws Error with a sentence for the operator; nothing is left then
 */
export async function makeBackup(source: BackupSource, file: string, clock: Clock): Promise<Manifest> {
  const target = resolve(file);
  const draft = `${target}.draft`;
  try {
    // Made here, so that at no time anybody else can read it.
    await (await open(draft, "w", 0o600)).close();
    const takenAt = clock.now();
    await copyStore(storeFile(source.stateDir), draft);
    // Behind the store: a state that is newer than its row is found out, a row without its state would be a doubt.
    const { files, gaps } = await filesBeside(source);
    pack(draft, { instance: source.instance, takenAt, gaps }, files);
    const { manifest } = readBackup(draft);
    const written = await open(draft, "r");
    try {
      await written.sync();
    } finally {
      await written.close();
    }
    await moveFile(draft, target);
    return manifest;
  } catch (error) {
    await rm(draft, { force: true });
    const { code, message } = error as { code?: string; message: string };
    if (code === "ENOENT") throw new Error(`${dirname(target)} or the store is missing: ${message}`);
    throw error;
  }
}

/** In one step: by portions SQLite would begin anew whenever the daemon writes in between. */
async function copyStore(file: string, to: string): Promise<void> {
  const db = new Database(file, { readonly: true, fileMustExist: true });
  try {
    await db.backup(to, { progress: () => 2 ** 31 - 1 });
  } finally {
    db.close();
  }
}

async function filesBeside({ stateDir, terraformRoot }: BackupSource): Promise<{
  files: ArchivedFile[];
  gaps: string[];
}> {
  const files: ArchivedFile[] = [];
  const gaps: string[] = [];
  const machines = await namesIn(join(terraformRoot, "machines"));
  const states = [
    stateFileOf(join(terraformRoot, "platform")),
    ...machines.map((name) => stateFileOf(join(terraformRoot, "machines", name))),
  ];
  const records = (await namesIn(join(stateDir, recordsFolder)))
    .filter((name) => name.endsWith(".json"))
    .map((name) => join(stateDir, recordsFolder, name));
  for (const path of [...states, ...records]) {
    const content = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (content === null) continue;
    const name = relative(stateDir, path).split("\\").join("/");
    if (isJson(content)) files.push({ path: name, content });
    else gaps.push(`${name} was being written, or is damaged`);
  }
  return { files, gaps };
}

const namesIn = async (folder: string): Promise<string[]> =>
  (await readdir(folder).catch(() => [] as string[])).sort();

function isJson(content: Buffer): boolean {
  try {
    JSON.parse(content.toString("utf8"));
    return true;
  } catch {
    return false;
  }
}

/** @param at epoch ms */
export const backupName = (at: number): string =>
  `clawpool-${new Date(at).toISOString().replace(/[-:]|\.\d+/g, "")}.backup`;

const named = /^clawpool-\d{8}T\d{6}Z\.backup$/;

/** Where backups by the clock go. */
export const backupFolder = ({ backup, stateDir }: Pick<Config, "backup" | "stateDir">): string =>
  backup.directory ?? join(stateDir, "backups");

export interface Backups {
  /** Makes one when it is due, and removes the oldest beyond those that are kept. Never throws. */
  runIfDue(): Promise<void>;
  /** Epoch ms of the newest good one; null before the first. */
  lastAt(): number | null;
}

/** A person is told when the newest backup is older than so many intervals. */
const tellAfter = 3;
const flagKind = "backup-old";

/** @param folder made, with mode 0700, when it is missing */
export async function createBackups(options: {
  readonly store: Pick<Store, "flag" | "clearFlag" | "audit">;
  readonly source: () => BackupSource;
  readonly config: () => Pick<Config, "backup" | "stateDir">;
  readonly clock: Clock;
  readonly log: Pick<Logger, "info" | "error">;
}): Promise<Backups> {
  const { store, clock, log } = options;
  const startedAt = clock.now();
  let lastAt = await newest(backupFolder(options.config()));
  let busy = false;

  async function one(folder: string, keep: number): Promise<void> {
    const file = join(folder, backupName(clock.now()));
    const { head, files, gaps } = await makeBackup(options.source(), file, clock);
    lastAt = clock.now();
    const why = "the interval is over";
    store.audit("daemon", "backup.made", file, { why, head: head?.seq ?? 0, files: files.length, gaps });
    log.info({ file, files: files.length, gaps }, "backup made and read again");
    const old = (await namesIn(folder)).filter((name) => named.test(name)).slice(0, -keep);
    for (const name of old) await rm(join(folder, name), { force: true });
  }

  function tell(everyMs: number, reason: string): void {
    const age = clock.now() - (lastAt ?? startedAt);
    if (age <= tellAfter * everyMs) return;
    const since =
      lastAt === null ? "none was ever made" : `the newest is of ${new Date(lastAt).toISOString()}`;
    store.flag(flagKind, "backup", `no good backup for ${tellAfter} intervals, ${since}: ${reason}`);
  }

  return {
    lastAt: () => lastAt,
    async runIfDue() {
      const { everyMs, keep } = options.config().backup;
      if (busy || everyMs === 0 || (lastAt !== null && clock.now() - lastAt < everyMs)) return;
      busy = true;
      const folder = backupFolder(options.config());
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        await one(folder, keep);
        store.clearFlag(flagKind, "backup", "a backup was made");
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        log.error({ err: error, folder }, "no backup could be made");
        tell(everyMs, reason);
      } finally {
        busy = false;
      }
    },
  };
}

/** By the file's own time: its name says the same, but could have been copied. */
async function newest(folder: string): Promise<number | null> {
  const name = (await namesIn(folder)).filter((candidate) => named.test(candidate)).at(-1);
  return name === undefined ? null : Math.round((await stat(join(folder, name))).mtimeMs);
}
