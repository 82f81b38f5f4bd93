/** A daemon hangs, another takes the store over, and the first goes on in the middle of what it did. */
import { strict as assert } from "node:assert";
import { simulate } from "./simulation.ts";

describe("two daemons on one store, under simulation", function () {
  this.timeout(120_000);

  it("the second goes on within 40 s, and the one that wakes is fenced before it can write", async () => {
    const plot = {
      spell: null,
      strays: 0,
      rots: 0,
      recipe: undefined,
      rescue: null,
      states: [],
      kills: [],
      buyers: 2,
    };
    let fenced = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const { violations, trace } = await simulate(seed, { ...plot, hangs: true }, ({ world }) => {
        fenced += world.fenced;
        const at = (words: string) =>
          Number.parseFloat(world.trace.find((line) => line.endsWith(words)) ?? "NaN");
        const took = at("takes over from one that hangs") - at("the daemon hangs");
        assert.ok(took > 20 && took <= 40, `seed ${seed}: it took ${took} s`);
      });
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
    }
    assert.ok(fenced >= 8, `${fenced} daemons were fenced`);
  });
});
