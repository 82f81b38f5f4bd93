/**
 * Whether the daemon gets on: what systemd's watchdog is fed by. A timer would be fed by an event loop that turns and
 * does nothing; here each of the things that must go on is asked.
 */
import type { Progress } from "../controller.ts";

export interface ProgressLimits {
  /** Between the ends of two rounds of the loop, in milliseconds. */
  readonly roundMs: number;
  /** How long a look may outlast its machine's deadline. Terraform is never cut off: the gate ends its calls. */
  readonly overdueMs: number;
  /** A look at a machine that has no deadline: a destroy, a label. */
  readonly lookMs: number;
  /** The minute's work, with an apply of the platform stack. */
  readonly minuteMs: number;
}

/** The loop comes round every 5 s when nothing pokes it; a look is told to end at its deadline, terraform's last call
 *  at the gate may take 90 s behind that, and its clean-up some more. */
export const usualLimits: ProgressLimits = {
  roundMs: 15_000,
  overdueMs: 300_000,
  lookMs: 1_800_000,
  minuteMs: 1_200_000,
};

/**
 * Why the daemon does not get on; null while it does.
 *
 * @param write one small durable write; its error says that the store takes nothing any more
 */
export function standstill(
  progress: Progress,
  now: number,
  write: () => void,
  limits: ProgressLimits = usualLimits,
): string | null {
  const { roundAt, looks, minuteSince } = progress;
  if (roundAt === null || now - roundAt > limits.roundMs) {
    const since = roundAt === null ? "was never round" : `was last round ${seconds(now - roundAt)} ago`;
    return `the loop ${since}`;
  }
  for (const { name, since, deadline } of looks) {
    if (deadline !== null && now - Math.max(deadline, since) > limits.overdueMs) {
      return `the look at ${name} is ${seconds(now - deadline)} past its deadline`;
    }
    if (deadline === null && now - since > limits.lookMs) {
      return `the look at ${name} has taken ${seconds(now - since)}`;
    }
  }
  if (minuteSince !== null && now - minuteSince > limits.minuteMs) {
    return `the minute's work has taken ${seconds(now - minuteSince)}`;
  }
  try {
    write();
  } catch (error) {
    return `the store cannot be written: ${error instanceof Error ? error.message : error}`;
  }
  return null;
}

const seconds = (ms: number): string => `${Math.round(ms / 1_000)} s`;
