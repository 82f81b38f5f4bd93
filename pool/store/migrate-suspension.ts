/** The migration that lets orders and machines be suspended. */
import type { Database } from "better-sqlite3";

/**
 * A CHECK constraint is changed by changing its text, as SQLite's documentation describes (ALTER TABLE, "Making Other Kinds
 * Of Table Schema Changes"): copying the table would break the references to it.
 */
function allowState(db: Database, state: string): void {
  const { sql } = db.prepare("SELECT sql FROM sqlite_schema WHERE name = 'orders'").get() as { sql: string };
  const wider = sql.replace("'running',", `'running','${state}',`);
  if (wider === sql) throw new Error("store: the table orders has no such check of its state");
  const version = Number(db.pragma("schema_version", { simple: true }));
  db.unsafeMode(true);
  try {
    db.pragma("writable_schema = ON");
    db.prepare("UPDATE sqlite_schema SET sql = ? WHERE name = 'orders'").run(wider);
    db.pragma(`schema_version = ${version + 1}`);
    db.pragma("writable_schema = OFF");
  } finally {
    db.unsafeMode(false);
  }
}

export function suspendOrders(db: Database): void {
  allowState(db, "suspended");
  db.exec(`
    ALTER TABLE orders ADD COLUMN overdue_since INTEGER;
    ALTER TABLE orders ADD COLUMN suspended_for TEXT;
    ALTER TABLE orders ADD COLUMN suspended_at INTEGER;
    ALTER TABLE orders ADD COLUMN suspended_why TEXT;
    ALTER TABLE orders ADD COLUMN held TEXT CHECK (held IN ('suspend','serve'));
    ALTER TABLE orders ADD COLUMN kept_at INTEGER;
    CREATE INDEX orders_customer ON orders (stripe_customer);

    DROP INDEX machine_order;
    CREATE UNIQUE INDEX machine_order ON machine (order_id)
      WHERE state IN ('claimed','handing-over','serving','suspending','suspended','resuming');
    CREATE TRIGGER machine_suspended_order BEFORE UPDATE OF state, order_id ON machine
      WHEN NEW.state IN ('suspending','suspended','resuming') AND NEW.order_id IS NULL
      BEGIN SELECT RAISE(ABORT, 'only a machine with an order is suspended'); END;
  `);
}
