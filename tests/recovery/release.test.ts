/** What a person may say of one machine that is held, and what becomes of it. */
import { strict as assert } from "node:assert";
import type { MachineName, OrderId } from "../../pool/machine/machine.ts";
import { noteFindings } from "../../pool/recovery/findings.ts";
import { ReleaseError, type ReleaseRequest, release } from "../../pool/recovery/release.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { exampleConfig } from "../machine/fakes.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";
import { VirtualClock } from "../virtual-clock.ts";

const actor = "person:ada";

describe("a machine that a person releases", () => {
  let clock: VirtualClock;
  let store: Store;
  let name: MachineName;
  const order = "o-1" as OrderId;
  const states = () => [store.machine(name)?.state, store.order(order)?.state];
  const letGo = (change: Partial<ReleaseRequest> = {}) =>
    release(
      { store, config: exampleConfig, clock },
      { machine: name, retire: false, serves: false, actor, ...change },
    );

  function hold(): void {
    store.enterQuarantine("a backup was restored");
    noteFindings(store, [{ machine: name, sure: false, text: "it does not answer" }], clock.now());
  }
  const handOver = () => store.changeMachine(name, "claimed", { state: "handing-over" }, "test");
  const serve = () => store.recordServing(name, { tailnetNode: "n1", tailnetAddress: "100.64.0.1" });

  beforeEach(() => {
    clock = new VirtualClock();
    store = openSqliteStore({ file: ":memory:", sealer: createSealer([newSealingKey()]), clock });
    name = makeReady(store, "m-1");
    store.createOrder(newOrder(order));
    pay(store, order);
  });
  afterEach(() => store.close());

  for (const begun of [false, true]) {
    it(`serves when a person knows it, ${begun ? "handing-over" : "claimed"} or not; who said so is written down`, () => {
      if (begun) handOver();
      hold();
      assert.deepEqual(letGo({ serves: true }).machines, [{ name, state: "serving" }]);
      assert.deepEqual(states(), ["serving", "running"]);
      assert.equal(store.machine(name)?.held, null);
      assert.ok(store.order(order)?.servingAt);
      for (const subject of [name, order]) {
        const rows = store.auditRows({ subject }).filter(({ why }) => why === "a person says that it serves");
        assert.ok(rows.length > 0 && rows.every((row) => row.actor === actor), subject);
      }
    });
  }

  it("goes on with its hand-over when nobody knows that it serves", () => {
    handOver();
    hold();
    letGo();
    assert.deepEqual(states(), ["handing-over", "provisioning"]);
    assert.equal(store.machine(name)?.deadline, clock.now() + exampleConfig().deadlines.handingOverMs);
  });

  it("does not come to serve by a word where no hand-over was begun, or without a name; it stays held", () => {
    handOver();
    serve();
    hold();
    assert.throws(() => letGo({ serves: true }), /m-1 is serving: --serves is for one that is claimed/);
    for (const word of [{ serves: true }, { retire: true }])
      assert.throws(() => letGo({ machine: null, ...word }), ReleaseError);
    assert.ok(store.machine(name)?.held);
  });

  it("has all its time again to be switched on", async () => {
    handOver();
    serve();
    const suspension = { reason: "paused", text: "the subscription is paused" } as const;
    store.recordStanding(order, { suspension, overdueSince: null }, "test");
    store.recordPower(name, "serving", { state: "suspending" }, "test");
    store.recordPower(name, "suspending", { state: "suspended" }, "test");
    store.recordStanding(order, { suspension: null, overdueSince: null }, "test");
    store.recordPower(name, "suspended", { state: "resuming", deadline: null }, "test");
    hold();
    await clock.advance(60_000);
    letGo();
    assert.deepEqual(states()[0], "resuming");
    assert.equal(store.machine(name)?.deadline, clock.now() + exampleConfig().deadlines.resumingMs);
  });
});
