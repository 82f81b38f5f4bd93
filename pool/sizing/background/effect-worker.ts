/** The thread that replays own history for a new configuration; effect-in-background.ts starts it. */
import { parentPort, workerData } from "node:worker_threads";
import { configOf } from "../../config/load.ts";
import { openStoreForReading } from "../../store/reading.ts";
import { effectOf } from "./effect.ts";

/** Both configurations as they were written; `now` in epoch ms. */
export interface EffectRequest {
  readonly storeFile: string;
  readonly path: string;
  readonly before: unknown;
  readonly after: unknown;
  readonly now: number;
}

const { storeFile, path, before, after, now } = workerData as EffectRequest;
const next = configOf(after, path);
const store = openStoreForReading(storeFile);
try {
  parentPort?.postMessage(next ? effectOf(configOf(before, path), next, store, now) : []);
} finally {
  store.close();
}
