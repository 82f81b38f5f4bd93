/** What a replay of own history chose for a pool: kept in the store until the next one, or until the pool is sized otherwise. */
import type { PoolConfig } from "../config/config.ts";
import type { Store } from "../store/store.ts";
import { type ChosenPolicy, chosenText } from "./policy/chosen.ts";
import type { Choice } from "./replay/choice.ts";

export interface KeptChoice {
  /** When it was made, epoch ms. */
  readonly at: number;
  /** The configuration that it was made for. */
  readonly basis: string;
  /** Share that is asked, 0–1. */
  readonly hitShare: number;
  /** The lead time that it was made for, ms. */
  readonly leadMs: number;
  /** Null: nothing proves the share, so the price is found by own misses. */
  readonly policy: ChosenPolicy | null;
  /** Claims that were replayed, and what the share is at least, 95 % sure; null where nothing was chosen. */
  readonly claims: number;
  readonly atLeast: number | null;
  readonly why: string;
}

/** The share that a pool is asked for; null where none is, so that nothing is to be chosen. */
export function askedShare({ sizing }: Pick<PoolConfig, "sizing">): number | null {
  return sizing.policy === "adaptive" && "hitShare" in sizing.goal ? sizing.goal.hitShare : null;
}

const settingOf = (pool: string): string => `sizing/choice/${pool}`;

/** Whatever of the configuration the outcome hangs on; with its form, which may change with the release. */
export function basisOf(pool: PoolConfig): string {
  const { minReady, maxReady, maxTotal, maxBuildsPerMinute, sizing, serverType, locations } = pool;
  return JSON.stringify([
    ...[2, minReady, maxReady, maxTotal, maxBuildsPerMinute, sizing, serverType, locations],
    pool.failureBudget,
  ]);
}

/** The one that counts; null before the first, and where the pool was sized otherwise since. */
export function keptChoice(store: Pick<Store, "setting">, pool: PoolConfig): KeptChoice | null {
  if (askedShare(pool) === null) return null;
  const text = store.setting(settingOf(pool.name));
  if (!text) return null;
  const kept = JSON.parse(text) as KeptChoice;
  return kept.basis === basisOf(pool) ? kept : null;
}

/** @param leadMs that it was replayed with */
export function keepChoice(
  store: Pick<Store, "putSetting">,
  pool: PoolConfig,
  choice: Choice,
  leadMs: number,
  now: number,
): KeptChoice {
  const { hitShare, chosen, why, claims } = choice;
  const kept: KeptChoice = {
    ...{ at: now, basis: basisOf(pool), hitShare, leadMs, claims, why },
    ...{ policy: chosen?.setting ?? null, atLeast: chosen?.atLeast ?? null },
  };
  const policy = kept.policy ? chosenText(kept.policy) : "price found by own misses";
  const facts = { why, policy, asked: hitShare, atLeast: kept.atLeast, claims };
  const told = { actor: "daemon", action: "sizing.chosen", subject: pool.name, facts };
  store.putSetting(settingOf(pool.name), JSON.stringify(kept), told);
  return kept;
}
