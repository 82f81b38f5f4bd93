/** A share of what `npm run sim` does, and proof that it would see a broken promise. */
import { strict as assert } from "node:assert";
import { simulate } from "./simulation.ts";

const minute = 60_000;
const small = { buyers: 2, lasts: 6 * minute };

describe("the whole controller under simulation", function () {
  this.timeout(300_000);

  it("keeps its promises through faults and deaths, seed by seed", async () => {
    for (let seed = 1; seed <= 15; seed++) {
      const { violations, trace, events } = await simulate(seed);
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
      assert.ok(events >= 200, `seed ${seed} had ${events} events only`);
    }
  });

  it("keeps them wherever it is killed", async () => {
    const { points } = await simulate(1, { ...small, kills: [] });
    const step = Math.ceil(points / 25);
    for (let point = 1; point <= points; point += step) {
      const { violations, trace } = await simulate(1, { ...small, kills: [point] });
      assert.deepEqual(violations, [], `killed at point ${point}:\n${trace.join("\n")}`);
      assert.ok(trace.some((line) => line.endsWith(`killed at point ${point}`)));
    }
  });

  it("repeats a run from its seed", async () => {
    const [one, two] = [await simulate(7), await simulate(7)];
    assert.deepEqual(one.trace, two.trace);
    assert.equal(one.events, two.events);
    assert.notDeepEqual((await simulate(8)).trace, one.trace);
  });

  it("sees a server that nobody remembers, a customer without a machine, and one who pays for nothing", async () => {
    const orphan = await simulate(1, small, ({ world }) => {
      const [server] = world.servers.values();
      assert(server);
      world.servers.set(1, { ...server, id: 1, name: "claw-test-orphan" });
    });
    assert.match(orphan.violations.join(), /I3: server 1 claw-test-orphan costs money/);

    const unserved = await simulate(1, { ...small, buyers: 6 }, ({ world }) => {
      for (const [id, { machine }] of world.servers) if (machine.customer) world.servers.delete(id);
    });
    assert.match(unserved.violations.join(), /I1: ord_\w+ is paid, running, and 0 machines serve it/);

    const unpaid = await simulate(1, { ...small, buyers: 6 }, ({ world }) => {
      for (const subscription of world.subscriptions.values()) subscription.status = "canceled";
    });
    assert.match(unpaid.violations.join(), /I3: ord_\w+ is not paid for/);
  });
});
