/** So many machines within windows of the clock, none outside of them (`min_ready` holds there). */
import { Cron } from "croner";
import type { SizingWindow } from "../../config/config.ts";
import type { SizingPolicy } from "./policy.ts";

/** Of windows that overlap the largest number holds. @throws when a pattern or the time zone is none. */
export function schedulePolicy(windows: readonly SizingWindow[], timeZone: string): SizingPolicy {
  const openAt = openings(windows, timeZone);
  return {
    claim: () => {},
    wanted({ now, leadMs }) {
      const open = openAt(now, leadMs);
      const target = most(open);
      return { target, keep: target, why: { kind: "schedule", open: open.map(({ cron }) => cron) } };
    },
  };
}

/** The largest number that an open window wants; 0 while none is open. @throws as schedulePolicy */
export function mostOpen(
  windows: readonly SizingWindow[],
  timeZone: string,
): (now: number, leadMs: number) => number {
  const openAt = openings(windows, timeZone);
  return (now, leadMs) => most(openAt(now, leadMs));
}

const most = (open: readonly SizingWindow[]): number => Math.max(0, ...open.map(({ ready }) => ready));

/** What opens within a lead time has to be on its way now; what just closed is closed. */
function openings(
  windows: readonly SizingWindow[],
  timeZone: string,
): (now: number, leadMs: number) => SizingWindow[] {
  const plans = windows.map((window) => ({ window, isOpen: opening(window, timeZone) }));
  return (now, leadMs) =>
    plans.filter(({ isOpen }) => isOpen(now) || isOpen(now + leadMs)).map(({ window }) => window);
}

/** Finding an opening costs the library a search over the calendar, so the one at hand and the next are remembered. */
function opening({ cron, lengthMs }: SizingWindow, timeZone: string): (at: number) => boolean {
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
