/**
 * The production store in memory. One database serves all schedules of a thread, each inside a transaction that is rolled
 * back behind it: opening one, its migrations and its hundred statements take longer than many a schedule. What the
 * store promises of a file (durability, pragmas) is tested in tests/store.
 */
import Database from "better-sqlite3";
import type { Clock } from "../../pool/clock.ts";
import type { Machine } from "../../pool/machine/machine.ts";
import type { OrderEvent } from "../../pool/order/order.ts";
import type { Sealer } from "../../pool/secrets/seal.ts";
import type { StoredAuditRow } from "../../pool/store/audit-chain.ts";
import { type StoreFence, type StoreListeners, silence } from "../../pool/store/context.ts";
import { keepStatements } from "../../pool/store/known-lists.ts";
import { leaseRows } from "../../pool/store/lease.ts";
import { prepareDatabase } from "../../pool/store/schema.ts";
import { storeOn } from "../../pool/store/sqlite.ts";
import type { NoticePolicy, Store } from "../../pool/store/store.ts";

interface Listeners extends StoreListeners {
  readonly notices?: () => NoticePolicy;
}

/** Holds texts to their place as the real one does, without a cipher: nobody looks into this database. */
export const sealer: Sealer = {
  seal: (text, place) => `${place}\n${text}`,
  open(sealed, place) {
    if (!sealed.startsWith(`${place}\n`))
      throw new Error(`sealed text of ${place} does not open: wrong place`);
    return sealed.slice(place.length + 1);
  },
};

/** Told of the transactions of whoever works with the store just now. */
export interface TransactionWatcher {
  begins(): void;
  /** Behind the commit. */
  ended(changed: boolean): void;
}

let watcher: TransactionWatcher | null = null;

/** Runs a verb of the store, which is synchronous, with its transactions watched. */
export function watchTransactions<Arguments extends unknown[], T>(
  by: TransactionWatcher,
  verb: (...parameters: Arguments) => T,
  parameters: Arguments,
): T {
  const before = watcher;
  watcher = by;
  try {
    return verb(...parameters);
  } finally {
    watcher = before;
  }
}

const db = new Database(":memory:");
db.pragma("journal_mode = MEMORY");
prepareDatabase(db);
const lists = keepStatements(db);
const newRows = db.prepare<[number], StoredAuditRow>("SELECT * FROM audit WHERE seq > ? ORDER BY seq");
function tellRows(): void {
  if (!current) return;
  const rows = newRows.all(current.told);
  current.told = rows.at(-1)?.seq ?? current.told;
  if (rows.length > 0) current.store.onWritten(rows);
}
const changes = db.prepare<[], number>("SELECT total_changes()").pluck();
let total = changes.get() ?? 0;
const transaction = db.transaction.bind(db);
db.transaction = ((work: (...parameters: unknown[]) => unknown) => {
  const immediate = transaction(work).immediate;
  return {
    immediate(...parameters: unknown[]) {
      watcher?.begins();
      const result = immediate(...parameters);
      const now = changes.get() ?? 0;
      const changed = now !== total;
      total = now;
      if (changed) tellRows();
      watcher?.ended(changed);
      return result;
    },
  };
}) as unknown as typeof db.transaction;
let current: { clock: Clock; store: SimStore; listeners: Listeners; told: number } | null = null;
const clock: Clock = {
  now: () => current?.clock.now() ?? 0,
  delay: async () => {
    throw new Error("the store waits for nothing");
  },
};
const options = {
  clock,
  sealer,
  onMachine: (machine: Machine) => current?.listeners.onMachine?.(machine),
  onOrderEvent: (event: OrderEvent) => current?.listeners.onOrderEvent?.(event),
  onMessage: () => current?.listeners.onMessage?.(),
  notices: () => current?.listeners.notices?.() ?? silence(),
};
const verbs = storeOn(db, lists, options);

/** Who may write to it, as in the file of a real one. */
export const lease = leaseRows(db);
/** The present store as one daemon has it: refused to it when its term is not the last any more. */
export const fencedStore = (fence: StoreFence): Store => storeOn(db, lists, { ...options, fence });

/** All audit rows there are. */
export const auditRowsOf = (): StoredAuditRow[] => newRows.all(0);

export interface SimStore extends Store {
  /** Told of the audit rows that each transaction wrote, behind its commit. */
  onWritten: (rows: readonly StoredAuditRow[]) => void;
  /** What no verb does, for tests of what watches them. */
  tamper(sql: string): void;
  /** Remembers what is in it now, as a backup does. */
  mark(): void;
  /** Brings that back, or with `empty` nothing: what was written since is forgotten. */
  rewind(empty?: boolean): void;
}

/** An empty store; the one before, if nobody closed it, ends here. */
export function emptyStore(at: Clock, listeners: Listeners = {}): SimStore {
  const close = () => {
    if (db.inTransaction) db.exec("ROLLBACK");
    lists.forget();
  };
  close();
  db.exec("BEGIN IMMEDIATE; SAVEPOINT empty");
  total = changes.get() ?? 0;
  const rewind = (empty = false) => {
    db.exec(`ROLLBACK TO ${empty ? "empty" : "backup"}`);
    lists.forget();
    if (current) current.told = verbs.auditHead()?.seq ?? 0;
  };
  const mark = () => {
    db.exec("SAVEPOINT backup");
  };
  const tamper = (sql: string) => {
    db.exec(sql);
    lists.forget();
  };
  const store: SimStore = { ...verbs, onWritten: () => {}, tamper, mark, rewind, close };
  current = { clock: at, store, listeners, told: 0 };
  return store;
}
