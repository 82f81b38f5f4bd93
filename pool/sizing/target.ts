/** How many warm machines a pool is to have just now, in the form in which refill and trim are told. */
import type { PoolConfig } from "../config/config.ts";
import type { Bound } from "./share.ts";

export interface PoolTarget {
  /** Machines to have ready or on the way, beyond those that customers wait for. */
  readonly target: number;
  /** Ready machines beyond this many go. */
  readonly keep: number;
  /** They go when a person lowered the number; what a forecast or the clock lowers goes when its paid hour ends. */
  readonly atOnce: boolean;
  /** What leaves the pool less than it wants; null: nothing. */
  readonly cutBy: Bound | null;
}

export type TargetOf = (pool: PoolConfig) => PoolTarget;

/** Of a pool that keeps `min_ready` and nothing else. */
export const minReadyOf: TargetOf = ({ minReady }) => ({
  target: minReady,
  keep: minReady,
  atOnce: true,
  cutBy: null,
});
