/** A Clock that stands still until a test moves it. */
import type { Clock } from "../pool/clock.ts";

export interface VirtualClock extends Clock {
  /** Moves time on; whoever waited for less is woken, in order of time. */
  advance(ms: number): void;
  /** Delays that nobody ended yet. */
  readonly waiting: number;
}

/** `start`: epoch ms. */
export function virtualClock(start = Date.UTC(2026, 0, 1)): VirtualClock {
  let now = start;
  const sleepers = new Set<{ readonly at: number; readonly wake: () => void }>();
  return {
    now: () => now,
    delay: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const sleeper = {
          at: now + ms,
          wake: () => {
            sleepers.delete(sleeper);
            signal?.removeEventListener("abort", sleeper.wake);
            resolve();
          },
        };
        sleepers.add(sleeper);
        signal?.addEventListener("abort", sleeper.wake, { once: true });
      }),
    advance(ms) {
      now += ms;
      for (const sleeper of [...sleepers].sort((a, b) => a.at - b.at)) if (sleeper.at <= now) sleeper.wake();
    },
    get waiting() {
      return sleepers.size;
    },
  };
}
