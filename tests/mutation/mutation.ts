/**
 * Deliberate faults in the program, each of which some quick test must notice. A mutation is data: the exact text, found
 * once in its file, what stands there instead, which promise that breaks, and who should see it.
 */
export interface Mutation {
  /** Stable: what somebody types who wants to run this one. */
  readonly id: string;
  readonly file: string;
  readonly before: string;
  readonly after: string;
  /** The promise that is broken. */
  readonly why: string;
  /** Below tests/; `sim` is schedules of the simulation. */
  readonly caughtBy: readonly string[];
}
