/** What every group of verbs shares: the database, the clock, the sealer, and the rows that others want to hear of. */
import type { Database } from "better-sqlite3";
import type { Clock } from "../clock.ts";
import type { Machine } from "../machine/machine.ts";
import type { OrderEvent } from "../order/order.ts";
import type { Sealer } from "../secrets/seal.ts";
import { type AuditLog, createAuditLog } from "./audit.ts";
import type { KnownLists } from "./known-lists.ts";
import { FencedError } from "./lease.ts";
import { createOutbox } from "./outbox.ts";
import type { AuditFacts, Cause, Flag, NoticePolicy } from "./store.ts";

export interface StoreListeners {
  readonly onOrderEvent?: (event: OrderEvent) => void;
  readonly onMachine?: (machine: Machine) => void;
  /** The outbox has something new. */
  readonly onMessage?: () => void;
}

/** Nobody is told. */
export const silence = (): NoticePolicy => ({ channels: [], digestMs: 0, tellCustomerAfterMs: null });

/** The daemon's own term in the store (lease.ts). */
export interface StoreFence {
  readonly term: number;
  /** Another daemon has taken over; called for each transaction that was refused. */
  readonly onFenced?: () => void;
}

/** Tables of which the store remembers what was read. */
type KnownTable =
  | "machine"
  | "orders"
  | "refill"
  | "rollout"
  | "flag"
  | "setting"
  | "stock_out"
  | "freeze"
  | "health"
  | "price_list"
  | "demand"
  | "checkout";

export interface StoreContext {
  readonly db: Database;
  readonly clock: Clock;
  readonly sealer: Sealer;
  readonly history: History;
  readonly auditLog: AuditLog;
  /** Runs `work` as one IMMEDIATE transaction and tells the listeners after it is durable. */
  write<T>(work: () => T): T;
  /** What `read` gave, until anything is written to `table`. */
  known<T>(table: KnownTable, key: string, read: () => T): T;
  /** False once another daemon has taken the store over. Always true without a fence. */
  leads(): boolean;
  /** Remembers that this machine's row changed, for `onMachine` after the commit. */
  touched(machine: Machine): void;
}

export interface History {
  flags(): readonly Flag[];
  isFlagged(kind: string, subject: string): boolean;
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
  { fence = null, notices = silence }: { fence?: StoreFence | null; notices?: () => NoticePolicy } = {},
): StoreContext {
  let events: OrderEvent[] = [];
  let hasMessages = false;
  let machines = new Map<string, Machine>();
  let writing = false;
  // Inside of the transaction: between the question and the commit nobody else can take the term. Made once: making it takes
  // longer than most transactions.
  const transact = db.transaction((work: () => unknown): unknown => {
    if (fence !== null && !leads()) throw new FencedError(fence.term);
    return work();
  }).immediate;

  const auditLog = createAuditLog(db, clock);
  const outbox = createOutbox(db, clock, notices);
  const readFlags = () => db.prepare<[], Flag>("SELECT * FROM flag ORDER BY id").all();
  const flags = (): readonly Flag[] => lists.get("flag", "all", readFlags);
  const isFlagged = (kind: string, subject: string) =>
    flags().some((flag) => flag.kind === kind && flag.subject === subject);
  const history: History = {
    flags,
    isFlagged,
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
      hasMessages = outbox.orderEvent(event) || hasMessages;
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
      if (raised.changes !== 1) return false;
      auditLog.append("daemon", `flag.${kind}`, subject, { why: text });
      hasMessages = outbox.alert(kind, subject, text, null) || hasMessages;
      return true;
    },
    clearFlag(kind, subject, why, { actor = "daemon", run = null } = {}) {
      const raised = flags().find((flag) => flag.kind === kind && flag.subject === subject);
      if (!raised) return false;
      db.prepare("DELETE FROM flag WHERE kind = ? AND subject = ?").run(kind, subject);
      auditLog.append(actor, `flag.${kind}.cleared`, subject, { why, run });
      hasMessages = outbox.alert(kind, subject, raised.text, why) || hasMessages;
      return true;
    },
  };

  const leads = (): boolean => {
    if (fence === null) return true;
    const row = db.prepare<[], { term: number }>("SELECT term FROM lease WHERE id = 1").get();
    return row?.term === fence.term;
  };

  return {
    db,
    clock,
    sealer,
    history,
    leads,
    auditLog,
    touched: (machine) => machines.set(machine.name, machine),
    known: (table, key, read) => lists.get(table, key, read),
    write<T>(work: () => T): T {
      if (writing) return work();
      events = [];
      machines = new Map();
      hasMessages = false;
      writing = true;
      let result: T;
      try {
        result = transact(work) as T;
      } catch (error) {
        // What was read in it is not so.
        lists.forget();
        if (error instanceof FencedError) fence?.onFenced?.();
        throw error;
      } finally {
        writing = false;
      }
      const [told, moved, tell] = [events, machines, hasMessages];
      for (const event of told) listeners.onOrderEvent?.(event);
      for (const machine of moved.values()) listeners.onMachine?.(machine);
      if (tell) listeners.onMessage?.();
      return result;
    },
  };
}
