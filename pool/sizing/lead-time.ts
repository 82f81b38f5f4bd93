/** How long a machine takes from intent to ready, as measured on this installation. */
import type { Store } from "../store/store.ts";

/** Enough to be steady, few enough to follow a new image within a day. */
const newest = 20;

/** Median build time of a plan's newest machines in milliseconds; null before the first. */
export function leadTimeMs(store: Store, plan: string): number | null {
  const times = store.buildTimes({ plan }, newest).sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? null;
}
