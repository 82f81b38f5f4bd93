/** What people are told of a terraform state, a machine's or the platform's. */
import type { RememberedState } from "../store/store.ts";

export interface StateReport {
  /** Or `platform`. */
  readonly machine: string;
  readonly file: string;
  /** Null when terraform may be run on it; else what is wrong, what was expected and what to do. */
  readonly refused: string | null;
  readonly serverId: number | null;
  /** What is remembered; null before the first run. */
  readonly known: Pick<RememberedState, "serial" | "resources" | "at"> | null;
}

/** It cannot be done so; the sentence says why, and what can. */
export class StateRepairError extends Error {
  override readonly name = "StateRepairError";
}
