/** What every group of verbs shares: the database, the clock, the sealer, and the rows that others want to hear of. */
import type { Database } from "better-sqlite3";
import type { Clock } from "../clock.ts";
import type { Machine } from "../machine/machine.ts";
import type { OrderEvent } from "../order/order.ts";
import type { Sealer } from "../secrets/seal.ts";
import { type AuditLog, createAuditLog } from "./audit.ts";
import type { KnownLists } from "./known-lists.ts";
import type { AuditFacts, Cause } from "./store.ts";

export interface StoreListeners {
  readonly onOrderEvent?: (event: OrderEvent) => void;
  readonly onMachine?: (machine: Machine) => void;
}

export interface StoreContext {
  readonly db: Database;
  readonly clock: Clock;
  readonly sealer: Sealer;
  readonly history: History;
  readonly auditLog: AuditLog;
  /** Runs `work` as one IMMEDIATE transaction and tells the listeners after it is durable. */
  write<T>(work: () => T): T;
  /** What `read` gave, until anything is written to `table`. Inside of a transaction it is read anew. */
  known<T>(table: "machine" | "orders", key: string, read: () => T): T;
  /** Remembers that this machine's row changed, for `onMachine` after the commit. */
  touched(machine: Machine): void;
}

export interface History {
  audit(actor: string, action: string, subject: string, facts: AuditFacts): void;
  orderEvent(order: string, type: OrderEvent["type"], data: OrderEvent["data"]): OrderEvent;
  flag(kind: string, subject: string, text: string): boolean;
  clearFlag(kind: string, subject: string, why: string, cause?: Cause): boolean;
}

/**
 * Write transactions are BEGIN IMMEDIATE: a deferred one that writes after reading fails at once with
 * SQLITE_BUSY_SNAPSHOT, whatever the busy time-out.
 */
export function createContext(
  db: Database,
  clock: Clock,
  sealer: Sealer,
  listeners: StoreListeners,
  lists: KnownLists,
): StoreContext {
  let events: OrderEvent[] = [];
  let machines = new Map<string, Machine>();
  let writing = false;

  const auditLog = createAuditLog(db, clock);
  const history: History = {
    audit: auditLog.append,
    orderEvent(order, type, data) {
      const at = clock.now();
      const { seq } = db
        .prepare<[string], { seq: number }>(
          "SELECT coalesce(max(seq), 0) + 1 AS seq FROM order_event WHERE order_id = ?",
        )
        .get(order) ?? { seq: 1 };
      db.prepare("INSERT INTO order_event (order_id, seq, at, type, data) VALUES (?, ?, ?, ?, ?)").run(
        order,
        seq,
        at,
        type,
        JSON.stringify(data),
      );
      const event = { order, seq, at, type, data } as OrderEvent;
      events.push(event);
      return event;
    },
    flag(kind, subject, text) {
      const raised = db
        .prepare(
          `INSERT INTO flag (at, kind, subject, text) VALUES (?, ?, ?, ?)
           ON CONFLICT (kind, subject) DO UPDATE SET text = excluded.text WHERE text <> excluded.text`,
        )
        .run(clock.now(), kind, subject, text);
      // A sweep says the same each minute until somebody acts; that is one thing to know.
      if (raised.changes === 1) auditLog.append("daemon", `flag.${kind}`, subject, { why: text });
      return raised.changes === 1;
    },
    clearFlag(kind, subject, why, { actor = "daemon", run = null } = {}) {
      const removed = db.prepare("DELETE FROM flag WHERE kind = ? AND subject = ?").run(kind, subject);
      if (removed.changes === 1) auditLog.append(actor, `flag.${kind}.cleared`, subject, { why, run });
      return removed.changes === 1;
    },
  };

  return {
    db,
    clock,
    sealer,
    history,
    auditLog,
    touched: (machine) => machines.set(machine.name, machine),
    known: (table, key, read) => (writing ? read() : lists.get(table, key, read)),
    write(work) {
      if (writing) return work();
      events = [];
      machines = new Map();
      writing = true;
      let result: ReturnType<typeof work>;
      try {
        result = db.transaction(work).immediate();
      } finally {
        writing = false;
      }
      const [told, moved] = [events, machines];
      for (const event of told) listeners.onOrderEvent?.(event);
      for (const machine of moved.values()) listeners.onMachine?.(machine);
      return result;
    },
  };
}
