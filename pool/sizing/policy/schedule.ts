/** So many machines within windows of the clock, none outside of them (`min_ready` holds there). */
import { Cron } from "croner";
import type { SizingPolicy } from "./policy.ts";

export interface Window {
  /** When it opens: five fields of cron, in the time zone of the pool; daylight saving is the library's care. */
  readonly cron: string;
  readonly lengthMs: number;
  readonly ready: number;
}

/** Of windows that overlap the largest number holds. @throws when a pattern or the time zone is none. */
export function schedulePolicy(windows: readonly Window[], timeZone: string): SizingPolicy {
  const plans = windows.map((window) => ({ window, isOpen: openings(window, timeZone) }));
  return {
    claim: () => {},
    wanted({ now, leadMs }) {
      // What opens within a lead time has to be on its way now; what just closed is closed.
      const open = plans.filter(({ isOpen }) => isOpen(now) || isOpen(now + leadMs));
      const target = Math.max(0, ...open.map(({ window }) => window.ready));
      return { target, keep: target, why: { kind: "schedule", open: open.map(({ window }) => window.cron) } };
    },
  };
}

/** Finding an opening costs the library a search over the calendar, so the one at hand and the next are remembered. */
function openings({ cron, lengthMs }: Window, timeZone: string): (at: number) => boolean {
  const schedule = new Cron(cron, { timezone: timeZone, mode: "5-part" });
  let known = { from: Number.NaN, last: Number.NaN, next: Number.NaN };
  return (at) => {
    if (!(at >= known.from && at < known.next)) known = around(schedule, at, lengthMs);
    return at < known.last + lengthMs;
  };
}

/** The last opening at or before `at`, as far back as matters, and the next one behind it. */
function around(schedule: Cron, at: number, lengthMs: number): { from: number; last: number; next: number } {
  let last = Number.NEGATIVE_INFINITY;
  let next = schedule.nextRun(new Date(at - lengthMs))?.getTime() ?? Number.POSITIVE_INFINITY;
  while (next <= at) {
    last = next;
    next = schedule.nextRun(new Date(next))?.getTime() ?? Number.POSITIVE_INFINITY;
  }
  return { from: at, last, next };
}
