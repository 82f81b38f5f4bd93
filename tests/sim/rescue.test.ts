import { strict as assert } from "node:assert";
import type { Rescue, SecondRescue } from "./rescue.ts";
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

  for (const backup of ["held", "released"] as const satisfies readonly SecondRescue["backup"][]) {
    it(`does so again with a backup of the first quarantine, of when machines were ${backup}`, async () => {
      for (let seed = 1; seed <= 4; seed++) {
        const kind = seed % 2 === 0 ? "older" : "elsewhere";
        const again = { kind, backup, after: 4 * minute } as const;
        const rescue = { kind: "older", backupAt: 3 * minute, at: 5 * minute, again } as const;
        const { violations, trace } = await simulate(seed, {
          buyers: 2,
          lasts: 8 * minute,
          strays: 0,
          rescue,
        });
        assert.deepEqual(violations, [], `seed ${seed}\n${trace.join("\n")}`);
      }
    });
  }
});
