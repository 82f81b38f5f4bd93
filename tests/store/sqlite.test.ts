import { strict as assert } from "node:assert";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { storeConformance } from "./conformance.ts";
import { makeReady, newOrder, pay } from "./rows.ts";

const sealer = createSealer([newSealingKey()]);

storeConformance("sqlite in memory", (clock, notices) =>
  openSqliteStore({ file: ":memory:", sealer, clock, ...(notices ? { notices } : {}) }),
);

describe("sqlite in a file", () => {
  let dir: string;
  let file: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-store-"));
    file = join(dir, "clawpool.sqlite");
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it("keeps what was acknowledged and nothing readable of a secret, not even in the write-ahead log", () => {
    const store = openSqliteStore({ file, sealer });
    makeReady(store, "m-1");
    store.createOrder(newOrder("o-1"));
    assert.equal(pay(store, "o-1").kind, "claimed");
    const bytes = Buffer.concat([readFileSync(file), readFileSync(`${file}-wal`)]).toString("latin1");
    for (const secret of ["sk-customer", "token-of-the-customer", "pool-token", "controller-key"]) {
      assert(!bytes.includes(secret), `${secret} is readable in the database`);
    }
    store.close();
    const again = openSqliteStore({ file, sealer });
    assert.equal(again.machines({ states: ["claimed"] }).length, 1);
    again.close();
    assert.equal(statSync(file).mode & 0o777, 0o600);
  });

  it("tells its listeners after the commit, and not of what was rolled back", () => {
    const told: string[] = [];
    const store = openSqliteStore({ file, sealer, onMachine: (machine) => told.push(machine.state) });
    makeReady(store, "m-1");
    assert.deepEqual(told, ["planned", "creating", "booting", "preparing", "proving", "ready"]);
    assert.throws(() => store.changeMachine("m-1" as never, "ready", { state: "serving" }, "test"));
    assert.equal(told.length, 6);
    store.close();
  });

  it("does not let audit rows be changed or removed", () => {
    const store = openSqliteStore({ file, sealer });
    store.audit("test", "did", "something", { why: "test" });
    store.close();
    const db = new Database(file);
    assert.throws(() => db.exec("UPDATE audit SET action = 'x'"), /never changed/);
    assert.throws(() => db.exec("DELETE FROM audit"), /never deleted/);
    db.close();
  });

  it("lets orders of an older release be suspended, with all that refers to them", () => {
    const before = openSqliteStore({ file, sealer });
    makeReady(before, "m-1");
    before.createOrder(newOrder("o-1"));
    pay(before, "o-1");
    before.close();
    const db = new Database(file);
    const { sql } = db.prepare("SELECT sql FROM sqlite_schema WHERE name = 'orders'").get() as {
      sql: string;
    };
    assert.match(sql, /'running','suspended','releasing'/);
    assert.equal(db.pragma("integrity_check", { simple: true }), "ok");
    assert.deepEqual(db.pragma("foreign_key_check"), []);
    assert.throws(() => db.exec("UPDATE orders SET state = 'asleep'"), /CHECK constraint failed/);
    assert.throws(() => db.exec("UPDATE sqlite_schema SET sql = ''"), /may not be modified/);
    db.exec("UPDATE orders SET state = 'suspended'");
    db.close();
  });

  it("makes it impossible that a machine which has seen an order is offered again, whatever the code does", () => {
    const store = openSqliteStore({ file, sealer });
    const [one, two] = [makeReady(store, "m-1"), makeReady(store, "m-2")];
    store.createOrder(newOrder("o-1", { customer: "ann" }));
    store.createOrder(newOrder("o-2", { customer: "ann" }));
    pay(store, "o-1");
    pay(store, "o-2");
    store.close();
    const db = new Database(file);
    const machine = db.prepare("SELECT machine FROM orders WHERE id = 'o-1'").pluck().get();
    const free = machine === one ? two : one;
    const set = (what: string) => () => db.exec(`UPDATE machine SET ${what} WHERE name = '${machine}'`);
    for (const what of ["order_id = NULL", "order_id = 'o-2'", "order_id = NULL, state = 'ready'"])
      assert.throws(set(what), /never offered again/, what);
    for (const state of ["ready", "proving", "planned"])
      assert.throws(set(`state = '${state}'`), /CHECK constraint failed/, state);
    const give = (name: unknown) => () => db.exec(`UPDATE orders SET machine = '${name}' WHERE id = 'o-2'`);
    assert.throws(give(machine), /not bound to this order/);
    assert.throws(give(free), /not bound to this order/);
    const second = `UPDATE machine SET state = 'claimed', order_id = 'o-2' WHERE name = '${free}'`;
    db.exec(second);
    assert.throws(
      () => db.exec(`UPDATE orders SET state = 'provisioning', machine = '${free}' WHERE id = 'o-2'`),
      /another order of this customer/,
    );
    db.close();
  });

  it("refuses a database of a newer release", () => {
    openSqliteStore({ file, sealer }).close();
    const db = new Database(file);
    db.pragma("user_version = 999");
    db.close();
    assert.throws(() => openSqliteStore({ file, sealer }), /newer/);
  });

  it("serves who paid first, whatever the orders are called", async () => {
    const clock = new VirtualClock();
    const store = openSqliteStore({ file, sealer, clock });
    for (const name of ["o-z", "o-m", "o-a"]) {
      store.createOrder(newOrder(name, { customer: name }));
      pay(store, name);
      await clock.advance(1_000);
    }
    for (const [machine, order] of [
      ["m-1", "o-z"],
      ["m-2", "o-m"],
    ] as const) {
      makeReady(store, machine);
      const claimed = store.claimForQueue({ name: "small", plan: "small", locationsOf: () => ["fsn1"] });
      assert.equal(claimed?.order.id, order);
    }
    store.close();
  });
});
