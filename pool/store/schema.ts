/**
 * The tables, as numbered migrations. The bad states are made impossible here and not only in code: a machine is
 * bound to one order for ever, an order to one machine, a customer has one hand-over at a time, a checkout session pays
 * once, audit rows are never changed.
 */
import type { Database } from "better-sqlite3";
import { demandTables } from "./demand.ts";
import { leaseTable } from "./lease.ts";
import { chainAudit } from "./migrate-audit.ts";
import { suspendOrders } from "./migrate-suspension.ts";
import { outboxTable } from "./outbox.ts";

/** SQL, or what SQL alone cannot do. */
type Migration = string | ((db: Database) => void);

export const migrations: readonly Migration[] = [
  `
  CREATE TABLE orders (
    id               TEXT PRIMARY KEY,
    state            TEXT NOT NULL CHECK (state IN ('awaiting-payment','queued','provisioning','running','releasing',
                                                    'released','failed','expired')),
    customer         TEXT NOT NULL,
    plan             TEXT NOT NULL,
    region           TEXT NOT NULL,
    agent_name       TEXT NOT NULL,
    secrets          TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    checkout_session TEXT UNIQUE,
    checkout_url     TEXT,
    subscription     TEXT UNIQUE,
    stripe_customer  TEXT,
    paid_at          INTEGER,
    machine          TEXT UNIQUE REFERENCES machine(name),
    hand_overs       INTEGER NOT NULL DEFAULT 0,
    serving_at       INTEGER,
    ended_at         INTEGER,
    release_at       INTEGER,
    reason           TEXT,
    CHECK (state NOT IN ('provisioning','running') OR machine IS NOT NULL),
    CHECK (state <> 'queued' OR (machine IS NULL AND paid_at IS NOT NULL))
  ) STRICT;
  CREATE INDEX orders_queued ON orders (plan, paid_at) WHERE state = 'queued';

  CREATE TABLE machine (
    name             TEXT PRIMARY KEY,
    state            TEXT NOT NULL,
    pool             TEXT NOT NULL,
    plan             TEXT NOT NULL,
    server_type      TEXT NOT NULL,
    location         TEXT NOT NULL,
    image            TEXT NOT NULL,
    placement_group  INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    state_since      INTEGER NOT NULL,
    deadline         INTEGER,
    attempts         INTEGER NOT NULL DEFAULT 0,
    next_look_at     INTEGER NOT NULL DEFAULT 0,
    server_id        INTEGER UNIQUE,
    ipv4             TEXT,
    host_key         TEXT,
    installed        TEXT,
    ready_at         INTEGER,
    order_id         TEXT REFERENCES orders(id),
    generation       INTEGER NOT NULL DEFAULT 0,
    tailnet_node     TEXT,
    tailnet_address  TEXT,
    enrolled         INTEGER NOT NULL DEFAULT 0,
    labelled         INTEGER NOT NULL DEFAULT 0,
    withheld         INTEGER NOT NULL DEFAULT 0,
    reason           TEXT,
    secrets          TEXT NOT NULL,
    CHECK (state NOT IN ('claimed','handing-over','serving') OR order_id IS NOT NULL),
    CHECK (state NOT IN ('planned','creating','booting','preparing','proving','ready') OR order_id IS NULL)
  ) STRICT;
  CREATE UNIQUE INDEX machine_order ON machine (order_id) WHERE state IN ('claimed','handing-over','serving');
  CREATE INDEX machine_live ON machine (pool, state) WHERE state <> 'destroyed';

  CREATE TABLE tombstone (
    subscription TEXT PRIMARY KEY,
    at           INTEGER NOT NULL,
    reason       TEXT NOT NULL
  ) STRICT;

  CREATE TABLE inbox (
    id          TEXT PRIMARY KEY,
    type        TEXT NOT NULL,
    object      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    body        TEXT NOT NULL
  ) STRICT;

  CREATE TABLE order_event (
    order_id TEXT NOT NULL REFERENCES orders(id),
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    type     TEXT NOT NULL,
    data     TEXT NOT NULL,
    PRIMARY KEY (order_id, seq)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
  ) STRICT;
  CREATE INDEX audit_subject ON audit (subject, seq);
  CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are never changed'); END;
  CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are never deleted'); END;

  CREATE TABLE flag (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    text    TEXT NOT NULL,
    UNIQUE (kind, subject)
  ) STRICT;

  CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  `,
  "ALTER TABLE machine ADD COLUMN next_host_key TEXT",
  chainAudit,
  `
  ALTER TABLE machine ADD COLUMN build_ended_at INTEGER;
  ALTER TABLE machine ADD COLUMN failure TEXT;
  ALTER TABLE machine ADD COLUMN specimen_until INTEGER;
  UPDATE machine SET build_ended_at = ready_at;
  CREATE INDEX machine_builds ON machine (pool, build_ended_at) WHERE build_ended_at IS NOT NULL;

  CREATE TABLE refill (
    pool         TEXT PRIMARY KEY,
    counted_from INTEGER NOT NULL DEFAULT 0,
    stopped_at   INTEGER,
    reason       TEXT,
    inputs       TEXT,
    specimen     TEXT REFERENCES machine(name),
    CHECK ((stopped_at IS NULL) = (reason IS NULL) AND (stopped_at IS NULL) = (inputs IS NULL))
  ) STRICT;
  `,
  `
  CREATE TABLE terraform_state (
    stack     TEXT PRIMARY KEY,
    at        INTEGER NOT NULL,
    lineage   TEXT NOT NULL,
    serial    INTEGER NOT NULL,
    resources INTEGER NOT NULL,
    server_id INTEGER,
    document  TEXT NOT NULL
  ) STRICT;
  `,
  // Rows are never deleted: what is asked for at each look must not go through all that ever were.
  `
  CREATE INDEX machine_claimable ON machine (plan, location, ready_at, name)
    WHERE state = 'ready' AND order_id IS NULL AND withheld = 0;
  CREATE INDEX machine_built ON machine (plan, created_at) WHERE ready_at IS NOT NULL;
  CREATE INDEX orders_state ON orders (state, created_at, id);
  `,
  "ALTER TABLE machine ADD COLUMN end_confirmed_by TEXT",
  "ALTER TABLE machine ADD COLUMN held TEXT",
  `
  ALTER TABLE machine ADD COLUMN proved_at INTEGER;
  ALTER TABLE machine ADD COLUMN misses INTEGER NOT NULL DEFAULT 0;
  UPDATE machine SET proved_at = ready_at;

  CREATE TABLE rollout (
    pool         TEXT PRIMARY KEY,
    target       TEXT NOT NULL,
    proven       TEXT NOT NULL,
    phase        TEXT NOT NULL CHECK (phase IN ('canary','soaking','rolling','done','stopped')),
    phase_since  INTEGER NOT NULL,
    paused       INTEGER NOT NULL DEFAULT 0,
    begun_at     INTEGER NOT NULL,
    counted_from INTEGER NOT NULL,
    canary       TEXT REFERENCES machine(name),
    reason       TEXT,
    CHECK ((phase = 'stopped') = (reason IS NOT NULL)),
    CHECK (phase <> 'soaking' OR canary IS NOT NULL)
  ) STRICT;
  `,
  suspendOrders,
  leaseTable,
  `
  ALTER TABLE orders ADD COLUMN round INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE orders ADD COLUMN queued_at INTEGER;
  UPDATE orders SET queued_at = paid_at;
  CREATE INDEX orders_newest ON orders (created_at, id);

  CREATE TABLE attempt (
    order_id TEXT NOT NULL REFERENCES orders(id),
    n        INTEGER NOT NULL,
    round    INTEGER NOT NULL,
    machine  TEXT NOT NULL UNIQUE REFERENCES machine(name),
    kind     TEXT NOT NULL CHECK (kind IN ('build','hand-over')),
    at       INTEGER NOT NULL,
    step     TEXT NOT NULL,
    reason   TEXT NOT NULL,
    failure  TEXT,
    run      TEXT,
    log      TEXT,
    PRIMARY KEY (order_id, n)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE stock_out (
    server_type TEXT NOT NULL,
    location    TEXT NOT NULL,
    until       INTEGER NOT NULL,
    PRIMARY KEY (server_type, location)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE freeze (
    border    TEXT PRIMARY KEY,
    at        INTEGER NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('quota','auth')),
    reason    TEXT NOT NULL,
    probes    INTEGER NOT NULL,
    probed_at INTEGER NOT NULL
  ) STRICT;

  CREATE TRIGGER machine_keeps_its_order BEFORE UPDATE OF order_id ON machine
  WHEN OLD.order_id IS NOT NULL AND NEW.order_id IS NOT OLD.order_id
  BEGIN SELECT RAISE(ABORT, 'a machine that has seen an order is never offered again'); END;
  CREATE TRIGGER order_has_its_own_machine BEFORE UPDATE OF machine ON orders
  WHEN NEW.machine IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM machine WHERE name = NEW.machine AND order_id = NEW.id)
  BEGIN SELECT RAISE(ABORT, 'the machine is not bound to this order'); END;
  CREATE TRIGGER customer_has_one_hand_over BEFORE UPDATE OF state ON orders
  WHEN NEW.state = 'provisioning' AND OLD.state <> 'provisioning'
    AND EXISTS (SELECT 1 FROM orders WHERE customer = NEW.customer AND state = 'provisioning' AND id <> NEW.id)
  BEGIN SELECT RAISE(ABORT, 'another order of this customer is being provisioned'); END;
  `,
  `
  CREATE TABLE health (
    machine TEXT PRIMARY KEY REFERENCES machine(name),
    state   TEXT NOT NULL CHECK (state IN ('healthy','degraded','unreachable','stopped')),
    since   INTEGER NOT NULL,
    misses  INTEGER NOT NULL,
    reason  TEXT,
    repairs TEXT NOT NULL,
    told    INTEGER NOT NULL
  ) STRICT;
  `,
  // A list that says the same as the one before is not another one.
  `
  CREATE TABLE price_list (
    since    INTEGER PRIMARY KEY,
    read_at  INTEGER NOT NULL,
    document TEXT NOT NULL
  ) STRICT;
  `,
  `
  CREATE TABLE config_applied (
    n       INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    how     TEXT NOT NULL CHECK (how IN ('start','reload','apply')),
    written TEXT NOT NULL,
    change  TEXT NOT NULL
  ) STRICT;
  CREATE TRIGGER config_applied_no_update BEFORE UPDATE ON config_applied
  BEGIN SELECT RAISE(ABORT, 'what was in force is never changed'); END;
  CREATE TRIGGER config_applied_no_delete BEFORE DELETE ON config_applied
  BEGIN SELECT RAISE(ABORT, 'what was in force is never deleted'); END;
  `,
  // Of what was there before, the rows say no more than when it was planned.
  `
  CREATE TABLE billed (
    kind          TEXT NOT NULL CHECK (kind IN ('server','primary_ip')),
    id            INTEGER NOT NULL,
    name          TEXT NOT NULL,
    machine       TEXT,
    pool          TEXT,
    type          TEXT NOT NULL,
    location      TEXT NOT NULL,
    has_ipv4      INTEGER NOT NULL,
    price         TEXT,
    counted_from  INTEGER,
    counted_until INTEGER,
    seen_from     INTEGER,
    seen_until    INTEGER,
    PRIMARY KEY (kind, id),
    CHECK (counted_from IS NOT NULL OR counted_until IS NULL),
    CHECK (counted_from IS NOT NULL OR seen_from IS NOT NULL),
    CHECK ((seen_from IS NULL) = (seen_until IS NULL))
  ) STRICT, WITHOUT ROWID;
  INSERT INTO billed (kind, id, name, machine, pool, type, location, has_ipv4, counted_from, counted_until)
    SELECT 'server', server_id, name, name, pool, server_type, location, 1, created_at,
           CASE WHEN state = 'destroyed' THEN state_since END
    FROM machine WHERE server_id IS NOT NULL;

  CREATE TABLE bill_day (
    day       TEXT PRIMARY KEY,
    closed_at INTEGER NOT NULL,
    document  TEXT NOT NULL
  ) STRICT;
  `,
  demandTables,
  outboxTable,
];

/**
 * Sets the pragmas that the promises rest on and brings the schema up to date.
 * better-sqlite3 silently runs WAL with synchronous=NORMAL, with which a committed payment can vanish in a power cut;
 * hence FULL, and a check that it took effect.
 *
 * @throws Error when the database was written by a newer clawpool, or a pragma did not take.
 */
export function prepareDatabase(db: Database): void {
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.pragma("foreign_keys = ON");
  db.pragma("busy_timeout = 5000");
  db.pragma("trusted_schema = OFF");
  const synchronous = db.pragma("synchronous", { simple: true });
  if (synchronous !== 2) throw new Error(`store: synchronous is ${synchronous}, want 2 (FULL)`);
  const version = Number(db.pragma("user_version", { simple: true }));
  if (version > migrations.length) {
    throw new Error(
      `store: schema version ${version} is newer than this clawpool knows (${migrations.length}); install the newer release`,
    );
  }
  if (version === migrations.length) return;
  db.transaction(() => {
    for (const migration of migrations.slice(version)) {
      if (typeof migration === "string") db.exec(migration);
      else migration(db);
    }
    db.pragma(`user_version = ${migrations.length}`);
  }).immediate();
}
