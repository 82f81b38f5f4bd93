/**
 * Pauses before the second, third … try of a webhook, in milliseconds. Stripe says: exponential back-off for up to
 * three days live, three times over a few hours in a sandbox; the single pauses are not published, these are
 * assumptions.
 */
const minute = 60_000;
const hour = 60 * minute;

/** Doubles from five minutes to at most twelve hours, until three days are over. */
function live(): number[] {
  const pauses: number[] = [];
  let left = 72 * hour;
  for (let pause = 5 * minute; left > 0; pause = Math.min(pause * 2, 12 * hour)) {
    pauses.push(Math.min(pause, left));
    left -= pause;
  }
  return pauses;
}

export const retrySchedules = {
  live: live(),
  sandbox: [10 * minute, hour, 3 * hour],
  /** For people and tests that do not want to wait: two minutes. */
  quick: [500, 1_000, 2_000, 5_000, 10_000, 10_000, 15_000, 15_000, 30_000, 30_000],
} as const;
