/** Replays own history beside the daemon's work: it takes seconds, and a hand-over has half of one. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { PoolEffect } from "./effect.ts";
import type { EffectRequest } from "./effect-worker.ts";

export interface EffectReplay {
  /** Null when it was stopped, or another was asked for meanwhile. @throws what the thread threw */
  readonly effects: Promise<readonly PoolEffect[] | null>;
  stop(): Promise<void>;
}

export function replayEffect(request: EffectRequest): EffectReplay {
  const worker = new Worker(new URL("./effect-worker.ts", import.meta.url), { workerData: request });
  // What it does may never keep a daemon from ending.
  worker.unref();
  const ended = once(worker, "exit").then(() => null);
  const told = once(worker, "message").then(([effects]) => effects as readonly PoolEffect[]);
  return {
    effects: Promise.race([told, ended]),
    async stop() {
      await worker.terminate();
    },
  };
}
