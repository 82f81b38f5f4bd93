/** What holds over every policy: campaigns that add for a while, floors by the clock, a least and a most. */
import type { Campaign } from "../../config/config.ts";
import type { SizingPolicy, Wanted } from "./policy.ts";

export interface Guards {
  readonly minReady: number;
  readonly maxReady: number;
  readonly campaigns: readonly Campaign[];
  /** Machines that the floors' open windows want at least. */
  readonly floor: (now: number, leadMs: number) => number;
}

export interface Guarded extends Wanted {
  /** What the policy alone would have. */
  readonly asked: number;
  /** Names of the campaigns that add to it. */
  readonly campaigns: readonly string[];
  /** What the target is, where it is not what the policy and the campaigns ask. */
  readonly bound: "min_ready" | "floors" | "max_ready" | null;
}

export interface GuardedPolicy extends SizingPolicy {
  wanted(...situation: Parameters<SizingPolicy["wanted"]>): Guarded;
}

/** A campaign's machines are ordered one lead time ahead, so that they are ready at its start. */
export function guarded(wanted: Wanted, guards: Guards, now: number, leadMs: number): Guarded {
  const running = guards.campaigns.filter(({ from, until }) => now + leadMs >= from && now < until);
  const added = running.reduce((sum, { add }) => sum + add, 0);
  const floor = Math.max(guards.minReady, guards.floor(now, leadMs));
  const within = (count: number) => Math.min(Math.max(count + added, floor), guards.maxReady);
  const target = within(wanted.target);
  const bound = (): Guarded["bound"] => {
    if (target === wanted.target + added) return null;
    if (target < wanted.target + added) return "max_ready";
    return target > guards.minReady ? "floors" : "min_ready";
  };
  return {
    ...{ ...wanted, target, keep: Math.max(target, within(wanted.keep)), bound: bound() },
    ...{ asked: wanted.target, campaigns: running.map(({ name }) => name) },
  };
}
