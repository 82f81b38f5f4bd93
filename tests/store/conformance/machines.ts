/** What a store promises of machines, of their builds and of the audit log. */
import { strict as assert } from "node:assert";
import type { OrderId } from "../../../pool/machine/machine.ts";
import { type Rollout, StaleRowError, type Store } from "../../../pool/store/store.ts";
import { caps, event, failure, limits, makeReady, newMachine, newOrder, pay } from "../rows.ts";

import type { StoreUnderTest } from "./rig.ts";

export function machinePromises(rig: StoreUnderTest): void {
  let store: Store;
  beforeEach(() => {
    store = rig.store;
  });
  const id = (text: string) => text as OrderId;

  describe("machines", () => {
    it("counts against the caps of the pool and of all pools before it writes an intent", () => {
      assert(store.planMachine(newMachine("m-1"), { maxTotal: 1, maxTotalAll: 2 }));
      assert.equal(store.planMachine(newMachine("m-2"), { maxTotal: 1, maxTotalAll: 2 }), null);
      assert(store.planMachine(newMachine("m-3", { pool: "big" }), { maxTotal: 1, maxTotalAll: 2 }));
      assert.equal(
        store.planMachine(newMachine("m-4", { pool: "huge" }), { maxTotal: 1, maxTotalAll: 2 }),
        null,
      );
    });

    it("refuses a change that was made on an old view of the row, and a transition that does not exist", () => {
      const machine = newMachine("m-1").name;
      store.planMachine(newMachine("m-1"), caps);
      store.changeMachine(machine, "planned", { state: "creating" }, "test");
      assert.throws(
        () => store.changeMachine(machine, "planned", { state: "creating" }, "test"),
        StaleRowError,
      );
      assert.throws(
        () => store.changeMachine(machine, "creating", { state: "ready" }, "test"),
        /cannot go from creating to ready/,
      );
      assert.equal(store.machine(machine)?.state, "creating");
    });

    it("gives secrets back as they were, and replaces the pool's token alone", () => {
      const machine = makeReady(store, "m-1");
      assert.deepEqual(store.machineSecrets(machine), newMachine("m-1").secrets);
      store.changeMachine(machine, "ready", { poolToken: "rotated" }, "test");
      assert.deepEqual(store.machineSecrets(machine), {
        ...newMachine("m-1").secrets,
        poolToken: "rotated",
      });
    });

    it("finds a machine by the server id that was recorded for it", () => {
      store.planMachine(newMachine("m-1"), caps);
      store.changeMachine(newMachine("m-1").name, "planned", { serverId: 42 }, "test");
      assert.equal(store.machineByServerId(42)?.name, "m-1");
      assert.equal(store.machineByServerId(43), null);
    });

    it("writes one audit row for each transition", () => {
      makeReady(store, "m-1");
      const actions = store.auditRows({ subject: "m-1" }).map((row) => row.action);
      const states = ["planned", "creating", "booting", "preparing", "proving", "ready"];
      assert.deepEqual(
        actions,
        states.map((state) => `machine.${state}`),
      );
    });
  });

  describe("the audit log", () => {
    const rows = (subject: string) => store.auditRows({ subject });

    it("says of each change by whom and why it was made, and what was before and after", () => {
      makeReady(store, "m-1");
      store.createOrder(newOrder("o-1"));
      pay(store, "o-1");
      const [, booting] = rows("m-1").filter(({ action }) => /creating|booting/.test(action));
      assert.deepEqual(booting?.before, { state: "creating", ipv4: null });
      assert.deepEqual(booting?.after, { state: "booting", ipv4: "192.0.2.1" });
      assert.deepEqual([booting?.actor, booting?.why, booting?.run], ["daemon", "test", null]);
      const claimed = rows("m-1").at(-1);
      assert.deepEqual([claimed?.action, claimed?.why], ["machine.claimed", "claimed for order o-1"]);
      assert.deepEqual(claimed?.after, { state: "claimed", order: "o-1", generation: 1 });
      const paid = rows("o-1").find(({ action }) => action === "order.queued");
      assert.deepEqual(
        [paid?.actor, paid?.run, paid?.before?.state],
        ["stripe", "evt_o-1", "awaiting-payment"],
      );
    });

    it("has a row for a change within a state, by whom it was caused, and none for bookkeeping", () => {
      const machine = makeReady(store, "m-1");
      const before = rows("m-1").length;
      store.changeMachine(machine, "ready", { nextLookAt: 5, deadline: 9 }, "later");
      store.changeMachine(machine, "ready", { withheld: false }, "as it was");
      assert.equal(rows("m-1").length, before);
      const cause = { actor: "person:ada", run: "grant-1" };
      store.changeMachine(machine, "ready", { withheld: true }, "a person holds it", cause);
      const [row] = rows("m-1").slice(before);
      assert.deepEqual(
        [row?.action, row?.actor, row?.run, row?.before, row?.after],
        ["machine.changed", "person:ada", "grant-1", { withheld: false }, { withheld: true }],
      );
    });

    it("keeps neither a secret nor the customer's words", () => {
      const machine = makeReady(store, "m-1");
      store.createOrder(newOrder("o-1", { agentName: "Words of mine" }));
      store.attachCheckout(id("o-1"), { session: "cs_o-1", url: "https://checkout.example/#key" });
      store.changeMachine(machine, "ready", { poolToken: "another-token" }, "rotated");
      pay(store, "o-1");
      store.changeMachine(machine, "claimed", { state: "handing-over" }, "test");
      store.recordServing(machine, { tailnetNode: "n1", tailnetAddress: "100.64.0.1" });
      const text = JSON.stringify(store.auditRows());
      assert.match(text, /"replaced":"poolToken"/);
      const kept = [
        ...Object.values(newMachine("m-1").secrets),
        ...["another-token", "sk-customer", "token-of-the-customer", "customer-1", "Words of mine", "#key"],
      ];
      for (const secret of kept) assert.ok(!text.includes(secret), secret);
    });

    it("has no row of a change that was not made", () => {
      const machine = makeReady(store, "m-1");
      const before = store.auditHead();
      assert.throws(() => store.changeMachine(machine, "ready", { state: "serving" }, "test"));
      assert.throws(() => store.changeMachine(machine, "booting", { state: "preparing" }, "test"));
      assert.throws(() => store.releaseOrder(id("o-none"), "test"));
      assert.deepEqual(store.auditHead(), before);
    });

    it("tells of a flag when it is raised or says something new, not each time", () => {
      for (const text of ["one", "one", "two", "two"]) store.flag("stuck", "m-1", text);
      assert.deepEqual(
        rows("m-1").map(({ action, why }) => [action, why]),
        [
          ["flag.stuck", "one"],
          ["flag.stuck", "two"],
        ],
      );
      assert.deepEqual(
        store.flags().map(({ text }) => text),
        ["two"],
      );
    });

    it("keeps the end of a subscription that has no order yet, once", () => {
      const end = { subscription: "sub_1", releaseAt: 1, reason: "cancelled" };
      store.endSubscription(event("evt_1"), end);
      store.endSubscription(event("evt_2"), end);
      assert.deepEqual(
        rows("sub_1").map(({ action, run, why }) => [action, run, why]),
        [["subscription.ended", "evt_1", "cancelled"]],
      );
    });

    it("gives its head, and cuts words that have no end", () => {
      assert.equal(store.auditHead(), null);
      store.audit("test", "did", "something", { why: "x".repeat(10_000), run: "r", more: { of: "it" } });
      const [row] = store.auditRows();
      assert.deepEqual(store.auditHead(), { seq: row?.seq, hash: row?.hash });
      assert.equal(row?.why.length, 2_001);
      assert.deepEqual([row?.run, row?.before, row?.detail], ["r", null, { more: { of: "it" } }]);
    });
  });

  describe("the failure budget", () => {
    const fail = (machine: string, change: Parameters<Store["changeMachine"]>[2] = {}) => {
      const { name } = store.planMachine(newMachine(machine), caps) ?? assert.fail();
      store.changeMachine(name, "planned", { state: "failed", failure: "permanent", ...change }, "test");
      return name;
    };
    const stop = { reason: "too many", inputs: "digest", specimen: null, text: "refill stopped" };

    it("tells the ends of a pool's builds, well or not, and not those of hand-overs", () => {
      store.planMachine(newMachine("m-0"), caps);
      makeReady(store, "m-1");
      fail("m-2");
      makeReady(store, "m-3", { pool: "big" });
      store.createOrder(newOrder("o-1"));
      pay(store, "o-1");
      store.recordHandOverFailure(newMachine("m-1").name, failure, limits);
      const told = store.builds("small").map(({ machine, ok, failure }) => [machine, ok, failure]);
      assert.deepEqual(told.sort(), [
        ["m-1", true, null],
        ["m-2", false, "permanent"],
      ]);
      assert.equal(store.builds("small", { limit: 1 }).length, 1);
      assert.deepEqual(store.builds("small", { since: Number.MAX_SAFE_INTEGER }), []);
    });

    it("stops a pool's refill once, with its specimen and its flag, until somebody resumes it", () => {
      assert.deepEqual(store.refill("small"), { countedFrom: 0, stop: null });
      const name = fail("m-1");
      store.stopRefill("small", { ...stop, specimen: { name, until: 5_000 } });
      store.stopRefill("small", { ...stop, reason: "another", text: "another" });
      const stopped = store.refill("small").stop;
      assert.deepEqual([stopped?.reason, stopped?.inputs, stopped?.specimen], ["too many", "digest", "m-1"]);
      assert.deepEqual(store.stoppedPools(), ["small"]);
      assert.equal(store.machine(name)?.specimenUntil, 5_000);
      assert.deepEqual(
        store.flags().map(({ kind, text }) => [kind, text]),
        [["refill-stopped", "refill stopped"]],
      );
      assert.deepEqual(store.resumeRefill("small", "mended", { actor: "person:ada" }), {
        stopped: "too many",
        specimens: ["m-1"],
      });
      assert.equal(store.machine(name)?.specimenUntil, null);
      assert.deepEqual([store.flags(), store.stoppedPools(), store.refill("small").stop], [[], [], null]);
      assert.ok(store.refill("small").countedFrom > 0);
      const told = store.auditRows({ subject: "small" }).map(({ actor, action }) => `${actor} ${action}`);
      assert.deepEqual(told, [
        "daemon refill.stopped",
        "daemon flag.refill-stopped",
        "person:ada refill.resumed",
        "person:ada flag.refill-stopped.cleared",
      ]);
    });

    it("keeps one specimen for a stop, and only what failed", () => {
      const specimen = { name: fail("m-1"), until: 5_000 };
      assert.equal(store.keepSpecimen("small", specimen), false, "nothing is stopped");
      store.stopRefill("small", stop);
      const ready = { name: makeReady(store, "m-2"), until: 5_000 };
      assert.equal(store.keepSpecimen("small", ready), false);
      assert.equal(store.keepSpecimen("small", specimen), true);
      assert.equal(store.keepSpecimen("small", { name: fail("m-3"), until: 5_000 }), false);
      assert.throws(
        () => store.stopRefill("big", { ...stop, specimen: ready }),
        StaleRowError,
        "a machine that is well",
      );
      assert.equal(store.refill("big").stop, null, "all or nothing");
    });

    it("takes a flag back with a row, once", () => {
      assert.equal(store.flag("stuck", "m-1", "one"), true);
      assert.equal(store.flag("stuck", "m-1", "one"), false);
      assert.equal(store.clearFlag("stuck", "m-1", "over"), true);
      assert.equal(store.clearFlag("stuck", "m-1", "over"), false);
      assert.deepEqual(store.flags(), []);
      const told = store.auditRows({ subject: "m-1" }).map(({ action }) => action);
      assert.deepEqual(told, ["flag.stuck", "flag.stuck.cleared"]);
    });
  });

  describe("roll-outs", () => {
    const [old, fresh] = ["cx23 debian-12 r1", "cx23 debian-12 r2"];
    const rollout: Rollout = {
      ...{ pool: "small", target: fresh, proven: old, phase: "canary", phaseSince: 1, paused: false },
      ...{ begunAt: 1, countedFrom: 1, canary: null, reason: null },
    };
    const ready = (text: string, recipe: string, misses = 0) => {
      const name = makeReady(store, text);
      store.changeMachine(name, "ready", { installed: { recipe }, misses }, "test");
      return name;
    };
    const claims = (count: number) =>
      Array.from({ length: count }, (_, index) => {
        store.createOrder(newOrder(`o-${index}`));
        const paid = pay(store, `o-${index}`);
        return paid.kind === "claimed" ? paid.machine.name : null;
      });

    it("are one row a pool, each change with an audit row, and a flag while stopped", () => {
      assert.equal(store.rollout("small"), null);
      store.putRollout(rollout, "another recipe");
      assert.deepEqual(store.rollout("small"), rollout);
      store.putRollout({ ...rollout, phase: "stopped", reason: "apt" }, "stopped: apt");
      assert.deepEqual(
        store.flags().map(({ kind, text }) => [kind, text]),
        [["rollout-stopped", "stopped: apt"]],
      );
      store.putRollout({ ...rollout, paused: true }, "ada paused it", { actor: "person:ada" });
      assert.deepEqual(store.flags(), []);
      const rows = store.auditRows({ subject: "small" }).map(({ actor, action }) => [actor, action]);
      assert.deepEqual(rows, [
        ["daemon", "rollout.canary"],
        ["daemon", "rollout.stopped"],
        ["daemon", "flag.rollout-stopped"],
        ["person:ada", "rollout.paused"],
        ["person:ada", "flag.rollout-stopped.cleared"],
      ]);
    });

    it("have claims take what is proven first, and what missed a proof last", () => {
      store.putRollout(rollout, "another recipe");
      const missed = ready("claw-test-a", "r1", 1);
      const canary = ready("claw-test-b", "r2");
      const stale = ready("claw-test-c", "r1");
      assert.deepEqual(claims(3), [stale, canary, missed]);
    });

    it("have claims take the new content first once it is proven", () => {
      const stale = ready("claw-test-a", "r1");
      const unknown = makeReady(store, "claw-test-b");
      const next = ready("claw-test-c", "r2");
      store.putRollout({ ...rollout, proven: fresh, phase: "rolling" }, "it lasted");
      assert.deepEqual(claims(3), [unknown, next, stale]);
    });
  });
}
