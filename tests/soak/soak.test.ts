/** A share of what `npm run soak` does. */
import { strict as assert } from "node:assert";
import { soak } from "./soak.ts";

describe("a soak of random faults and SIGKILLs, on the local cloud", function () {
  this.timeout(600_000);

  it("ends with every invariant and the bill in order", async () => {
    const { orders, served, kills, hits } = await soak({ orders: 200, machines: 8, longestMs: 60_000 });
    assert(kills.daemon > 0 && hits > 10, `${kills.daemon} kills, ${hits} faults hit`);
    assert(orders >= 20 && served > 0, `${orders} orders, ${served} served`);
  });
});
