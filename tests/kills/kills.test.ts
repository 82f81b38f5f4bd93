/** A share of what `npm run kills` does, and proof that it would see a loss. */
import { strict as assert } from "node:assert";
import { pullThePlug } from "./kills.ts";

describe("SIGKILLs during webhook bursts", function () {
  this.timeout(120_000);

  it("lose no event that was acknowledged, and bind no order or machine twice", async () => {
    const { lost, doubled, kills, inFlight, acknowledged, claims } = await pullThePlug({ times: 25 });
    assert.deepEqual({ lost, doubled }, { lost: [], doubled: [] });
    assert.equal(kills, 25);
    assert(inFlight > 0, "no kill hit an open request");
    assert(acknowledged > 50 && claims > 25, `${acknowledged} acknowledged, ${claims} claims`);
  });

  it("are seen to lose events when the answer goes out before the write", async () => {
    const { lost } = await pullThePlug({ times: 6, lies: true });
    assert(lost.length > 0);
  });
});
