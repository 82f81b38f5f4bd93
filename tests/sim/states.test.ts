/** Terraform's state files are lost, emptied, old and mixed up, while everything else goes wrong as well. */
import { strict as assert } from "node:assert";
import { simulate } from "./simulation.ts";
import { stateMishaps } from "./states.ts";

describe("spoiled state files, under simulation", function () {
  this.timeout(120_000);
  /** What is others' to test stays away, so that the seeds are about this. */
  const plot = { spell: null, strays: 0, rots: 0, recipe: undefined, buyers: 2 };

  it("cost no customer his machine, buy none twice, and leave nothing behind", async () => {
    const told = new Set<string>();
    for (let seed = 1; seed <= 15; seed++) {
      const mishaps = [...stateMishaps, ...stateMishaps];
      const { violations, trace } = await simulate(seed, { ...plot, states: mishaps }, ({ store }) => {
        for (const { action } of store.auditRows({ limit: 100_000 })) told.add(action);
      });
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
    }
    // Each of the ways that a refused or unknown state can go was gone.
    const ways = [
      "flag.terraform-state",
      "terraform.state-refused",
      "terraform.state-restored",
      "terraform.import",
    ];
    assert.deepEqual(
      ways.filter((way) => !told.has(way)),
      [],
      [...told].sort().join(" "),
    );
  });

  it("make no second platform and change nobody else's, whatever becomes of its own state", async () => {
    const told = new Set<string>();
    for (let seed = 1; seed <= 12; seed++) {
      const platform = stateMishaps[seed % stateMishaps.length];
      let applied: string | null | undefined;
      const { violations, trace } = await simulate(
        seed,
        { ...plot, platform, states: [], rescue: null },
        ({ store, world }) => {
          for (const { action } of store.auditRows({ subject: "platform" })) told.add(action);
          applied = world.states.get("platform")?.shared;
        },
      );
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
      assert.match(applied ?? "", /192\.0\.2\.0/, `seed ${seed}: it was repaired, and then applied`);
    }
    const ways = [
      "flag.terraform-state",
      "terraform.state-restored",
      "terraform.state-imported",
      "terraform.import",
    ];
    assert.deepEqual(
      ways.filter((way) => !told.has(way)),
      [],
      [...told].sort().join(" "),
    );
  });
});
