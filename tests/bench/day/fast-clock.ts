import { type Clock, systemClock } from "../../../pool/clock.ts";

export interface FastTime {
  /** Epoch ms at which both clocks begin: the machine's, and the fast one. */
  readonly really: number;
  readonly shown: number;
  readonly speed: number;
}

/**
 * What waits for a machine or an answer waits for something real: a delay takes at least this long, or as long as it is.
 * On the fast clock it is late then, as timers may be.
 */
const leastMs = 10_000;

/** Time that passes `speed` times as fast. Every process with the same `time` sees the same. */
export function fastClock({ really, shown, speed }: FastTime): Clock {
  return {
    now: () => Math.round(shown + (systemClock.now() - really) * speed),
    delay: (ms, signal) => systemClock.delay(Math.max(ms / speed, Math.min(ms, leastMs)), signal),
  };
}
