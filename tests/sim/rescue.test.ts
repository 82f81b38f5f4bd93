import { strict as assert } from "node:assert";
import type { Rescue } from "./rescue.ts";
import { simulate } from "./simulation.ts";

const minute = 60_000;

describe("a store that is lost or comes back older, under simulation", function () {
  this.timeout(120_000);

  for (const kind of ["older", "elsewhere", "lost"] as const satisfies readonly Rescue["kind"][]) {
    it(`destroys, buys and gives away nothing before a person has released it, and goes on then: ${kind}`, async () => {
      for (let seed = 1; seed <= 4; seed++) {
        const backupAt = (1 + ((seed * 3) % 10)) * minute;
        const rescue = { kind, backupAt, at: backupAt + ((seed * 53) % 240) * 1_000 };
        const { violations, trace } = await simulate(seed, {
          buyers: 3,
          lasts: 14 * minute,
          strays: 0,
          rescue,
        });
        assert.deepEqual(violations, [], `seed ${seed}\n${trace.join("\n")}`);
      }
    });
  }
});
