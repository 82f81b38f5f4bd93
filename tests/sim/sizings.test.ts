/** Pools that are sized by policies, under the same faults as all others. */
import { strict as assert } from "node:assert";
import { isFixed } from "../../pool/sizing/policy/create.ts";
import { simulate } from "./simulation.ts";

const minute = 60_000;

describe("pools that are sized by policies, under simulation", () => {
  it("keep every promise while their policies and bounds change", async () => {
    const seen = new Set<string>();
    let surplus = 0;
    let replayed = 0;
    // Which seed meets what changes with the simulation: as many as it takes to see everything, within bounds.
    const everything = () => seen.size === 4 && surplus > 0 && replayed > 0;
    for (let seed = 1; seed <= 8 || (seed <= 60 && !everything()); seed++) {
      const { violations, trace } = await simulate(
        seed,
        { sized: true, rescue: null, buyers: 3, lasts: 20 * minute },
        ({ store }) => {
          const rows = store.auditRows({ limit: 100_000 });
          surplus += rows.filter(({ why }) => /^the pool keeps|^not begun/.test(why)).length;
          const choices = rows.filter(({ action }) => action === "sizing.chosen");
          assert.ok(choices.every(({ why }) => /^0 days are too short a history/.test(why)));
          replayed += choices.length;
        },
      );
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
      for (const line of trace) {
        const [, policy] = /the pool is sized by (\w+)/.exec(line) ?? [];
        if (policy) seen.add(policy);
      }
    }
    assert.deepEqual([...seen].sort(), ["adaptive", "factor", "schedule", "static"]);
    assert.ok(surplus > 0, "nothing ever was too much");
    assert.ok(replayed > 0, "no history was ever replayed for an asked share");
  });

  it("would be seen to let a machine go that is paid for", async () => {
    const { violations } = await simulate(3, { sized: true, lasts: 2 * minute, kills: [] }, (story) => {
      const { store, installation, world } = story;
      const [pool] = installation.config.pools;
      assert.ok(pool);
      const window = { cron: "* * * * *", lengthMs: 60_000, ready: 1 };
      const sizing = { ...pool.sizing, policy: "schedule" as const, windows: [window] };
      assert.ok(!isFixed(sizing));
      installation.config = { ...installation.config, pools: [{ ...pool, sizing }] };
      const machine = store
        .machines({ states: ["ready"] })
        .find(({ createdAt }) => (world.clock.now() - createdAt) % (60 * minute) < 53 * minute);
      assert.ok(machine);
      store.changeMachine(machine.name, "ready", { state: "retiring", reason: "the pool keeps 0" }, "test");
    });
    assert.match(violations.join(), /I13: \S+ goes as surplus in minute/);
  });
});
