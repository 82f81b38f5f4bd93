/**
 * The production store in memory. One database serves all schedules of a thread, each inside a transaction that is rolled
 * back behind it: opening one, its migrations and its hundred statements take longer than many a schedule. What the
 * store promises of a file (durability, pragmas) is tested in tests/store.
 */
import Database from "better-sqlite3";
import type { Clock } from "../../pool/clock.ts";
import type { Sealer } from "../../pool/secrets/seal.ts";
import type { StoreListeners } from "../../pool/store/context.ts";
import { keepStatements } from "../../pool/store/known-lists.ts";
import { prepareDatabase } from "../../pool/store/schema.ts";
import { storeOn } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";

/** Holds texts to their place as the real one does, without a cipher: nobody looks into this database. */
export const sealer: Sealer = {
  seal: (text, place) => `${place}\n${text}`,
  open(sealed, place) {
    if (!sealed.startsWith(`${place}\n`))
      throw new Error(`sealed text of ${place} does not open: wrong place`);
    return sealed.slice(place.length + 1);
  },
};

const db = new Database(":memory:");
db.pragma("journal_mode = MEMORY");
prepareDatabase(db);
const lists = keepStatements(db);
let current: { clock: Clock; listeners: StoreListeners } | null = null;
const clock: Clock = {
  now: () => current?.clock.now() ?? 0,
  delay: async () => {
    throw new Error("the store waits for nothing");
  },
};
const verbs = storeOn(db, lists, {
  clock,
  sealer,
  onMachine: (machine) => current?.listeners.onMachine?.(machine),
  onOrderEvent: (event) => current?.listeners.onOrderEvent?.(event),
});

/** An empty store; the one before, if nobody closed it, ends here. */
export function emptyStore(at: Clock, listeners: StoreListeners = {}): Store {
  const close = () => {
    if (db.inTransaction) db.exec("ROLLBACK");
    lists.forget();
  };
  close();
  db.exec("BEGIN IMMEDIATE");
  current = { clock: at, listeners };
  return { ...verbs, close };
}
