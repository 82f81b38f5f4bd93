/** How much the sweeps may delete: whatever goes wrong with a comparison, it cannot take everything at once. */
import { z } from "zod";
import { type Clock, hourMs } from "../clock.ts";
import type { Store } from "../store/store.ts";

const setting = "sweep/deletions";
const shape = z.array(z.number());

export interface Deletions {
  /** One deletion; false when the hour's are used up. Counted before it is made, also when it fails. */
  take(): boolean;
  left(): number;
}

/** One budget for all sweeps, in the store: a restart does not fill it. */
export function createDeletions(options: { store: Store; clock: Clock; perHour: () => number }): Deletions {
  const { store, clock, perHour } = options;
  const recent = (): number[] =>
    shape.parse(JSON.parse(store.setting(setting) ?? "[]")).filter((at) => clock.now() - at < hourMs);
  const left = () => Math.max(0, perHour() - recent().length);
  return {
    left,
    take() {
      if (left() === 0) return false;
      store.putSetting(setting, JSON.stringify([...recent(), clock.now()]));
      return true;
    },
  };
}
