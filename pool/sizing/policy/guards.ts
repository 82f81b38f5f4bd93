/** What holds over every policy: a floor, a ceiling, and what a campaign adds while it lasts. */
import type { Wanted } from "./policy.ts";

export interface Campaign {
  readonly name: string;
  /** Epoch ms. */
  readonly from: number;
  readonly until: number;
  /** Machines on top of what the policy wants. */
  readonly add: number;
}

export interface Guards {
  readonly minReady: number;
  readonly maxReady: number;
  readonly campaigns: readonly Campaign[];
}

export interface Guarded extends Wanted {
  /** What the policy alone would have. */
  readonly asked: number;
  readonly campaigns: readonly string[];
}

/** A campaign's machines are ordered one lead time ahead, so that they are ready at its start. */
export function guarded(wanted: Wanted, guards: Guards, now: number, leadMs: number): Guarded {
  const running = guards.campaigns.filter(({ from, until }) => now + leadMs >= from && now < until);
  const added = running.reduce((sum, { add }) => sum + add, 0);
  const within = (count: number) => Math.min(Math.max(count + added, guards.minReady), guards.maxReady);
  return {
    ...{ ...wanted, target: within(wanted.target), keep: within(wanted.keep) },
    ...{ asked: wanted.target, campaigns: running.map(({ name }) => name) },
  };
}
