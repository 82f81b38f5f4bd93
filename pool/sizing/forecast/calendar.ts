/** Hours of the week as the customers' clock shows them, so that a season does not shift with daylight saving. */
import { dayMs, hourMs } from "../../clock.ts";

const quarterMs = hourMs / 4;

export interface Hour {
  /** 0 is Monday 00:00–01:00, 167 Sunday 23:00–24:00. */
  readonly ofWeek: number;
  /** Epoch ms at which it ends. */
  readonly until: number;
}

export interface Calendar {
  hour(at: number): Hour;
}

/** 1970-01-01 was a Thursday. */
const thursday = 3;

/**
 * @param timeZone an IANA name
 * @throws RangeError when there is no such time zone
 */
export function createCalendar(timeZone: string): Calendar {
  const offsetAt = timeZone === "UTC" ? () => 0 : zoneOffset(timeZone);
  let last: Hour = { ofWeek: 0, until: Number.NEGATIVE_INFINITY };
  return {
    hour(at) {
      if (at < last.until && at >= last.until - hourMs) return last;
      const offset = offsetAt(at);
      const hours = Math.floor((at + offset) / hourMs);
      const ofWeek = (((hours + thursday * 24) % 168) + 168) % 168;
      last = { ofWeek, until: (hours + 1) * hourMs - offset };
      return last;
    },
  };
}

/**
 * Offset from UTC in ms. Asking the platform takes some 5 µs, so a day whose ends have the same offset is asked no
 * further: no zone changes its clock twice a day. Where it does change, it does at a full quarter of an hour.
 */
function zoneOffset(timeZone: string): (at: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    ...{ year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" },
  });
  const ask = (at: number): number => {
    const part = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0 } = part;
    return Date.UTC(year, month - 1, day, hour, minute) - at;
  };
  let known = { day: Number.NaN, begins: 0, ends: 0 };
  return (at) => {
    const day = Math.floor(at / dayMs);
    if (known.day !== day) known = { day, begins: ask(day * dayMs), ends: ask((day + 1) * dayMs) };
    return known.begins === known.ends ? known.begins : ask(Math.floor(at / quarterMs) * quarterMs);
  };
}
