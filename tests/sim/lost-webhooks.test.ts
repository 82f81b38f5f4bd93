/** Stripe's objects alone must be enough: not one webhook ever comes. */
import { strict as assert } from "node:assert";
import { simulate } from "./simulation.ts";

describe("the whole controller without a single webhook, under simulation", function () {
  this.timeout(120_000);

  it("serves whoever paid, ends whoever cancelled, and tells of each repair", async () => {
    const kinds = new Set<unknown>();
    for (let seed = 1; seed <= 5; seed++) {
      let served = 0;
      let paid = 0;
      const { violations, trace } = await simulate(seed, { buyers: 5, lost: 1 }, ({ world, store }) => {
        const repairs = store
          .auditRows({ limit: 100_000 })
          .filter(({ action }) => action === "stripe.repaired");
        for (const { detail } of repairs) kinds.add(detail.kind);
        paid += [...world.sessions.values()].filter(({ paymentStatus }) => paymentStatus === "paid").length;
        served += repairs.filter(({ detail }) => detail.kind === "payment").length;
        assert.deepEqual(
          world.trace.filter((line) => line.includes(": claimed")),
          [],
        );
      });
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
      assert(paid > 0 && served >= paid, `${served} of ${paid}`);
    }
    assert.deepEqual([...kinds].sort(), ["end", "expiry", "payment"]);
  });
});
