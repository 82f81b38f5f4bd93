/** The verbs of heartbeats: how machines that serve were last seen. A machine without a row is healthy. */
import { type MachineName, machineName } from "../machine/machine.ts";
import type { StoreContext } from "./context.ts";
import { readMachine } from "./machines.ts";
import { findOrder } from "./orders.ts";
import type { Health, Store } from "./store.ts";

type HealthVerbs = Pick<Store, "healths" | "putHealth" | "dropHealth">;

interface HealthRow {
  machine: string;
  state: Health["state"];
  since: number;
  misses: number;
  reason: string | null;
  repairs: string;
  told: number;
}

/** The kind of the flag that says so. */
const flagKind = "unhealthy";

export function healthVerbs(context: StoreContext): HealthVerbs {
  const { db, history, known, write } = context;
  const read = (machine: string): Health | null => {
    const row = db.prepare<[string], HealthRow>("SELECT * FROM health WHERE machine = ?").get(machine);
    return row ? health(row) : null;
  };
  const health = ({ machine, repairs, told, ...row }: HealthRow): Health => ({
    ...row,
    machine: machineName(machine),
    repairs: JSON.parse(repairs),
    told: told === 1,
  });
  /** The customer hears once that something is wrong, and once that it is over. */
  function tell(machine: MachineName, state: string, since: number): void {
    const order = readMachine(context, machine)?.order;
    if (order && findOrder(context, "id", order)?.state === "running")
      history.orderEvent(order, "health", { state, since: new Date(since).toISOString() });
  }

  return {
    healths() {
      const readAll = () =>
        db.prepare<[], HealthRow>("SELECT * FROM health ORDER BY machine").all().map(health);
      return [...known("health", "all", readAll)];
    },

    putHealth: (after, why) =>
      write(() => {
        const { machine, state, since, misses, reason, repairs, told } = after;
        const before = read(machine);
        db.prepare(
          `INSERT OR REPLACE INTO health (machine, state, since, misses, reason, repairs, told)
           VALUES (?, ?, ?, ?, ?, ?, ?)`,
        ).run(machine, state, since, misses, reason, JSON.stringify(repairs), Number(told));
        const was = before?.state ?? "healthy";
        if (was !== state) {
          const facts = { why, before: { health: was }, after: { health: state } };
          history.audit("daemon", `machine.${state}`, machine, facts);
        }
        if (state === "degraded" || state === "unreachable") {
          // Told once until it is over: kinds of trouble that take turns would tell the operator anew each time.
          if (!history.isFlagged(flagKind, machine))
            history.flag(flagKind, machine, `${machine} is ${state}: ${reason}`);
        } else history.clearFlag(flagKind, machine, why);
        if (told !== (before?.told ?? false)) tell(machine, told ? state : "healthy", since);
      }),

    dropHealth: (machine, why) =>
      write(() => {
        db.prepare("DELETE FROM health WHERE machine = ?").run(machine);
        history.clearFlag(flagKind, machine, why);
      }),
  };
}
