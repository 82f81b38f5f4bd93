/** Durations as clawpool.yaml writes them. */
import { z } from "zod";

export const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
export const durationPattern = /^(\d+)(ms|s|m|h|d)$/;

/** `90s`, `5m`, `14d` → milliseconds. */
export const duration = z
  .string()
  .regex(durationPattern, 'want a duration such as "90s", "5m", "12h" or "14d"')
  .transform((text) => {
    const [, count, unit] = durationPattern.exec(text) ?? [];
    return Number(count) * units[unit as keyof typeof units];
  });

/** Milliseconds as the file would have them, in the largest unit that is exact: `90m`, `14d`. */
export function durationText(ms: number): string {
  const [unit = "ms", size = 1] = Object.entries(units).findLast(([, each]) => ms % each === 0) ?? [];
  return ms === 0 ? "0s" : `${ms / size}${unit}`;
}
