/** Replays own history beside the daemon's work: it takes seconds, and a hand-over has half of one. */

import { inThread, type ThreadRun } from "../../thread.ts";
import type { PoolEffect } from "./effect.ts";
import type { EffectRequest } from "./effect-worker.ts";

export const replayEffect = (request: EffectRequest): ThreadRun<readonly PoolEffect[]> =>
  inThread(new URL("./effect-worker.ts", import.meta.url), request);
