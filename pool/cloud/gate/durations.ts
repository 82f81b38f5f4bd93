/**
 * How long Hetzner's actions take, learned by command, so that the first look comes when the action could be done
 * and not every second from the start.
 */

/**
 * Until something was learned: one early look (an action may be much quicker than usual), the next when a stock image
 * is often ready at Hetzner. In ms after the order; start_server begins when create_server is done.
 */
const earlyLook = 1_000;
const usual: Readonly<Record<string, number>> = {
  create_server: 10_000,
  start_server: 13_000,
  delete_server: 5_000,
};
/** Between two looks at an action that is overdue: more of it the longer it is, up to this. */
const longestGap = 5_000;
const kept = 15;

export interface Durations {
  /** When to look next, in ms after the order, at an action of which `elapsed` ms have passed. */
  nextLook(command: string, elapsed: number, shortestGap: number): number;
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
    nextLook(command, elapsed, shortestGap) {
      const sorted = [...(samples.get(command) ?? [])].sort((a, b) => a - b);
      // The lower quartile: with a steady cloud the same as the median, with an unsteady one nearly nobody waits
      // for a look that could have come earlier.
      const learned = sorted[Math.floor(sorted.length / 4)];
      if (learned === undefined && elapsed < earlyLook) return earlyLook;
      const expected = learned ?? usual[command] ?? earlyLook;
      if (elapsed < expected) return expected;
      return elapsed + Math.min(longestGap, Math.max(shortestGap, 0.3 * (elapsed - expected)));
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
