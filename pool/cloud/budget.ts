/**
 * The API budget: Hetzner gives a project 3,600 requests an hour, one more each second, bursts allowed
 * (Hetzner's API description, "Rate Limiting"). All terraform runs and the daemon's own client take from this one
 * bucket, the urgent first.
 */
import type { Clock } from "../clock.ts";

export const priorities = ["hand-over", "destroy", "person", "refill"] as const;
export type Priority = (typeof priorities)[number];

/**
 * Share of the bucket that a priority must leave for those above it. Hand-overs and destroys leave nothing; a
 * machine that is already paid for is polled as `destroy`, so the reserve only ever delays the start of new work.
 */
const reserved: Readonly<Record<Priority, number>> = {
  "hand-over": 0,
  destroy: 0,
  person: 0.02,
  refill: 0.1,
};

export interface Budget {
  /**
   * Waits for one call. False when none was to be had before `until` (epoch ms): the
   * call must not be made.
   */
  take(priority: Priority, until: number): Promise<boolean>;
  /** What an answer says of the project's real bucket, which other programs may be drinking from. */
  observe(answer: { status: number; remaining: number | null; retryAfterMs: number | null }): void;
  /** Calls that could be made now. */
  left(): number;
  /** Calls waiting, and calls given out since the start. */
  stats(): { waiting: number; taken: number };
}

interface Waiter {
  readonly priority: Priority;
  readonly until: number;
  readonly resolve: (given: boolean) => void;
}

export function createBudget(options: { requestsPerHour: number; clock: Clock }): Budget {
  const { requestsPerHour, clock } = options;
  if (!(requestsPerHour >= 1)) throw new RangeError(`requestsPerHour ${requestsPerHour}: want at least 1`);
  const perMs = requestsPerHour / 3_600_000;
  let tokens = requestsPerHour;
  let filledAt = clock.now();
  let notBefore = 0;
  let taken = 0;
  let wake: AbortController | null = null;
  const queues = new Map<Priority, Waiter[]>(priorities.map((priority) => [priority, []]));

  const floor = (priority: Priority): number => Math.floor(requestsPerHour * reserved[priority]);

  function refill(): void {
    const now = clock.now();
    tokens = Math.min(requestsPerHour, tokens + Math.max(0, now - filledAt) * perMs);
    filledAt = now;
  }

  /** Gives out what there is, highest priority first, and sets one alarm for the next moment that matters. */
  function pump(): void {
    wake?.abort();
    wake = null;
    refill();
    const now = clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const priority of priorities) {
      const queue = queues.get(priority) ?? [];
      for (const late of queue.filter((waiter) => waiter.until <= now)) late.resolve(false);
      const waiting = queue.filter((waiter) => waiter.until > now);
      while (waiting.length > 0 && now >= notBefore && tokens >= 1 + floor(priority)) {
        tokens -= 1;
        taken += 1;
        waiting.shift()?.resolve(true);
      }
      queues.set(priority, waiting);
      if (waiting.length === 0) continue;
      // Lower priorities need at least as many tokens, so nothing below can overtake what waits here.
      const enough = now + Math.max(1, Math.ceil((1 + floor(priority) - tokens) / perMs));
      next = Math.min(next, Math.max(enough, notBefore), ...waiting.map((waiter) => waiter.until));
    }
    if (next === Number.POSITIVE_INFINITY) return;
    const alarm = new AbortController();
    wake = alarm;
    void clock.delay(next - now, alarm.signal).then(() => {
      if (!alarm.signal.aborted) pump();
    });
  }

  return {
    take(priority, until) {
      return new Promise((resolve) => {
        queues.get(priority)?.push({ priority, until, resolve });
        pump();
      });
    },
    observe({ status, remaining, retryAfterMs }) {
      refill();
      if (remaining !== null) tokens = Math.min(tokens, remaining);
      if (status === 429) {
        // Without a header it may be another limit than the hour's: nobody asks for a second, nothing else is known.
        notBefore = Math.max(notBefore, clock.now() + (retryAfterMs ?? 1_000));
        pump();
      }
    },
    left() {
      refill();
      return Math.floor(tokens);
    },
    stats: () => ({ waiting: [...queues.values()].reduce((sum, queue) => sum + queue.length, 0), taken }),
  };
}
