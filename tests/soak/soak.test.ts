/** A share of what `npm run soak` does. */
import { strict as assert } from "node:assert";
import { soak } from "./soak.ts";

describe("a soak of random faults and SIGKILLs, on the local cloud", function () {
  this.timeout(900_000);

  it("ends with every order served or told of, every invariant and the bill in order", async () => {
    const { orders, served, kills, hits } = await soak({ orders: 200, machines: 8, lastsMs: 150_000 });
    assert.equal(orders, 200);
    assert(kills.daemon >= 2 && hits >= 50, `${kills.daemon} kills, ${hits} faults hit`);
    // Whoever waits in the end is served: at least the queue.
    assert(served >= 8, `${served} served`);
  });
});
