import { strict as assert } from "node:assert";
import { pino } from "pino";
import { Releasers } from "../pool/releasers.ts";

const log = pino({ level: "silent" });

describe("releasers", () => {
  it("stop what was started in the opposite order, one after the other", async () => {
    const releasers = new Releasers();
    const order: string[] = [];
    releasers.add("store", () => order.push("store"));
    releasers.add("api", async () => {
      order.push("api begins");
      await new Promise((resolve) => setImmediate(resolve));
      order.push("api ends");
    });
    await releasers.release(log);
    assert.deepEqual(order, ["api begins", "api ends", "store"]);
  });

  it("stop the rest when one fails, and name all that failed", async () => {
    const releasers = new Releasers();
    let stopped = false;
    releasers.add("store", () => {
      stopped = true;
    });
    releasers.add("gate", () => {
      throw new Error("busy");
    });
    releasers.add("api", () => Promise.reject(new Error("hung")));
    const error: AggregateError = await releasers.release(log).then(
      () => assert.fail("it did not say that something failed"),
      (reason) => reason,
    );
    assert.ok(stopped);
    assert.deepEqual(
      error.errors.map((each: Error) => [each.message, (each.cause as Error).message]),
      [
        ["api did not stop cleanly", "hung"],
        ["gate did not stop cleanly", "busy"],
      ],
    );
  });

  it("stop nothing twice", async () => {
    const releasers = new Releasers();
    let times = 0;
    releasers.add("store", () => {
      times += 1;
    });
    await releasers.release(log);
    await releasers.release(log);
    assert.equal(times, 1);
  });
});
