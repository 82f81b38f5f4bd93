/** The thread in which the daemon's backups are made; scheduled.ts starts it. */
import { parentPort, workerData } from "node:worker_threads";
import { type BackupSource, makeBackup } from "./backup.ts";

export interface BackupRequest {
  readonly source: BackupSource;
  readonly file: string;
  /** Epoch ms. */
  readonly takenAt: number;
}

const { source, file, takenAt } = workerData as BackupRequest;
parentPort?.postMessage(await makeBackup(source, file, takenAt));
