/**
 * How long Hetzner's actions take, learned by command, so that the first look comes when the action could be done
 * and not every second from the start.
 */

/** Cold guesses in ms, below anything that Hetzner does: a look too early costs a call, one too late a machine's time. */
const cold: Readonly<Record<string, number>> = { create_server: 2_000, start_server: 2_000 };
const coldOther = 1_000;
const kept = 15;

export interface Durations {
  /** When to look first, in ms after the action was ordered. */
  firstLook(command: string): number;
  /**
   * @param stated finished − started of Hetzner's own times (whole seconds, so up to 1 s off either way); null if unknown
   * @param notYet ms after the order at which it was last seen running
   * @param done ms after the order at which it was first seen finished
   */
  learn(command: string, observed: { stated: number | null; notYet: number; done: number }): void;
}

export function createDurations(): Durations {
  const samples = new Map<string, number[]>();
  return {
    firstLook(command) {
      const sorted = [...(samples.get(command) ?? [])].sort((a, b) => a - b);
      // The lower quartile: with a steady cloud the same as the median, with an unsteady one nearly nobody waits
      // for a look that could have come earlier.
      return sorted[Math.floor(sorted.length / 4)] ?? cold[command] ?? coldOther;
    },
    learn(command, { stated, notYet, done }) {
      const low = Math.max(notYet, stated === null ? 0 : stated - 1_000);
      const high = Math.max(low, Math.min(done, stated === null ? done : stated + 1_000));
      const list = samples.get(command) ?? [];
      list.push((low + high) / 2 + 100);
      samples.set(command, list.slice(-kept));
    },
  };
}
