/** The verbs about demand: who came, whether a machine was ready, and which checkouts are open. */
import type { Order } from "../order/order.ts";
import type { StoreContext } from "./context.ts";
import { anyLimit } from "./known-lists.ts";
import type { Checkout, Demand, Store } from "./store.ts";

type DemandVerbs = Pick<Store, "demand" | "checkouts">;

/** What was known before these tables were: payments and whether their machine was ready by then, checkouts and their ends. */
export const demandTables = `
  CREATE TABLE demand (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT NOT NULL UNIQUE,
    at       INTEGER NOT NULL,
    plan     TEXT NOT NULL,
    region   TEXT NOT NULL,
    pool     TEXT
  ) STRICT;
  CREATE INDEX demand_at ON demand (at);
  INSERT INTO demand (order_id, at, plan, region, pool)
    SELECT id, paid_at, plan, region,
           (SELECT pool FROM machine WHERE machine.name = orders.machine AND ready_at <= paid_at)
    FROM orders WHERE paid_at IS NOT NULL ORDER BY paid_at, id;

  CREATE TABLE checkout (
    order_id  TEXT PRIMARY KEY,
    plan      TEXT NOT NULL,
    region    TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    outcome   TEXT CHECK (outcome IN ('paid','expired')),
    CHECK ((closed_at IS NULL) = (outcome IS NULL))
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX checkout_open ON checkout (opened_at) WHERE closed_at IS NULL;
  CREATE INDEX checkout_closed ON checkout (closed_at) WHERE closed_at IS NOT NULL;
  INSERT INTO checkout (order_id, plan, region, opened_at, closed_at, outcome)
    SELECT id, plan, region, created_at,
           coalesce(paid_at, CASE state WHEN 'awaiting-payment' THEN NULL
             ELSE (SELECT max(at) FROM order_event WHERE order_id = id AND type = 'state') END),
           CASE WHEN paid_at IS NOT NULL THEN 'paid' WHEN state <> 'awaiting-payment' THEN 'expired' END
    FROM orders WHERE paid_at IS NOT NULL OR state IN ('awaiting-payment','expired');
`;

/** A customer may pay now. */
export function openCheckout(
  { db, clock }: StoreContext,
  order: Pick<Order, "id" | "plan" | "region">,
): void {
  db.prepare("INSERT INTO checkout (order_id, plan, region, opened_at) VALUES (?, ?, ?, ?)").run(
    order.id,
    order.plan,
    order.region,
    clock.now(),
  );
}

/** One that expired may be paid all the same: Stripe's events come in any order. */
export function closeCheckout({ db, clock }: StoreContext, order: string, outcome: "paid" | "expired"): void {
  db.prepare("UPDATE checkout SET closed_at = ?, outcome = ? WHERE order_id = ?").run(
    clock.now(),
    outcome,
    order,
  );
}

/** @param pool whose machine it got at once; null when none was ready */
export function recordDemand(
  { db, clock }: StoreContext,
  { id, plan, region }: Pick<Order, "id" | "plan" | "region">,
  pool: string | null,
): void {
  db.prepare(
    `INSERT INTO demand (order_id, at, plan, region, pool) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (order_id) DO NOTHING`,
  ).run(id, clock.now(), plan, region, pool);
}

export function demandVerbs({ db, known }: StoreContext): DemandVerbs {
  return {
    demand: ({ after = 0, since = 0 } = {}) => [
      ...known("demand", `${after}\n${since}`, () =>
        db
          .prepare<[number, number], Demand>(
            "SELECT seq, at, plan, region, pool FROM demand WHERE seq > ? AND at >= ? ORDER BY seq",
          )
          .all(after, since),
      ),
    ],

    checkouts: (limit) =>
      known("checkout", `${limit}`, () => {
        const columns = "plan, region, opened_at AS openedAt, closed_at AS closedAt, outcome";
        return {
          open: db
            .prepare<[], Checkout>(
              `SELECT ${columns} FROM checkout WHERE closed_at IS NULL ORDER BY opened_at`,
            )
            .all(),
          closed: db
            .prepare<[number], Checkout>(
              `SELECT ${columns} FROM checkout WHERE closed_at IS NOT NULL ORDER BY closed_at DESC ${anyLimit}`,
            )
            .all(limit),
        };
      }),
  };
}
