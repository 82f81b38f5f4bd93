/** The verbs of roll-outs: where each pool is on the way to another content. */
import { machineName } from "../machine/machine.ts";
import { changedFields } from "./audit.ts";
import type { StoreContext } from "./context.ts";
import type { Rollout, Store } from "./store.ts";

type RolloutVerbs = Pick<Store, "rollout" | "putRollout">;

interface RolloutRow {
  pool: string;
  target: string;
  proven: string;
  phase: Rollout["phase"];
  phase_since: number;
  paused: number;
  begun_at: number;
  counted_from: number;
  canary: string | null;
  reason: string | null;
}

/** The kind of the flag that says so. */
const flagKind = "rollout-stopped";

const told = ["target", "proven", "phase", "paused", "canary", "reason"] as const;

export function rolloutVerbs({ db, history, write, known }: StoreContext): RolloutVerbs {
  const rollout = (pool: string): Rollout | null => known("rollout", pool, () => readRollout(pool));

  function readRollout(pool: string): Rollout | null {
    const row = db.prepare<[string], RolloutRow>("SELECT * FROM rollout WHERE pool = ?").get(pool);
    if (!row) return null;
    const { target, proven, phase, reason } = row;
    return {
      ...{ pool, target, proven, phase, reason },
      phaseSince: row.phase_since,
      paused: row.paused === 1,
      begunAt: row.begun_at,
      countedFrom: row.counted_from,
      canary: row.canary === null ? null : machineName(row.canary),
    };
  }

  return {
    rollout,
    putRollout: (after, why, { actor = "daemon", run = null } = {}) =>
      write(() => {
        const { pool } = after;
        const before = rollout(pool);
        db.prepare(
          `INSERT OR REPLACE INTO rollout
             (pool, target, proven, phase, phase_since, paused, begun_at, counted_from, canary, reason)
           VALUES (@pool, @target, @proven, @phase, @phaseSince, @paused, @begunAt, @countedFrom, @canary, @reason)`,
        ).run({ ...after, paused: Number(after.paused) });
        const changed = before ? changedFields(before, after, told) : { before: null, after: { ...after } };
        const paused = before !== null && before.paused !== after.paused;
        const action = paused ? (after.paused ? "paused" : "resumed") : after.phase;
        history.audit(actor, `rollout.${action}`, pool, { why, run, ...changed });
        if (after.phase === "stopped") history.flag(flagKind, pool, why);
        else history.clearFlag(flagKind, pool, why, { actor, run });
      }),
  };
}
