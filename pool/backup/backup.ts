/** Makes a backup: of the store, and of what lies beside it. `scheduled.ts` makes one after the other by the clock. */
import { open, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import Database from "better-sqlite3";
import { moveFile } from "../durable-file.ts";
import { recordsFolder } from "../recovery/record-files.ts";
import { storeFile } from "../store/store-file.ts";
import { stateFileOf } from "../terraform/folders.ts";
import { type ArchivedFile, type Manifest, pack, readBackup } from "./archive.ts";

export interface BackupSource {
  readonly instance: string;
  readonly stateDir: string;
  /** The `root` of terraform's folders, below the state folder. */
  readonly terraformRoot: string;
}

/** A backup that is not whole yet has this behind its name. */
export const draftSuffix = ".draft";

/**
 * Writes a backup to `file`, beside the daemon that works on, and reads it again before it gets its name. Copying and
 * reading hold up their thread for as long as the store is large: the daemon makes it in another one.
 *
 * @param takenAt epoch ms
 * @returns what is in it
 * @throws Error with a sentence for the operator; nothing is left then
 */
export async function makeBackup(source: BackupSource, file: string, takenAt: number): Promise<Manifest> {
  const target = resolve(file);
  const draft = `${target}${draftSuffix}`;
  try {
    // Made here, so that at no time anybody else can read it.
    await (await open(draft, "w", 0o600)).close();
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
