/** Machines that wait, under simulation: they go bad, their recipe changes for better or worse, they grow old. */
import { strict as assert } from "node:assert";
import { simulate } from "./simulation.ts";

const minute = 60_000;
const quiet = { buyers: 2, lasts: 20 * minute, kills: [], spell: null, refusal: null, hangs: false };

describe("machines that wait, under simulation", function () {
  this.timeout(120_000);

  it("that went bad are found by a proof and replaced, also through deaths of the daemon", async () => {
    let retired = 0;
    for (let seed = 101; seed <= 106; seed++) {
      const plot = { ...quiet, kills: [400], rots: 5, recipe: undefined };
      const { violations, trace } = await simulate(seed, plot, ({ store }) => {
        retired += store.machines().filter(({ misses }) => misses === 2).length;
      });
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
    }
    assert.ok(retired > 0);
  });

  for (const fault of [null, "fails", "rots"] as const) {
    it(`follow a recipe ${fault === null ? "that is good" : `that ${fault} only when it is mended`}`, async () => {
      const phases = new Set<string>();
      for (let seed = 201; seed <= 203; seed++) {
        const plot = { ...quiet, rots: 0, recipe: fault };
        const { violations, trace } = await simulate(seed, plot, ({ store, installation }) => {
          const [pool] = installation.config.pools;
          for (const { action } of store.auditRows({ subject: pool?.name ?? "", limit: 1_000 }))
            if (action.startsWith("rollout.")) phases.add(action);
          const wanted = fault === null ? "recipe-2" : "recipe-3";
          for (const { installed } of store.machines({ states: ["ready"] }))
            assert.equal(installed?.recipe, wanted);
        });
        assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
      }
      for (const phase of ["canary", "soaking", "rolling", "done"])
        assert.ok(phases.has(`rollout.${phase}`), phase);
    });
  }
});
