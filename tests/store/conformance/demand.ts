/** What is remembered of who came. */
import { strict as assert } from "node:assert";
import type { OrderId } from "../../../pool/machine/machine.ts";
import { event, makeReady, newOrder, pay } from "../rows.ts";
import type { StoreUnderTest } from "./rig.ts";

export function demandPromises(rig: StoreUnderTest): void {
  describe("demand", () => {
    it("remembers each payment once, with the pool whose machine was ready", () => {
      const { store } = rig;
      makeReady(store, "m-1");
      for (const order of ["o-1", "o-2"]) store.createOrder(newOrder(order));
      assert.deepEqual(store.demand(), []);
      pay(store, "o-1");
      rig.tick();
      pay(store, "o-2");
      pay(store, "o-2", "evt_again");
      const rows = store.demand();
      assert.deepEqual(
        rows.map(({ plan, region, pool }) => [plan, region, pool]),
        [
          ["small", "eu-central", "small"],
          ["small", "eu-central", null],
        ],
      );
      const [first, second] = rows;
      assert.ok(first && second && second.at === first.at + 1);
      assert.deepEqual(store.demand({ after: first.seq }), [second]);
      assert.deepEqual(store.demand({ since: second.at }), [second]);
    });

    it("knows which checkouts are open, and how the others ended", () => {
      const { store } = rig;
      for (const order of ["o-1", "o-2", "o-3"]) {
        store.createOrder(newOrder(order));
        store.attachCheckout(order as OrderId, { session: `cs_${order}`, url: null });
      }
      assert.equal(store.checkouts(9).open.length, 3);
      rig.tick();
      pay(store, "o-1");
      rig.tick();
      store.expireOrder(event("evt_expired"), "cs_o-2", "the checkout expired");
      const { open, closed } = store.checkouts(9);
      assert.equal(open.length, 1);
      assert.deepEqual(
        closed.map(({ outcome, openedAt, closedAt }) => [outcome, (closedAt ?? 0) - openedAt]),
        [
          ["expired", 2],
          ["paid", 1],
        ],
      );
      assert.equal(store.checkouts(1).closed.length, 1);
      // Stripe's events come in any order.
      pay(store, "o-2");
      assert.deepEqual(
        store.checkouts(9).closed.map(({ outcome }) => outcome),
        ["paid", "paid"],
      );
    });
  });
}
