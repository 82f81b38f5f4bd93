/**
 * Which ready machines go for others, because they are too old or of other content, and how. A machine goes only when one
 * more than the pool keeps is ready, so the floor holds; at most `surge` are built above it.
 */
import type { PoolConfig } from "../config/config.ts";
import type { Machine } from "../machine/machine.ts";
import { spread } from "../random.ts";
import type { Store } from "../store/store.ts";
import { contentOf, warmMachines } from "./content.ts";
import { isPaidHourOver } from "./steps.ts";

/** Spread by name: machines that were born together do not go together. */
const ageLimitMs = ({ name }: Machine, pool: PoolConfig): number =>
  pool.maxAgeMs * (1 - pool.maxAgeJitter * spread(name));

export function isAged(machine: Machine, pool: PoolConfig, now: number): boolean {
  const age = now - (machine.readyAt ?? now);
  // Mostly it is far from any limit, and the spread need not be computed.
  return age > pool.maxAgeMs * (1 - pool.maxAgeJitter) && age > ageLimitMs(machine, pool);
}

export interface Replacement {
  /** Warm machines that are to be replaced. */
  readonly stale: readonly Machine[];
  readonly aged: readonly Machine[];
  /** Machines to be built above what the pool keeps. */
  readonly extra: number;
  /** Machines above what the pool keeps that are no surplus. */
  readonly kept: number;
  /** Who may go as soon as enough others are ready, with the reason. */
  readonly going: readonly { readonly machine: Machine; readonly reason: string }[];
}

export function replacement(store: Store, pool: PoolConfig, now: number): Replacement {
  const rollout = store.rollout(pool.name);
  const warm = warmMachines(store, pool.name);
  const isStale = (machine: Machine) => {
    const content = contentOf(machine);
    return rollout !== null && content !== null && content !== rollout.target;
  };
  const stale = warm.filter(isStale);
  const aged = warm.filter((machine) => !isStale(machine) && isAged(machine, pool, now));
  const { surge } = pool.rollout;
  // Only those that stand for others are kept above the floor: a stale surplus must not take the canary's place.
  const kept = Math.min(surge, warm.length - stale.length - aged.length);
  if (rollout?.paused || rollout?.phase === "stopped") return { stale, aged, extra: 0, kept, going: [] };
  // Until a canary has lasted, nothing that works is given for what it is made of.
  if (rollout?.phase === "canary" || rollout?.phase === "soaking") {
    const extra = Math.min(1, stale.length);
    return { stale, aged, extra, kept: Math.min(extra, kept), going: [] };
  }
  const extra = Math.min(surge, stale.length + aged.length);
  const going = [
    ...stale.map((machine) => ({ machine, reason: "prepared by another recipe than the pool's" })),
    ...aged
      .filter((machine) => isPaidHourOver(machine, now))
      .map((machine) => ({ machine, reason: "older than the pool's maximum age" })),
  ];
  return { stale, aged, extra, kept: Math.min(extra, kept), going };
}
