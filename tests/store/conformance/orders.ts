/** What a store promises of payments and of the orders that they make. */
import { strict as assert } from "node:assert";
import type { MachineName, OrderId } from "../../../pool/machine/machine.ts";
import {
  type Failure,
  type OrderCursor,
  type OrderLimits,
  StaleRowError,
  type Store,
} from "../../../pool/store/store.ts";
import { caps, event, failure, limits, makeReady, newMachine, newOrder, pay, serve } from "../rows.ts";

import type { StoreUnderTest } from "./rig.ts";

export function orderPromises(rig: StoreUnderTest): void {
  const { tick } = rig;
  let store: Store;
  beforeEach(() => {
    store = rig.store;
  });
  const id = (text: string) => text as OrderId;

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

    it("takes that back when recovery knows the order, not when it is over", () => {
      for (const order of ["o-1", "o-2"]) {
        store.createOrder(newOrder(order));
        pay(store, order);
      }
      store.endSubscription(null, { subscription: "sub_o-2", releaseAt: 5, reason: "cancelled" });
      for (const session of ["cs_o-1", "cs_o-2"]) store.flag("payment-for-unknown-order", session, "paid");
      store.enterQuarantine("the database was lost");
      const orders = store.orders({ limit: 9 }).map((order) => ({ order, secrets: null, why: "its record" }));
      store.recover({ machines: [], orders });
      const flags = store.flags().filter(({ kind }) => kind === "payment-for-unknown-order");
      assert.deepEqual(
        flags.map(({ subject }) => subject),
        ["cs_o-2"],
      );
    });

    it("takes that back when the order comes behind it, queued or claimed or paid already, not when it is over", () => {
      const unknown = () => {
        const flags = store.flags().filter(({ kind }) => kind === "payment-for-unknown-order");
        return flags.map(({ subject }) => subject);
      };
      for (const order of ["o-1", "o-2", "o-3", "o-4"]) pay(store, order);
      assert.deepEqual(unknown(), ["cs_o-1", "cs_o-2", "cs_o-3", "cs_o-4"]);
      for (const order of ["o-1", "o-2", "o-3"]) store.createOrder(newOrder(order));
      assert.equal(pay(store, "o-1").kind, "queued");
      assert.deepEqual(unknown(), ["cs_o-2", "cs_o-3", "cs_o-4"]);
      const end = { subscription: "sub_o-1", releaseAt: 5, reason: "cancelled" };
      store.endSubscription(null, end);
      makeReady(store, "m-1");
      assert.equal(pay(store, "o-2").kind, "claimed");
      assert.deepEqual(unknown(), ["cs_o-3", "cs_o-4"]);
      store.flag("payment-for-unknown-order", "cs_o-2", "told by an older release");
      assert.equal(pay(store, "o-2", "evt_again").kind, "duplicate");
      assert.deepEqual(unknown(), ["cs_o-3", "cs_o-4"]);
      store.endSubscription(null, { ...end, subscription: "sub_o-3" });
      assert.deepEqual([pay(store, "o-3").kind, pay(store, "o-3", "evt_later").kind], ["ended", "duplicate"]);
      assert.deepEqual(unknown(), ["cs_o-3", "cs_o-4"], "the money is still to be given back");
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
    it("forgets the environment when it is on the machine, and keeps the customer's token", () => {
      serve(store);
      assert.equal(store.order(id("o-1"))?.state, "running");
      assert.deepEqual(store.agentSecrets(id("o-1")), { env: {}, gatewayToken: "token-of-the-customer" });
    });

    it("ends: releasing after the grace, released when the cloud says gone", () => {
      const machine = serve(store);
      const end = { subscription: "sub_o-1", releaseAt: 7_000, reason: "cancelled" };
      assert.equal(store.endSubscription(event("evt_end"), end)?.state, "releasing");
      assert.equal(store.machine(machine)?.state, "serving");
      assert.equal(store.machine(machine)?.nextLookAt, 7_000);
      store.releaseOrder(id("o-1"), "grace over");
      store.flag("hand-over-waits", "o-1", "told before, or just then");
      store.recordDestroyed(machine);
      assert.equal(store.machine(machine)?.state, "destroyed");
      assert.equal(store.order(id("o-1"))?.state, "released");
      assert.deepEqual(store.flags(), []);
    });

    it("ends with its hand-over when it ended before it was served, and waits for nobody any more", () => {
      store.createOrder(newOrder("o-1"));
      const machine = makeReady(store, "m-1");
      pay(store, "o-1");
      const end = { subscription: "sub_o-1", releaseAt: 7_000, reason: "cancelled" };
      store.endSubscription(event("evt_end"), end);
      store.flag("hand-over-waits", "o-1", "it waits");
      const { order } = store.recordHandOverFailure(machine, failure, limits);
      assert.deepEqual([order.state, store.flags()], ["released", []]);
    });

    it("waits on a machine no more once it has lost it, whether it gets another or may not be served", () => {
      store.createOrder(newOrder("o-1"));
      const [one, two] = [makeReady(store, "m-1"), makeReady(store, "m-2")];
      pay(store, "o-1");
      const suspension = { reason: "disputed", text: "a payment is disputed" } as const;
      for (const [lost, allowed] of [
        [one, true],
        [two, false],
      ] as const) {
        store.flag("hand-over-waits", "o-1", `it waits on ${lost}`);
        if (!allowed) store.recordStanding(id("o-1"), { suspension, overdueSince: null }, "test");
        const { machine } = store.recordHandOverFailure(lost, failure, limits);
        assert.equal(machine?.name, allowed ? two : undefined);
        assert.deepEqual(store.flags(), []);
      }
    });

    it("ends by none but two words: Stripe's after the grace, or a person's by the machine's name", () => {
      const machine = serve(store);
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
      assert.throws(() => store.recordHandOverFailure(first, failure, limits), StaleRowError, "a late word");
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
      assert.deepEqual([retried.order.state, retried.order.reason, retried.machine], ["queued", null, null]);
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
      const queue = () => store.claimForQueue({ name: "small", plan: "small", locationsOf: () => ["fsn1"] });
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
      serve(store);
      store.appendStep(id("o-1"), { step: "reload", ms: 12 });
      const events = store.orderEvents(id("o-1"), 0);
      assert.deepEqual(
        events.map((item) => item.seq),
        events.map((_, index) => index + 1),
      );
      assert.deepEqual(store.orderEvents(id("o-1"), events.length - 1), events.slice(-1));
    });
  });
}
