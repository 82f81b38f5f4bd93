import { strict as assert } from "node:assert";
import type { CloudServer } from "../../pool/cloud/cloud.ts";
import type { Machine, MachineName } from "../../pool/machine/machine.ts";
import { type Evidence, judgeMachine, type Surroundings, servedOrders } from "../../pool/recovery/judge.ts";

const name = "claw-test-a" as MachineName;
const secrets = { controllerKey: "c", bootHostKey: "b", poolToken: "p" };

const machine = (change: Partial<Machine> = {}): Machine =>
  ({
    name,
    state: "ready",
    stateSince: 10,
    serverId: 7,
    ipv4: "192.0.2.1",
    order: null,
    generation: 0,
    ...change,
  }) as Machine;
const server = (change: Partial<CloudServer> = {}): CloudServer =>
  ({
    id: 7,
    name,
    status: "running",
    ipv4: "192.0.2.1",
    location: "fsn1",
    labels: {},
    ...change,
  }) as CloudServer;
const record = (change: Partial<Machine> = {}, fromBackup = false) => ({
  machine: machine(change),
  secrets,
  fromBackup,
});
const said = (order: string, done = true) => ({ order, generation: 2, done });

function judge(evidence: Partial<Evidence>, change: Partial<Surroundings> = {}) {
  const around: Surroundings = {
    now: 100,
    isOurs: () => true,
    knows: (order) => order.startsWith("ord"),
    hasEnvironment: () => true,
    awaits: () => false,
    ended: () => false,
    holders: () => [],
    fromLabels: () => ({ machine: machine({ state: "failed" }), secrets }),
    ...change,
  };
  const all = { name, row: null, record: null, server: server(), said: null, ...evidence };
  const verdict = judgeMachine(all, around);
  return verdict && { ...verdict, state: verdict.machine.state, order: verdict.machine.order };
}

describe("what a machine is, by the evidence", () => {
  it("is the customer's whom the machine names, whatever older rows say", () => {
    const found = judge({ row: machine(), said: said("ord_1") });
    assert.deepEqual([found?.state, found?.order, found?.sure], ["serving", "ord_1", true]);
    assert.equal(found?.machine.generation, 2);
    const begun = judge({ row: machine(), said: said("ord_1", false) });
    assert.deepEqual([begun?.state, begun?.sure], ["handing-over", true]);
  });

  it("is a person's to decide where an order is named twice, unknown, or another than written down", () => {
    const twice = (row: Partial<Machine>, done: boolean) => {
      const found = judge(
        { row: machine(row), said: said("ord_1", done) },
        { holders: () => [name, "claw-test-b"] },
      );
      return [found?.state, found?.order, found?.sure];
    };
    const order = "ord_1" as never;
    assert.deepEqual(twice({}, true), ["serving", "ord_1", false]);
    assert.deepEqual(twice({ state: "handing-over", order }, true), ["serving", "ord_1", false]);
    assert.deepEqual(twice({ state: "claimed", order }, false), ["handing-over", "ord_1", false]);
    assert.deepEqual(twice({ state: "suspended", order }, true), ["suspended", "ord_1", false]);
    assert.deepEqual(twice({ state: "failed", order }, false), ["failed", "ord_1", false]);
    assert.deepEqual(twice({ state: "retiring" }, true), ["retiring", null, false]);
    const unknown = judge({ row: machine(), said: said("nobody's") });
    assert.deepEqual([unknown?.state, unknown?.order, unknown?.sure], ["failed", null, false]);
    const other = judge({ row: machine({ state: "serving", order: "ord_2" as never }), said: said("ord_1") });
    assert.deepEqual([other?.order, other?.sure], ["ord_2", false]);
    const forgetful = judge({ row: machine({ state: "serving", order: "ord_2" as never }), said: null });
    assert.equal(forgetful?.sure, false);
  });

  it("may be the machine of a paid order that no machine is known to have, when it is silent and free", () => {
    const silent = (state: Machine["state"], awaits: boolean) =>
      judge({ record: record({ state }), said: "unreachable" }, { awaits: () => awaits })?.sure;
    for (const state of ["booting", "proving", "ready"] as const)
      assert.deepEqual([silent(state, false), silent(state, true)], [true, false]);
    assert.equal(silent("retiring", true), true);
    for (const state of ["booting", "proving", "ready"] as const) {
      const off = judge({
        record: record({ state }),
        server: server({ status: "off" }),
        said: "unreachable",
      });
      assert.deepEqual([off?.state, off?.sure], [state, false]);
    }
  });

  it("may have served since a hand-over was written down: silent it is a person's, and kept where it is switched off", () => {
    for (const state of ["claimed", "handing-over"] as const) {
      const silent = (change: Partial<CloudServer>) => {
        const known = record({ state, order: "ord_1" as never });
        const found = judge({ record: known, server: server(change), said: "unreachable" });
        return [found?.state, found?.order, found?.sure];
      };
      assert.deepEqual(silent({}), [state, "ord_1", false]);
      assert.deepEqual(silent({ status: "off" }), ["suspended", "ord_1", false]);
      assert.deepEqual(silent({ labels: { "clawpool-order": "ord_1" } }), ["serving", "ord_1", false]);
      assert.deepEqual(silent({ labels: { "clawpool-order": "ord_2" } }), [state, "ord_1", false]);
      const off = { status: "off", labels: { "clawpool-order": "ord_1" } };
      assert.deepEqual(silent(off), ["suspended", "ord_1", false]);
      const known = record({ state, order: "ord_1" as never });
      const forgotten = judge(
        { record: known, server: server({ status: "off" }), said: "unreachable" },
        { hasEnvironment: () => false },
      );
      assert.deepEqual([forgotten?.state, forgotten?.order], ["suspended", "ord_1"]);
    }
  });

  it("is not handed over to an order whose environment was lost: unused it goes, else a person decides", () => {
    const lost = { hasEnvironment: () => false };
    for (const state of ["claimed", "handing-over"] as const) {
      const claimed = { record: record({ state, order: "ord_1" as never }) };
      const unused = judge(claimed, lost);
      assert.deepEqual([unused?.state, unused?.order, unused?.sure], ["retiring", null, true]);
      const begun = judge({ ...claimed, said: said("ord_1", false) }, lost);
      assert.deepEqual([begun?.state, begun?.order, begun?.sure], ["failed", null, false]);
      const silent = judge({ ...claimed, said: "unreachable" }, lost);
      assert.deepEqual([silent?.state, silent?.order, silent?.sure], ["failed", null, false]);
      const label = server({ labels: { "clawpool-order": "ord_1" } });
      const labelled = judge({ ...claimed, server: label, said: "unreachable" }, lost);
      assert.deepEqual([labelled?.state, labelled?.order, labelled?.sure], ["serving", "ord_1", false]);
      const serves = judge({ ...claimed, said: said("ord_1") }, lost);
      assert.deepEqual([serves?.state, serves?.order, serves?.sure], ["serving", "ord_1", true]);
    }
  });

  it("believes silence only where nothing can have happened since it was written down", () => {
    const silent = (evidence: Partial<Evidence>) => judge({ ...evidence, said: "unreachable" })?.sure;
    assert.equal(silent({ row: machine() }), false);
    assert.equal(silent({ record: record({}, true) }), false);
    assert.equal(silent({ record: record({ state: "booting" }) }), true);
    assert.equal(silent({ row: machine({ stateSince: 5 }), record: record({}) }), true);
    assert.equal(silent({ row: machine({ stateSince: 11 }), record: record({}) }), false, "the row is newer");
    const labelled = server({ labels: { "clawpool-order": "ord_1" } });
    assert.equal(silent({ record: record({}), server: labelled }), false, "its label names an order");
    const serving = machine({ state: "serving", order: "ord_1" as never });
    assert.equal(silent({ row: serving, server: labelled }), true);
  });

  it("keeps one that does not answer for the order that its label names, if nothing that is written down knows of it", () => {
    const labelled = server({ labels: { "clawpool-order": "ord_1" } });
    const silent = (row: Partial<Machine>, change: Partial<Surroundings> = {}) => {
      const found = judge({ row: machine(row), server: labelled, said: "unreachable" }, change);
      return [found?.state, found?.order, found?.sure];
    };
    assert.deepEqual(silent({ state: "booting" }), ["serving", "ord_1", false]);
    assert.deepEqual(silent({}, { holders: () => ["claw-test-b"] }), ["ready", null, false]);
    assert.deepEqual(silent({}, { knows: () => false }), ["ready", null, false]);
    const other = { state: "serving", order: "ord_2" as never } as const;
    assert.deepEqual(silent(other), ["serving", "ord_2", false]);
  });

  it("lets go of what is gone, but not of a customer who pays", () => {
    assert.deepEqual(judge({ row: machine(), server: null })?.state, "retiring");
    const serving = machine({ state: "serving", order: "ord_1" as never });
    const paid = judge({ row: serving, server: null });
    assert.deepEqual([paid?.state, paid?.sure], ["serving", false]);
    const over = judge({ row: serving, server: null }, { ended: () => true });
    assert.deepEqual([over?.state, over?.sure], ["releasing", true]);
    const planned = judge({ row: machine({ state: "creating", serverId: null }), server: null });
    assert.deepEqual(
      [planned?.state, planned?.sure],
      ["retiring", true],
      "bought for it, it may be beyond the caps",
    );
    const made = judge({ row: machine({ state: "creating", serverId: null }) });
    assert.deepEqual([made?.state, made?.machine.serverId], ["creating", 7]);
  });

  it("serves an order by its own word, its label, or what is written down; not by a hand-over that was only begun", () => {
    const served = (evidence: Partial<Evidence>) =>
      servedOrders({ name, row: null, record: null, server: server(), said: null, ...evidence });
    const order = "ord_1" as never;
    assert.deepEqual(served({ said: said("ord_1") }), ["ord_1"]);
    assert.deepEqual(served({ said: said("ord_1", false) }), []);
    assert.deepEqual(served({ server: server({ labels: { "clawpool-order": "ord_1" } }) }), ["ord_1"]);
    for (const state of ["serving", "suspended", "resuming"] as const) {
      assert.deepEqual(served({ row: machine({ state, order }) }), ["ord_1"]);
      assert.deepEqual(served({ record: record({ state, order }) }), ["ord_1"]);
    }
    for (const state of ["claimed", "handing-over", "failed", "releasing"] as const)
      assert.deepEqual(served({ record: record({ state, order }) }), []);
    assert.deepEqual(served({ server: null, said: "unreachable" }), []);
  });

  it("never takes a server that is not ours for one of ours", () => {
    const foreign = { isOurs: () => false };
    assert.equal(judge({}, foreign), null);
    const found = judge({ row: machine({ serverId: null }), server: server({ id: 9 }) }, foreign);
    assert.deepEqual([found?.machine.serverId, found?.sure], [null, false]);
    assert.equal(judge({ row: machine({ serverId: 8 }) })?.sure, false, "another id than its row has");
  });

  it("keeps what only labels tell of, for a person", () => {
    const labelled = server({ labels: { "clawpool-order": "ord_1" } });
    const customers = judge({ server: labelled, said: "unreachable" });
    assert.deepEqual([customers?.state, customers?.order, customers?.sure], ["serving", "ord_1", false]);
    const nobodys = judge({ said: "unreachable" });
    assert.deepEqual([nobodys?.state, nobodys?.sure], ["failed", false]);
    assert.equal(judge({ row: machine({ state: "destroyed" }), server: null }), null);
  });

  it("takes a customer's machine that is off for suspended", () => {
    const serving = record({ state: "serving", order: "ord_1" as never });
    assert.equal(
      judge({ record: serving, server: server({ status: "off" }), said: "unreachable" })?.state,
      "suspended",
    );
  });
});
