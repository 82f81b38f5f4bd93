/**
 * Whether the disk has room for what the daemon writes, and the store's log stays short. Looked at once a minute, so that a
 * person hears of it while it can still be written down: on a full disk no flag is.
 */
import { statfsSync, statSync } from "node:fs";
import type { Store } from "../store/store.ts";
import { storeFile } from "../store/store-file.ts";

export interface DiskUse {
  /** What the daemon may still write below its state folder. */
  readonly freeBytes: number;
  /** Of SQLite's log, the file beside the database. */
  readonly logBytes: number;
}

export interface DiskLimits {
  /** Told when less is free. */
  readonly lowBytes: number;
  /** Over when so much is free again. */
  readonly roomBytes: number;
  /** Emptied beyond this, and told when that cannot be done. */
  readonly logBytes: number;
}

const mebibyte = 2 ** 20;

/** SQLite empties the log of itself at 4 MiB, unless somebody reads what it had before. */
export const usualDiskLimits: DiskLimits = {
  lowBytes: 512 * mebibyte,
  roomBytes: 768 * mebibyte,
  logBytes: 64 * mebibyte,
};

export const diskLow = "disk-low";
export const logLong = "store-log-long";

const logFileOf = (stateDir: string): string => `${storeFile(stateDir)}-wal`;

/** @throws Error of the file system when the folder is not there */
export function diskUse(stateDir: string): DiskUse {
  const { bavail, bsize } = statfsSync(stateDir);
  const log = statSync(logFileOf(stateDir), { throwIfNoEntry: false });
  return { freeBytes: bavail * bsize, logBytes: log?.size ?? 0 };
}

/**
 * Empties a log that has grown, and raises or takes back both flags. @throws what `look` throws, or the store, which on a
 * full disk takes nothing
 */
export function watchDisk({
  store,
  look,
  stateDir,
  limits = usualDiskLimits,
}: {
  readonly store: Pick<Store, "flag" | "clearFlag" | "emptyLog">;
  readonly look: () => DiskUse;
  readonly stateDir: string;
  readonly limits?: DiskLimits;
}): void {
  if (look().logBytes > limits.logBytes) store.emptyLog();
  const { freeBytes, logBytes } = look();
  const size = (bytes: number) => `${Math.round(bytes / mebibyte)} MiB`;
  if (freeBytes < limits.lowBytes) {
    const text = `less than ${size(limits.lowBytes)} are free on the disk of ${stateDir}`;
    store.flag(
      diskLow,
      stateDir,
      `${text}: make room; when it is full no payment is taken and nothing is built`,
    );
  } else if (freeBytes >= limits.roomBytes) {
    store.clearFlag(diskLow, stateDir, "there is room again");
  }
  const file = logFileOf(stateDir);
  if (logBytes > limits.logBytes) {
    const text = `${file} is larger than ${size(limits.logBytes)} and cannot be emptied, because somebody reads the store`;
    store.flag(logLong, stateDir, `${text} for long: end that (\`fuser -v ${file}\` names who has it open)`);
  } else {
    store.clearFlag(logLong, stateDir, "the store's log is short again");
  }
}
