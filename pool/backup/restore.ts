/**
 * Brings a backup back, while no daemon runs. What is there is moved aside and never lost; the store that comes back is in
 * quarantine: it is older than the world, and must not act on what it says before that was compared.
 */
import { existsSync, renameSync } from "node:fs";
import { copyFile, mkdir, open, rm } from "node:fs/promises";
import { dirname, isAbsolute, join, normalize } from "node:path";
import Database from "better-sqlite3";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { moveFile, replaceFile } from "../durable-file.ts";
import { recordsFolder } from "../recovery/record-files.ts";
import { asFromBackup } from "../recovery/records.ts";
import { createSealer, sealingKeyIds } from "../secrets/seal.ts";
import { type AuditHead, headText } from "../store/audit-chain.ts";
import { lockWithoutDaemon } from "../store/daemon-lease.ts";
import { migrations } from "../store/schema.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { storeFile } from "../store/store-file.ts";
import { noteWitness } from "../store/witness.ts";
import { type ArchivedFile, type Manifest, readBackup, unpack } from "./archive.ts";

export interface Restored {
  readonly manifest: Manifest;
  /** Where the store that was there is now; null when there was none. */
  readonly replaced: string | null;
  /** Files that were missing and came back; those that exist are newer and stay. */
  readonly files: readonly string[];
}

/**
 * @param options.overNewer replaces a store that has gone on since the backup
 * @param options.otherInstance takes the backup of an installation with another name
 * @throws Error with a sentence for the operator; then nothing was changed
 */
export async function restoreBackup(
  config: Pick<Config, "instance" | "stateDir" | "sealingKeys">,
  file: string,
  options: {
    readonly overNewer: boolean;
    readonly otherInstance: boolean;
    readonly actor: string;
    clock: Clock;
  },
): Promise<Restored> {
  const { stateDir } = config;
  const backup = readBackup(file);
  refuseUnfit(config, backup, options.otherInstance);
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const unlock = lockWithoutDaemon(stateDir);
  if (!unlock)
    throw new Error(`a clawpool daemon runs on ${stateDir}; stop it first (systemctl stop clawpool)`);
  try {
    const target = storeFile(stateDir);
    const { manifest } = backup;
    if (!options.overNewer) refuseNewer(target, manifest);
    const draft = `${target}.restored`;
    const head = await prepareStore(config, file, draft, manifest, options);
    const stamp = new Date(options.clock.now()).toISOString().replace(/[-:]|\.\d+/g, "");
    const files = await bringFiles(stateDir, backup.files);
    const replaced = moveAside(target, `${target}.replaced-${stamp}`);
    await moveFile(draft, target);
    // It is known to be older, and held: the daemon needs not find that out for itself.
    await noteWitness(stateDir, { auditHead: () => head });
    return { manifest, replaced, files };
  } finally {
    unlock();
  }
}

function refuseUnfit(
  { instance, sealingKeys }: Pick<Config, "instance" | "sealingKeys">,
  { manifest, schemaVersion }: ReturnType<typeof readBackup>,
  otherInstance: boolean,
): void {
  if (manifest.instance !== instance && !otherInstance) {
    throw new Error(
      `the backup is of instance ${manifest.instance}, the configuration says ${instance}; with --other-instance it is taken`,
    );
  }
  if (schemaVersion > migrations.length) {
    throw new Error(
      `the backup's schema ${schemaVersion} is newer than this clawpool knows (${migrations.length}); install the newer release`,
    );
  }
  const keys = sealingKeyIds(sealingKeys);
  const missing = manifest.sealingKeys.filter((id) => !keys.includes(id));
  if (missing.length > 0) {
    throw new Error(
      `the backup needs sealing key ${missing.join(", ")}, which is not configured (sealing_keys has ${keys.join(", ")}); ` +
        "keys are never in a backup: bring them from where you keep them",
    );
  }
}

/** A store that has all of the backup's audit rows and more has gone on since. */
function refuseNewer(target: string, { head }: Manifest): void {
  if (!existsSync(target)) return;
  let there: { seq: number; hash: string } | undefined;
  let same: unknown;
  try {
    const db = new Database(target, { readonly: true });
    try {
      there = db
        .prepare<[], { seq: number; hash: string }>("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
        .get();
      same = db
        .prepare("SELECT 1 FROM audit WHERE seq = ? AND hash = ?")
        .get(head?.seq ?? 0, head?.hash ?? "");
    } finally {
      db.close();
    }
  } catch {
    // Damaged: that is why it is to be replaced.
    return;
  }
  if (!there || (head && there.seq === head.seq && same)) return;
  const of = head ? headText(head) : "empty";
  throw new Error(
    `the store that is there has ${same ? "gone on since the backup" : "another history than the backup"}: its audit log ` +
      `ends at ${headText(there)}, the backup's at ${of}. With --over-newer it is replaced all the same, and kept beside`,
  );
}

async function prepareStore(
  config: Pick<Config, "sealingKeys">,
  file: string,
  draft: string,
  manifest: Manifest,
  { actor, clock }: { actor: string; clock: Clock },
): Promise<AuditHead | null> {
  for (const suffix of ["", "-wal", "-shm"]) await rm(`${draft}${suffix}`, { force: true });
  const made = await open(draft, "w", 0o600);
  await made.close();
  await copyFile(file, draft);
  unpack(draft);
  const store = openSqliteStore({ file: draft, sealer: createSealer(config.sealingKeys), clock });
  let head: AuditHead | null;
  try {
    const taken = new Date(manifest.takenAt).toISOString();
    const why = `a backup of ${taken} was restored`;
    store.enterQuarantine(why, { actor });
    store.audit(actor, "store.restored", "store", { why, file, head: manifest.head?.seq ?? 0 });
    head = store.auditHead();
  } finally {
    // The last connection writes everything into the file and removes its log.
    store.close();
  }
  const written = await open(draft, "r");
  try {
    await written.sync();
  } finally {
    await written.close();
  }
  return head;
}

async function bringFiles(stateDir: string, files: readonly ArchivedFile[]): Promise<string[]> {
  const brought: string[] = [];
  for (const { path, content } of files) {
    if (isAbsolute(path) || normalize(path).startsWith("..")) throw new Error(`the backup names ${path}`);
    const target = join(stateDir, path);
    if (existsSync(target)) continue;
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    const record = path.startsWith(`${recordsFolder}/`);
    await replaceFile(target, record ? asFromBackup(content.toString("utf8")) : content);
    brought.push(path);
  }
  return brought;
}

/** With its log, which may hold its last commits. */
function moveAside(target: string, aside: string): string | null {
  if (!existsSync(target)) return null;
  for (const suffix of ["-wal", "-shm", ""]) {
    if (existsSync(`${target}${suffix}`)) renameSync(`${target}${suffix}`, `${aside}${suffix}`);
  }
  return aside;
}
