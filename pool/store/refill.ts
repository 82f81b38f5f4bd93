/** The verbs of the failure budget: what became of a pool's builds, and whether it may be refilled. */
import { type MachineName, machineName } from "../machine/machine.ts";
import type { StoreContext } from "./context.ts";
import { anyLimit } from "./known-lists.ts";
import { readMachine, writeMachineChange } from "./machines.ts";
import type { Build, Refill, Specimen, Store } from "./store.ts";

type RefillVerbs = Pick<
  Store,
  "builds" | "refill" | "stoppedPools" | "stopRefill" | "keepSpecimen" | "resumeRefill"
>;

interface BuildRow {
  name: string;
  location: string;
  startedAt: number;
  endedAt: number;
  ok: number;
  failure: string | null;
}

interface RefillRow {
  counted_from: number;
  stopped_at: number | null;
  reason: string | null;
  inputs: string | null;
  specimen: string | null;
}

/** The kind of the flag that says so. */
const flagKind = "refill-stopped";

export function refillVerbs(context: StoreContext): RefillVerbs {
  const { db, clock, history } = context;

  function refill(pool: string): Refill {
    const row = context.known("refill", `row\n${pool}`, () =>
      db.prepare<[string], RefillRow>("SELECT * FROM refill WHERE pool = ?").get(pool),
    );
    const { counted_from: countedFrom = 0, stopped_at: at = null, reason, inputs, specimen } = row ?? {};
    if (at === null) return { countedFrom, stop: null };
    const kept = specimen ? machineName(specimen) : null;
    return { countedFrom, stop: { at, reason: reason ?? "", inputs: inputs ?? "", specimen: kept } };
  }

  function keep(pool: string, { name, until }: Specimen): void {
    db.prepare("UPDATE refill SET specimen = ? WHERE pool = ?").run(name, pool);
    const change = { specimenUntil: until, deadline: null };
    writeMachineChange(context, name, "failed", change, "kept to be looked at");
  }

  function letGo(pool: string, why: string, actor: string | undefined): MachineName[] {
    const rows = db
      .prepare<[string], { name: string }>(
        "SELECT name FROM machine WHERE pool = ? AND state = 'failed' AND specimen_until IS NOT NULL",
      )
      .all(pool);
    return rows.map(({ name }) => {
      const cause = actor === undefined ? {} : { actor };
      return writeMachineChange(context, name, "failed", { specimenUntil: null }, why, cause).name;
    });
  }

  return {
    builds(pool, { since = 0, limit = 1_000 } = {}) {
      const read = (): Build[] =>
        db
          .prepare<[string, number, number], BuildRow>(
            `SELECT name, location, created_at AS startedAt, build_ended_at AS endedAt, ready_at IS NOT NULL AS ok, failure
             FROM machine WHERE pool = ? AND build_ended_at >= ? ORDER BY build_ended_at DESC ${anyLimit}`,
          )
          .all(pool, since, limit)
          // Not by SQLite: the index has them by time, and it would sort each group of one instant by itself.
          .sort((a, b) => a.endedAt - b.endedAt || (a.name < b.name ? -1 : 1))
          .map(({ name, ok, ...row }) => ({ ...row, machine: machineName(name), ok: ok === 1 }));
      return [...context.known("machine", `builds\n${pool}\n${since}\n${limit}`, read)];
    },

    refill,

    stoppedPools: () => [
      ...context.known("refill", "stopped", () =>
        db
          .prepare<[], { pool: string }>("SELECT pool FROM refill WHERE stopped_at IS NOT NULL ORDER BY pool")
          .all()
          .map(({ pool }) => pool),
      ),
    ],

    stopRefill: (pool, { reason, inputs, specimen, text }) =>
      context.write(() => {
        if (refill(pool).stop) return;
        db.prepare(
          `INSERT INTO refill (pool, stopped_at, reason, inputs) VALUES (@pool, @at, @reason, @inputs)
           ON CONFLICT (pool) DO UPDATE SET stopped_at = @at, reason = @reason, inputs = @inputs, specimen = NULL`,
        ).run({ pool, at: clock.now(), reason, inputs });
        history.audit("daemon", "refill.stopped", pool, { why: reason, specimen: specimen?.name ?? null });
        if (specimen) keep(pool, specimen);
        history.flag(flagKind, pool, text);
      }),

    keepSpecimen: (pool, specimen) =>
      context.write(() => {
        const { stop } = refill(pool);
        if (!stop || stop.specimen !== null || readMachine(context, specimen.name)?.state !== "failed")
          return false;
        keep(pool, specimen);
        return true;
      }),

    resumeRefill: (pool, why, cause = {}) =>
      context.write(() => {
        const stopped = refill(pool).stop?.reason ?? null;
        db.prepare(
          `INSERT INTO refill (pool, counted_from) VALUES (@pool, @now) ON CONFLICT (pool) DO UPDATE
           SET counted_from = @now, stopped_at = NULL, reason = NULL, inputs = NULL, specimen = NULL`,
        ).run({ pool, now: clock.now() });
        const { actor = "daemon", run = null } = cause;
        history.audit(actor, "refill.resumed", pool, { why, run, stopped });
        const specimens = letGo(pool, why, cause.actor);
        history.clearFlag(flagKind, pool, why, cause);
        return { stopped, specimens };
      }),
  };
}
