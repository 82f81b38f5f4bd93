/** What a store promises of orders that may not be served, and of what cannot be had. */
import { strict as assert } from "node:assert";
import type { OrderId } from "../../../pool/machine/machine.ts";
import type { Store } from "../../../pool/store/store.ts";
import { assertAudited } from "../audited.ts";
import { event, makeReady, newOrder, pay, serve } from "../rows.ts";

import type { StoreUnderTest } from "./rig.ts";

export function entitlementPromises(rig: StoreUnderTest): void {
  let store: Store;
  beforeEach(() => {
    store = rig.store;
  });
  const id = (text: string) => text as OrderId;

  describe("an order that may not be served", () => {
    const paused = { suspension: { reason: "paused", text: "it is paused" }, overdueSince: null } as const;
    const allowed = { suspension: null, overdueSince: null } as const;
    const ann = { actor: "person:ann" };
    const now = () => store.order(id("o-1")) ?? assert.fail();

    it("follows its machine through suspension and back, and is told with the reason", () => {
      const machine = serve(store);
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
      assert.deepEqual([now().state, now().suspendedFor, now().suspendedAt], ["suspended", "unpaid", since]);
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
      const machine = serve(store);
      assert.throws(
        () => store.recordPower(machine, "serving", { state: "suspended" }, "test"),
        /cannot go from/,
      );
      const warm = makeReady(store, "m-2");
      assert.throws(() => store.recordPower(warm, "ready", { state: "suspending" }, "test"), /has no order/);
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
      const machine = serve(store);
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
      const machine = serve(store);
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
      serve(store);
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
}
