/** What holds over every policy: campaigns that add for a while, floors by the clock, a least and a most. */
import type { Campaign } from "../../config/config.ts";
import { expectedFrom } from "../reservations.ts";
import type { Situation, SizingPolicy, Wanted } from "./policy.ts";

export interface Guards {
  readonly minReady: number;
  readonly maxReady: number;
  readonly campaigns: readonly Campaign[];
  /** Machines that the floors' open windows want at least. */
  readonly floor: (now: number, leadMs: number) => number;
  /** Open checkouts are added to what the policy wants, as many as are expected to be paid. */
  readonly addsCheckouts: boolean;
}

export interface Guarded extends Wanted {
  /** What the policy alone would have. */
  readonly asked: number;
  /** Names of the campaigns that add to it. */
  readonly campaigns: readonly string[];
  /** Machines on top for open checkouts. */
  readonly reserved: number;
  /** What the target is, where it is not what the policy and the campaigns ask. */
  readonly bound: "min_ready" | "floors" | "max_ready" | null;
}

export interface GuardedPolicy extends SizingPolicy {
  wanted(situation: Situation): Guarded;
}

/** A campaign's machines are ordered one lead time ahead, so that they are ready at its start. */
export function guarded(wanted: Wanted, guards: Guards, { now, leadMs, open }: Situation): Guarded {
  const running = guards.campaigns.filter(({ from, until }) => now + leadMs >= from && now < until);
  const reserved = open && guards.addsCheckouts ? Math.ceil(expectedFrom(open)) : 0;
  const added = running.reduce((sum, { add }) => sum + add, reserved);
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
    ...{ asked: wanted.target, reserved, campaigns: running.map(({ name }) => name) },
  };
}
