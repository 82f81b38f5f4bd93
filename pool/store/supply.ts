/** The verbs about what can be had at all: types and locations that are sold out, and accounts that are refused. */
import type { StoreContext } from "./context.ts";
import type { Freeze, StockOut, Store } from "./store.ts";

type SupplyVerbs = Pick<Store, "stockOuts" | "recordStockOut" | "recordStock" | "frozen" | "freeze" | "thaw">;

/** The kind of the flag that says so; its subject is the border. */
const flagKind = "frozen";

export function supplyVerbs(context: StoreContext): SupplyVerbs {
  const { db, clock, history, known } = context;
  const subject = (serverType: string, location: string) => `${serverType} in ${location}`;

  return {
    stockOuts() {
      const read = () =>
        db
          .prepare<[], StockOut>(
            `SELECT server_type AS serverType, location, until FROM stock_out
             ORDER BY until, server_type, location`,
          )
          .all();
      const now = clock.now();
      return known("stock_out", "all", read).filter(({ until }) => until > now);
    },

    recordStockOut: ({ serverType, location, until }, why) =>
      context.write(() => {
        db.prepare(
          `INSERT INTO stock_out (server_type, location, until) VALUES (?, ?, ?)
           ON CONFLICT (server_type, location) DO UPDATE SET until = excluded.until`,
        ).run(serverType, location, until);
        history.audit("daemon", "stock.out", subject(serverType, location), { why, until });
      }),

    recordStock: (serverType, location, why) =>
      context.write(() => {
        const { changes } = db
          .prepare("DELETE FROM stock_out WHERE server_type = ? AND location = ?")
          .run(serverType, location);
        if (changes === 1) history.audit("daemon", "stock.in", subject(serverType, location), { why });
      }),

    frozen() {
      const read = () =>
        db
          .prepare<[], Freeze>(
            "SELECT border, at, kind, reason, probes, probed_at AS probedAt FROM freeze ORDER BY border",
          )
          .all();
      return [...known("freeze", "all", read)];
    },

    freeze: (border, { kind, reason, text }) =>
      context.write(() => {
        const now = clock.now();
        const { changes } = db
          .prepare("UPDATE freeze SET probes = probes + 1, probed_at = ? WHERE border = ?")
          .run(now, border);
        if (changes === 1) return false;
        db.prepare(
          "INSERT INTO freeze (border, at, kind, reason, probes, probed_at) VALUES (?, ?, ?, ?, 1, ?)",
        ).run(border, now, kind, reason, now);
        history.audit("daemon", "refill.frozen", border, { why: reason, kind });
        history.flag(flagKind, border, text);
        return true;
      }),

    thaw: (border, why, cause = {}) =>
      context.write(() => {
        const { changes } = db.prepare("DELETE FROM freeze WHERE border = ?").run(border);
        if (changes === 0) return false;
        const { actor = "daemon", run = null } = cause;
        history.audit(actor, "refill.thawed", border, { why, run });
        history.clearFlag(flagKind, border, why, cause);
        return true;
      }),
  };
}
