/** What every store must do, whatever it is made of. */
import { strict as assert } from "node:assert";
import fc from "fast-check";
import { type Clock, systemClock } from "../../pool/clock.ts";
import type { MachineName, OrderId } from "../../pool/machine/machine.ts";
import {
  type Failure,
  type OrderCursor,
  type OrderLimits,
  type Rollout,
  StaleRowError,
  type Store,
} from "../../pool/store/store.ts";
import { assertAudited } from "./audited.ts";
import { caps, event, failure, limits, makeReady, newMachine, newOrder, pay } from "./rows.ts";

export function storeConformance(name: string, openWith: (clock: Clock) => Store): void {
  describe(`${name}: the store's promises`, () => {
    let store: Store;
    const time = { ...systemClock, ms: 1_700_000_000_000, now: () => time.ms };
    const open = () => openWith(time);
    const tick = () => {
      time.ms += 1;
    };
    beforeEach(() => {
      store = open();
    });
    afterEach(() => store.close());

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
        assert.deepEqual(
          [stopped?.reason, stopped?.inputs, stopped?.specimen],
          ["too many", "digest", "m-1"],
        );
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

    describe("payments", () => {
      it("binds a ready machine in the order's first location that has one", () => {
        makeReady(store, "m-far", { location: "nbg1" });
        makeReady(store, "m-near", { location: "fsn1" });
        store.createOrder(newOrder("o-1"));
        const outcome = pay(store, "o-1");
        assert.equal(outcome.kind, "claimed");
        assert.equal(outcome.kind === "claimed" && outcome.machine.name, "m-near");
        assert.equal(store.order(id("o-1"))?.state, "provisioning");
        assert.equal(store.machine("m-near" as MachineName)?.order, "o-1");
      });

      it("never offers a machine of another plan or location", () => {
        makeReady(store, "m-1", { plan: "big" });
        makeReady(store, "m-2", { location: "hil" });
        store.createOrder(newOrder("o-1"));
        assert.equal(pay(store, "o-1").kind, "queued");
      });

      it("accepts a checkout session once, whichever event brings it", () => {
        makeReady(store, "m-1");
        makeReady(store, "m-2");
        store.createOrder(newOrder("o-1"));
        assert.equal(pay(store, "o-1", "evt_1").kind, "claimed");
        assert.equal(pay(store, "o-1", "evt_1").kind, "duplicate");
        assert.equal(pay(store, "o-1", "evt_2").kind, "duplicate");
        assert.equal(store.machines({ states: ["claimed"] }).length, 1);
      });

      it("keeps and flags a payment for an order that it does not know", () => {
        assert.equal(pay(store, "o-nobody").kind, "unknown-order");
        assert.equal(store.keepEvent(event("evt_o-nobody")), false);
        assert.equal(store.flags()[0]?.kind, "payment-for-unknown-order");
      });

      it("queues in the order of payment and serves the queue before a new payment", () => {
        for (const order of ["o-1", "o-2", "o-3"]) store.createOrder(newOrder(order));
        assert.equal(pay(store, "o-1").kind, "queued");
        const second = pay(store, "o-2");
        assert.equal(second.kind === "queued" && second.position, 2);
        makeReady(store, "m-1");
        const third = pay(store, "o-3");
        assert.equal(third.kind === "queued" && third.position, 3);
        const claimed = store.claimForQueue({ name: "small", plan: "small", locationsOf: () => ["fsn1"] });
        assert.equal(claimed?.order.id, "o-1");
        assert.equal(store.queuePosition(id("o-2")), 1);
      });

      it("gives no machine to a payment whose subscription ended before it arrived", () => {
        makeReady(store, "m-1");
        store.createOrder(newOrder("o-1"));
        const end = { subscription: "sub_o-1", releaseAt: 5, reason: "cancelled" };
        assert.equal(store.endSubscription(event("evt_end"), end), null);
        assert.equal(pay(store, "o-1").kind, "ended");
        assert.equal(store.order(id("o-1"))?.state, "released");
        assert.equal(store.machine("m-1" as MachineName)?.state, "ready");
      });
    });

    describe("an order's life", () => {
      const serve = (): MachineName => {
        const machine = makeReady(store, "m-1");
        store.createOrder(newOrder("o-1"));
        pay(store, "o-1");
        store.changeMachine(machine, "claimed", { state: "handing-over" }, "test");
        store.recordServing(machine, { tailnetNode: "n1", tailnetAddress: "100.64.0.1" });
        return machine;
      };

      it("forgets the environment when it is on the machine, and keeps the customer's token", () => {
        serve();
        assert.equal(store.order(id("o-1"))?.state, "running");
        assert.deepEqual(store.agentSecrets(id("o-1")), { env: {}, gatewayToken: "token-of-the-customer" });
      });

      it("ends: releasing after the grace, released when the cloud says gone", () => {
        const machine = serve();
        const end = { subscription: "sub_o-1", releaseAt: 7_000, reason: "cancelled" };
        assert.equal(store.endSubscription(event("evt_end"), end)?.state, "releasing");
        assert.equal(store.machine(machine)?.state, "serving");
        assert.equal(store.machine(machine)?.nextLookAt, 7_000);
        store.releaseOrder(id("o-1"), "grace over");
        store.recordDestroyed(machine);
        assert.equal(store.machine(machine)?.state, "destroyed");
        assert.equal(store.order(id("o-1"))?.state, "released");
      });

      it("ends by none but two words: Stripe's after the grace, or a person's by the machine's name", () => {
        const machine = serve();
        const refused = /neither has its subscription ended and its grace passed, nor did a person confirm/;
        assert.throws(() => store.releaseOrder(id("o-1"), "a mistake"), refused);
        const end = { subscription: "sub_o-1", releaseAt: Number.MAX_SAFE_INTEGER, reason: "cancelled" };
        store.endSubscription(event("evt_end"), end);
        assert.throws(() => store.releaseOrder(id("o-1"), "too early"), refused);
        assert.equal(store.machine(machine)?.state, "serving");
        const order = store.confirmEnd(machine, "a person wants it", { actor: "person:ada", run: "r" });
        assert.deepEqual([order.state, store.machine(machine)?.state], ["releasing", "releasing"]);
        assert.equal(store.machine(machine)?.endConfirmedBy, "person:ada");
        const rows = store.auditRows({ subject: machine }).slice(-2);
        assert.deepEqual(
          rows.map(({ actor, action, run }) => [actor, action, run]),
          [
            ["person:ada", "machine.changed", "r"],
            ["person:ada", "machine.releasing", "r"],
          ],
        );
        const warm = makeReady(store, "m-warm");
        assert.throws(() => store.confirmEnd(warm, "it has no order", { actor: "person:ada" }));
        assert.equal(store.machine(warm)?.endConfirmedBy, null);
      });

      it("moves to the next machine when a hand-over fails, and to the dead letter after five", () => {
        store.createOrder(newOrder("o-1"));
        for (let attempt = 1; attempt <= 5; attempt++) {
          const machine = makeReady(store, `m-${attempt}`);
          if (attempt === 1) pay(store, "o-1");
          else store.claimForQueue({ name: "small", plan: "small", locationsOf: () => ["fsn1"] });
          store.changeMachine(machine, "claimed", { state: "handing-over" }, "test");
          const { order } = store.recordHandOverFailure(machine, failure, limits);
          assert.equal(order.state, attempt < 5 ? "queued" : "failed");
          assert.equal(store.machine(machine)?.order, "o-1", "a machine that saw a customer stays his");
        }
        assert.equal(store.flags()[0]?.kind, "order-failed");
      });

      it("takes the next machine in the same transaction, before whoever waits, with another generation", () => {
        store.createOrder(newOrder("o-1"));
        store.createOrder(newOrder("o-2"));
        const first = makeReady(store, "m-1");
        pay(store, "o-1");
        pay(store, "o-2");
        makeReady(store, "m-2");
        const { order, machine } = store.recordHandOverFailure(first, failure, limits);
        assert.deepEqual([order.state, order.machine, machine?.generation], ["provisioning", "m-2", 2]);
        const states = store.orderEvents(id("o-1"), 0).map(({ data }) => data.state);
        assert.deepEqual(states.slice(-3), ["provisioning", "queued", "provisioning"]);
        assert.throws(
          () => store.recordHandOverFailure(first, failure, limits),
          StaleRowError,
          "a late word",
        );
        assert.throws(
          () => store.recordServing(first, { tailnetNode: null, tailnetAddress: null }),
          StaleRowError,
        );
        assert.equal(store.order(id("o-1"))?.machine, "m-2");
      });

      it("uses up five machines, builds or hand-overs, and is started again by a person", () => {
        const plan = (name: string, change = {}) =>
          store.planMachine(newMachine(name, change), caps)?.name ?? assert.fail();
        const early = plan("m-early");
        tick();
        store.createOrder(newOrder("o-1"));
        store.createOrder(newOrder("o-2"));
        pay(store, "o-1");
        tick();
        const fail = (name: MachineName, change: Partial<Failure> = {}, of: OrderLimits | null = limits) =>
          store.recordBuildFailure(name, "planned", { step: "planned", reason: "no package", ...change }, of);
        fail(early);
        fail(plan("m-far", { location: "ash" }));
        fail(plan("m-free"), { failure: "capacity" }, null);
        assert.deepEqual(store.attempts(id("o-1")), [], "none of these was for it");
        for (const n of [1, 2]) fail(plan(`m-${n}`), { failure: "permanent", run: `run-${n}`, log: "end" });
        pay(store, "o-2");
        tick();
        fail(plan("m-of-2"));
        assert.deepEqual(
          store.attempts(id("o-2")).map(({ machine }) => machine),
          ["m-of-2"],
          "whoever has used up the fewest",
        );
        store.endSubscription(null, { subscription: "sub_o-2", releaseAt: 1, reason: "test" });
        const warm = makeReady(store, "m-3");
        store.claimForQueue({ name: "small", plan: "small", locationsOf: limits.locationsOf });
        store.recordHandOverFailure(warm, failure, limits);
        tick();
        fail(plan("m-4"));
        assert.equal(store.order(id("o-1"))?.state, "queued");
        tick();
        fail(plan("m-5"), { run: "run-5" });
        const dead = store.order(id("o-1"));
        assert.deepEqual([dead?.state, dead?.machine], ["failed", null]);
        assert.match(
          dead?.reason ?? "",
          /^5 machines were used up; the last, m-5, failed while planned, run run-5: no/,
        );
        assert.deepEqual(
          store.attempts(id("o-1")).map(({ n, machine, kind, run }) => [n, machine, kind, run]),
          [
            [1, "m-1", "build", "run-1"],
            [2, "m-2", "build", "run-2"],
            [3, "m-3", "hand-over", null],
            [4, "m-4", "build", null],
            [5, "m-5", "build", "run-5"],
          ],
        );
        const cause = { actor: "person:ada" };
        const retried = store.retryOrder(id("o-1"), ["fsn1"], cause);
        assert.deepEqual(
          [retried.order.state, retried.order.reason, retried.machine],
          ["queued", null, null],
        );
        assert.equal(retried.order.paidAt, dead?.paidAt, "its place is kept");
        assert.deepEqual(store.flags(), []);
        assert.throws(() => store.retryOrder(id("o-1"), ["fsn1"], cause), StaleRowError);
        tick();
        fail(plan("m-6"));
        assert.equal(store.order(id("o-1"))?.state, "queued", "it has five again");
        assert.deepEqual([store.attempts(id("o-1")).at(-1)?.round, store.attempts(id("o-1")).length], [1, 6]);
        const actors = store.auditRows({ subject: "o-1" }).filter(({ actor }) => actor === cause.actor);
        assert.deepEqual(
          actors.map(({ action }) => action),
          ["flag.order-failed.cleared", "order.queued"],
        );
      });

      it("that ended is not started again, and a retried one takes a machine at once", () => {
        for (const order of ["o-1", "o-2"]) {
          store.createOrder(newOrder(order));
          const machine = makeReady(store, `m-${order}`);
          pay(store, order);
          store.recordHandOverFailure(machine, failure, { ...limits, again: false });
        }
        makeReady(store, "m-next");
        store.endSubscription(null, { subscription: "sub_o-1", releaseAt: 1, reason: "test" });
        const cause = { actor: "person:ada" };
        assert.throws(() => store.retryOrder(id("o-1"), ["fsn1"], cause), StaleRowError);
        const { order, machine } = store.retryOrder(id("o-2"), ["fsn1"], cause);
        assert.deepEqual([order.state, machine?.name], ["provisioning", "m-next"]);
        assert.deepEqual(store.flags(), []);
      });

      it("is handed over alone among its customer's, whoever else waits", () => {
        for (const [order, customer] of [
          ["o-1", "ann"],
          ["o-2", "ann"],
          ["o-3", "bob"],
        ] as const)
          store.createOrder(newOrder(order, { customer }));
        for (const n of [1, 2, 3]) makeReady(store, `m-${n}`);
        const queue = () =>
          store.claimForQueue({ name: "small", plan: "small", locationsOf: () => ["fsn1"] });
        assert.equal(pay(store, "o-1").kind, "claimed");
        assert.equal(pay(store, "o-2").kind, "queued");
        assert.equal(pay(store, "o-3").kind, "claimed", "ann's second order is not in bob's way");
        assert.equal(queue(), null);
        const first = store.order(id("o-1"))?.machine ?? assert.fail();
        store.changeMachine(first, "claimed", { state: "handing-over" }, "test");
        store.recordServing(first, { tailnetNode: null, tailnetAddress: null });
        assert.equal(queue()?.order.id, "o-2");
      });

      it("fails with its machine, and is never queued again, when another machine would not help", () => {
        store.createOrder(newOrder("o-1"));
        const machine = makeReady(store, "m-1");
        pay(store, "o-1");
        const { order } = store.recordHandOverFailure(machine, failure, { ...limits, again: false });
        assert.equal(order.state, "failed");
        assert.equal(order.machine, null);
        const states = store.orderEvents(id("o-1"), 0).map(({ data }) => data.state);
        assert.deepEqual(states, ["awaiting-payment", "queued", "provisioning", "failed"]);
        assert.deepEqual(
          store.flags().map(({ kind, subject }) => [kind, subject]),
          [["order-failed", "o-1"]],
        );
      });

      it("is listed with all others page by page, the newest first, however many are made meanwhile", () => {
        const made = Array.from({ length: 7 }, (_, n) => `o-${n}`);
        for (const [n, order] of made.entries()) {
          store.createOrder(newOrder(order));
          if (n % 2 === 1) tick();
        }
        const seen: string[] = [];
        for (let after: OrderCursor | undefined; ; ) {
          const page = store.orders({ limit: 2, after });
          const last = page.at(-1);
          if (!last) break;
          seen.push(...page.map((order) => order.id));
          after = { createdAt: last.createdAt, id: last.id };
          store.createOrder(newOrder(`o-later-${seen.length}`));
        }
        assert.deepEqual(seen.sort(), made);
      });

      it("numbers the events of an order without a gap and gives those after a number", () => {
        serve();
        store.appendStep(id("o-1"), { step: "reload", ms: 12 });
        const events = store.orderEvents(id("o-1"), 0);
        assert.deepEqual(
          events.map((item) => item.seq),
          events.map((_, index) => index + 1),
        );
        assert.deepEqual(store.orderEvents(id("o-1"), events.length - 1), events.slice(-1));
      });
    });

    describe("an order that may not be served", () => {
      const paused = { suspension: { reason: "paused", text: "it is paused" }, overdueSince: null } as const;
      const allowed = { suspension: null, overdueSince: null } as const;
      const ann = { actor: "person:ann" };
      const now = () => store.order(id("o-1")) ?? assert.fail();
      const serve = (): MachineName => {
        const machine = makeReady(store, "m-1");
        store.createOrder(newOrder("o-1"));
        pay(store, "o-1");
        store.changeMachine(machine, "claimed", { state: "handing-over" }, "test");
        store.recordServing(machine, { tailnetNode: "n1", tailnetAddress: "100.64.0.1" });
        return machine;
      };

      it("follows its machine through suspension and back, and is told with the reason", () => {
        const machine = serve();
        store.recordStanding(id("o-1"), paused, "test");
        assert.deepEqual([now().state, now().suspendedFor], ["running", "paused"]);
        const since = now().suspendedAt;
        store.recordPower(machine, "serving", { state: "suspending" }, "test");
        store.recordPower(machine, "suspending", { state: "suspended" }, "test");
        store.recordStanding(
          id("o-1"),
          { ...paused, suspension: { reason: "unpaid", text: "unpaid" } },
          "test",
        );
        assert.deepEqual(
          [now().state, now().suspendedFor, now().suspendedAt],
          ["suspended", "unpaid", since],
        );
        store.recordStanding(id("o-1"), allowed, "test");
        store.recordPower(machine, "suspended", { state: "resuming", deadline: 5 }, "test");
        assert.deepEqual([now().state, now().suspendedFor, now().suspendedAt], ["suspended", null, null]);
        store.recordPower(machine, "resuming", { state: "serving" }, "test");
        assert.deepEqual(
          [now().state, now().reason, store.machine(machine)?.deadline],
          ["running", null, null],
        );
        const told = store.orderEvents(id("o-1"), 0).map(({ data }) => [data.state, data.reason ?? null]);
        assert.deepEqual(told.slice(-2), [
          ["suspended", "it is paused"],
          ["running", null],
        ]);
        assert.throws(
          () => store.recordPower(machine, "suspended", { state: "resuming" }, "test"),
          /no longer suspended/,
        );
        assertAudited(store);
      });

      it("cannot skip a step, nor be suspended without an order", () => {
        const machine = serve();
        assert.throws(
          () => store.recordPower(machine, "serving", { state: "suspended" }, "test"),
          /cannot go from/,
        );
        const warm = makeReady(store, "m-2");
        assert.throws(
          () => store.recordPower(warm, "ready", { state: "suspending" }, "test"),
          /has no order/,
        );
      });

      it("waits without a place in the queue, takes no machine and is claimed when it may be served", () => {
        store.createOrder(newOrder("o-1"));
        pay(store, "o-1");
        store.createOrder(newOrder("o-2"));
        pay(store, "o-2");
        assert.equal(store.queued("small"), 2);
        store.recordStanding(id("o-1"), paused, "test");
        assert.deepEqual(
          [store.queued("small"), store.queuePosition(id("o-1")), store.queuePosition(id("o-2"))],
          [1, null, 1],
        );
        makeReady(store, "m-1");
        makeReady(store, "m-2");
        const claim = () =>
          store.claimForQueue({ name: "small", plan: "small", locationsOf: () => ["fsn1"] })?.order.id;
        assert.deepEqual([claim(), claim()], ["o-2", undefined]);
        store.recordStanding(id("o-1"), allowed, "test");
        assert.equal(claim(), "o-1");
      });

      it("is what a person says until that is taken back, and looked at at once", () => {
        const machine = serve();
        store.changeMachine(machine, "serving", { nextLookAt: 9e12 }, "test");
        store.holdOrder(id("o-1"), { held: "suspend" }, "abuse", ann);
        assert.deepEqual(
          [now().suspendedFor, now().suspendedWhy, store.machine(machine)?.nextLookAt],
          ["person", "abuse", 0],
        );
        store.recordStanding(id("o-1"), allowed, "test");
        assert.equal(now().suspendedFor, "person", "Stripe does not take it back");
        store.holdOrder(id("o-1"), { held: "serve" }, "goodwill", ann);
        store.recordStanding(id("o-1"), paused, "test");
        assert.deepEqual([now().held, now().suspendedFor], ["serve", null]);
        store.holdOrder(id("o-1"), { held: null }, "Stripe decides", ann);
        store.recordStanding(id("o-1"), paused, "test");
        assert.equal(now().suspendedFor, "paused");
        store.holdOrder(id("o-1"), { kept: true }, "evidence", ann);
        assert.equal(now().suspendedFor, "paused", "to keep it says nothing of its power");
        assert(now().keptAt !== null);
        store.holdOrder(id("o-1"), { kept: false }, "done", ann);
        assert.equal(now().keptAt, null);
        const actors = store.auditRows({ subject: "o-1" }).map(({ actor }) => actor);
        assert.equal(actors.filter((actor) => actor === "person:ann").length, 5);
      });

      it("is left as it is once it has ended, and goes on when it has not after all", () => {
        const machine = serve();
        const end = { subscription: "sub_o-1", releaseAt: 7_000, reason: "cancelled" };
        store.endSubscription(event("evt_end"), end);
        store.recordStanding(id("o-1"), paused, "test");
        assert.deepEqual([now().state, now().suspendedFor], ["releasing", null]);
        const back = store.withdrawEnd(id("o-1"), "Stripe says that it lives");
        assert.deepEqual(
          [back.state, back.endedAt, back.releaseAt, back.reason],
          ["running", null, null, null],
        );
        assert.equal(store.machine(machine)?.nextLookAt, 0);
        assert.equal(store.endSubscription(null, end)?.state, "releasing", "a later end is an end");
      });

      it("is found by its Stripe customer", () => {
        serve();
        const found = (stripeCustomer: string) => store.orders({ stripeCustomer }).map((one) => one.id);
        assert.deepEqual([found("cus_1"), found("cus_2")], [["o-1"], []]);
      });
    });

    describe("what can be had", () => {
      it("is remembered as sold out until the time is over or it is sold", () => {
        const out = { serverType: "cx23", location: "fsn1", until: Number.MAX_SAFE_INTEGER };
        store.recordStockOut(out, "error during placement");
        store.recordStockOut({ ...out, location: "nbg1", until: 1 }, "error during placement");
        assert.deepEqual(store.stockOuts(), [out]);
        store.recordStock("cx23", "fsn1", "sold");
        store.recordStock("cx23", "fsn1", "sold");
        assert.deepEqual(store.stockOuts(), []);
        assert.deepEqual(
          store.auditRows({ subject: "cx23 in fsn1" }).map(({ action }) => action),
          ["stock.out", "stock.in"],
        );
      });

      it("is frozen once, told once, and thawed once", () => {
        const refusal = { kind: "quota", reason: "limit reached", text: "no more" } as const;
        assert.deepEqual([store.freeze("cloud", refusal), store.freeze("cloud", refusal)], [true, false]);
        const [frozen, ...more] = store.frozen();
        assert.deepEqual(
          [frozen?.kind, frozen?.reason, frozen?.probes, more],
          ["quota", "limit reached", 2, []],
        );
        assert.deepEqual(
          store.flags().map(({ kind, subject, text }) => [kind, subject, text]),
          [["frozen", "cloud", "no more"]],
        );
        const cause = { actor: "person:ada" };
        assert.deepEqual(
          [store.thaw("cloud", "over", cause), store.thaw("cloud", "over", cause)],
          [true, false],
        );
        assert.deepEqual([store.frozen(), store.flags()], [[], []]);
      });
    });

    it("never binds one machine twice, nor two machines to one order, whatever comes in whatever order", () => {
      const step = fc.oneof(
        fc.record({ do: fc.constant("ready" as const), n: fc.nat(6) }),
        fc.record({ do: fc.constant("pay" as const), n: fc.nat(6) }),
        fc.record({ do: fc.constant("queue" as const), n: fc.nat(1) }),
        fc.record({ do: fc.constant("fail" as const), n: fc.nat(6) }),
        fc.record({ do: fc.constant("end" as const), n: fc.nat(6) }),
      );
      fc.assert(
        fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
          const fresh = open();
          try {
            for (let order = 0; order <= 6; order++) fresh.createOrder(newOrder(`o-${order}`));
            for (const { do: what, n } of steps) {
              const machine = fresh.machine(`m-${n}` as MachineName);
              if (what === "ready" && !machine) makeReady(fresh, `m-${n}`);
              if (what === "pay") pay(fresh, `o-${n}`);
              if (what === "queue")
                fresh.claimForQueue({ name: "small", plan: "small", locationsOf: () => ["fsn1"] });
              if (what === "fail" && machine?.state === "claimed")
                fresh.recordHandOverFailure(machine.name, failure, limits);
              if (what === "end") {
                fresh.endSubscription(null, { subscription: `sub_o-${n}`, releaseAt: 1, reason: "test" });
              }
              const bound = fresh.machines({ states: ["claimed", "handing-over", "serving"] });
              assert.equal(new Set(bound.map((item) => item.order)).size, bound.length);
              const provisioning = fresh.orders({ states: ["provisioning"] });
              assert.equal(new Set(provisioning.map((item) => item.machine)).size, provisioning.length);
              for (const order of provisioning) {
                assert.equal(fresh.machine(order.machine as MachineName)?.order, order.id);
              }
            }
            assertAudited(fresh);
          } finally {
            fresh.close();
          }
        }),
        { numRuns: 60 },
      );
    });
  });
}
