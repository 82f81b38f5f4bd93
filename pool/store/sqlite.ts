/** The embedded store: SQLite in WAL mode with synchronous=FULL, one file beside the terraform folders. */
import { chmodSync } from "node:fs";
import Database from "better-sqlite3";
import { type Clock, systemClock } from "../clock.ts";
import type { OrderEvent } from "../order/order.ts";
import type { Sealer } from "../secrets/seal.ts";
import { auditVerbs } from "./audit.ts";
import { billVerbs } from "./bill.ts";
import { claimVerbs } from "./claims.ts";
import { configVerbs } from "./configs.ts";
import { createContext, type StoreFence, type StoreListeners } from "./context.ts";
import { demandVerbs } from "./demand.ts";
import { healthVerbs } from "./health.ts";
import { anyLimit, type KnownLists, keepStatements } from "./known-lists.ts";
import { machineVerbs } from "./machines.ts";
import { orderVerbs } from "./orders.ts";
import { outboxVerbs } from "./outbox.ts";
import { recoveryVerbs } from "./recovery.ts";
import { refillVerbs } from "./refill.ts";
import { rolloutVerbs } from "./rollouts.ts";
import { prepareDatabase } from "./schema.ts";
import type { NoticePolicy, Store } from "./store.ts";
import { supplyVerbs } from "./supply.ts";
import { suspensionVerbs } from "./suspension.ts";
import { stateVerbs } from "./terraform-states.ts";

export interface SqliteStoreOptions extends StoreListeners {
  /** `:memory:` or a path; the file gets mode 0600. */
  readonly file: string;
  readonly sealer: Sealer;
  readonly clock?: Clock;
  /** Without one everything may be written: tests, and commands that run without a daemon. */
  readonly fence?: StoreFence;
  /** Who is told of what, asked anew each time; nobody without it. */
  readonly notices?: () => NoticePolicy;
}

interface HistoryRow {
  data: string;
  [column: string]: unknown;
}

/** @throws Error when the file cannot be opened, was written by a newer release, or cannot promise durability. */
export function openSqliteStore(options: SqliteStoreOptions): Store {
  const db = new Database(options.file);
  if (options.file === ":memory:") db.pragma("journal_mode = MEMORY");
  else chmodSync(options.file, 0o600);
  prepareDatabase(db);
  return storeOn(db, keepStatements(db), options);
}

/** The verbs on a database that is open and prepared. */
export function storeOn(
  db: Database.Database,
  lists: KnownLists,
  options: Omit<SqliteStoreOptions, "file">,
): Store {
  const context = createContext(db, options.clock ?? systemClock, options.sealer, options, lists, options);
  return {
    ...machineVerbs(context),
    ...orderVerbs(context),
    ...claimVerbs(context),
    ...suspensionVerbs(context),
    ...refillVerbs(context),
    ...stateVerbs(context),
    ...recoveryVerbs(context),
    ...rolloutVerbs(context),
    ...supplyVerbs(context),
    ...healthVerbs(context),
    ...billVerbs(context),
    ...configVerbs(context),
    ...demandVerbs(context),
    ...outboxVerbs(context),
    ...auditVerbs(context.auditLog, context.write),

    appendStep: (order, data) => context.write(() => context.history.orderEvent(order, "step", data)),

    orderEvents: (order, afterSeq, limit = -1) =>
      db
        .prepare<[string, number, number], HistoryRow>(
          `SELECT order_id AS "order", seq, at, type, data FROM order_event WHERE order_id = ? AND seq > ?
           ORDER BY seq ${anyLimit}`,
        )
        .all(order, afterSeq, limit)
        .map((row) => ({ ...row, data: JSON.parse(row.data) }) as unknown as OrderEvent),

    flag: (kind, subject, text) => context.write(() => context.history.flag(kind, subject, text)),
    // Asked for without a transaction first: what looks every minute whether something is over mostly finds nothing told.
    clearFlag: (kind, subject, why, cause) =>
      context.history.isFlagged(kind, subject) &&
      context.write(() => context.history.clearFlag(kind, subject, why, cause)),
    flags: () => [...context.history.flags()],

    setting: (key) =>
      context.known(
        "setting",
        key,
        () =>
          db.prepare<[string], { value: string }>("SELECT value FROM setting WHERE key = ?").get(key)
            ?.value ?? null,
      ),

    putSetting: (key, value, told) =>
      context.write(() => {
        if (told) context.history.audit(told.actor, told.action, told.subject, told.facts);
        db.prepare(
          "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        ).run(key, value);
      }),

    leads: context.leads,

    emptyLog() {
      // A reader may read for hours: not waited for, since nothing else of the daemon goes on meanwhile.
      const patience = db.pragma("busy_timeout", { simple: true });
      db.pragma("busy_timeout = 0");
      try {
        db.pragma("wal_checkpoint(TRUNCATE)");
      } finally {
        db.pragma(`busy_timeout = ${patience}`);
      }
    },

    close: () => {
      db.close();
    },
  };
}
