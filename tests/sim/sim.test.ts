/** A share of what `npm run sim` does, and proof that it would see a broken promise. */
import { strict as assert } from "node:assert";
import { simulate } from "./simulation.ts";

const minute = 60_000;
const small = { buyers: 2, lasts: 6 * minute, spell: null, rots: 0, recipe: undefined };

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

  it("buys little while no build succeeds, through hours and deaths, and recovers when a person resumes", async () => {
    const lasts = 150 * minute;
    const spell = { from: 0, until: lasts };
    const plot = { buyers: 2, lasts, kills: [300, 500], spell, rots: 0, recipe: undefined };
    const outcome = await simulate(1, plot, ({ world, store, installation }) => {
      const told = store.auditRows({ limit: 100_000 });
      const [pool] = installation.config.pools;
      const refill = told.filter(({ action }) => action.startsWith("refill."));
      assert.equal(refill[0]?.action, "refill.stopped");
      assert.equal(refill.at(-1)?.actor, "person:operator");
      assert.ok(told.some(({ why }) => why === "kept to be looked at"));
      for (const kind of ["below-floor", "builds-fail"])
        assert.ok(
          told.some(({ action }) => action === `flag.${kind}`),
          kind,
        );
      // Two hours and a half at full speed would be 18,000.
      const { run, buildsPerOrder } = pool?.failureBudget ?? assert.fail();
      const { resumed, retried, bought } = world.builds;
      const forOrders = buildsPerOrder * (plot.buyers + retried.length);
      const tries = (run + 2) * (resumed.length + 1) + forOrders;
      const left = store.machines({ live: true }).length;
      assert.ok(bought.length <= tries + left, `${bought.length} were bought`);
    });
    assert.deepEqual(outcome.violations, [], outcome.trace.join("\n"));
  });

  it("repeats a run from its seed", async () => {
    const [one, two] = [await simulate(7), await simulate(7)];
    assert.deepEqual(one.trace, two.trace);
    assert.equal(one.events, two.events);
    assert.notDeepEqual((await simulate(8)).trace, one.trace);
  });
});
