/** One answer from a thread of its own. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";

export interface ThreadRun<Answer> {
  /** Null when it was stopped before it answered. @throws what the thread threw */
  readonly told: Promise<Answer | null>;
  stop(): Promise<void>;
}

/** @param request what can be cloned into the thread */
export function inThread<Answer>(file: URL, request: object): ThreadRun<Answer> {
  const worker = new Worker(file, { workerData: request });
  // What it does may never keep a daemon from ending.
  worker.unref();
  const ended = once(worker, "exit").then(() => null);
  const told = once(worker, "message").then(([answer]) => answer as Answer);
  return {
    told: Promise.race([told, ended]),
    async stop() {
      await worker.terminate();
    },
  };
}
