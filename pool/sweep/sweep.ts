/**
 * What all sweeps share. A sweep compares what somebody else has with what the store knows, in both directions. Nothing is
 * concluded from one look: what is amiss must be seen twice, at least a minute apart, and what is deleted is left alone
 * for a grace before, looked at once more in the moment of its deletion, and paid for from a budget of deletions an hour.
 */

export interface SweepRequest {
  /** Say what would be done, and do nothing. */
  readonly dryRun: boolean;
  readonly actor: string;
  /** A person says that machines in great number are really gone. */
  readonly confirmLosses?: boolean;
}

export interface SweepFinding {
  /** As docs/sweeps.md lists them. */
  readonly kind: string;
  /** `server 123`, a machine's name, a device's id … */
  readonly subject: string;
  readonly text: string;
  /** What was done about it, or would be. */
  readonly done: string;
}

export interface SweepReport {
  readonly sweep: SweepName;
  /** What was compared, in words. */
  readonly looked: string;
  readonly findings: readonly SweepFinding[];
  /** What could not be looked at or was not believed, in words. */
  readonly gaps: readonly string[];
}

export const sweepNames = ["cloud", "tailnet", "terraform", "bill"] as const;
export type SweepName = (typeof sweepNames)[number];

export interface Sweep {
  /**
   * One look, and what is to be done.
   *
   * @param signal ends it at its next answer, without touching anything again
   * @throws BorderError when the other side cannot be asked; nothing is concluded then
   */
  run(request: SweepRequest, signal: AbortSignal): Promise<SweepReport>;
}

/** The sweep was told to end. */
export class SweepStopped extends Error {
  override readonly name = "SweepStopped";
}

/** Waits for an answer, and goes no further when the sweep was told to end meanwhile. @throws SweepStopped */
export async function answered<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  const answer = await call;
  if (signal.aborted) throw new SweepStopped("the sweep was told to end");
  return answer;
}

/** Nothing is done but telling a person. */
export const toldOnly = "a person is told";
/** Seen once so far. */
export const onceMore = "decided when it is seen again, at least a minute later";
