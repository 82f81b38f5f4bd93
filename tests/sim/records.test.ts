/** The files beside the database fail now and then, and are as old as they are when it is lost with the daemon. */
import { strict as assert } from "node:assert";
import { outdatedRecords } from "./borders/records.ts";
import { simulate } from "./simulation.ts";

const minute = 60_000;
const quiet = {
  spell: null,
  strays: 0,
  states: [],
  platform: null,
  refusal: null,
  recipe: undefined,
} as const;

describe("records beside the database, under simulation", function () {
  this.timeout(120_000);

  it("are written in the end, and a person is told while they cannot be", async () => {
    const told = { raised: 0, over: 0 };
    for (let seed = 1; seed <= 12; seed++) {
      const plot = { ...quiet, buyers: 2, rescue: null };
      const { violations, trace } = await simulate(seed, plot, ({ store }) => {
        const rows = store.auditRows({ subject: "records", limit: 1_000 });
        for (const { action } of rows) {
          if (action === "flag.record-not-written") told.raised += 1;
          if (action === "flag.record-not-written.cleared") told.over += 1;
        }
        assert.equal(store.flags().filter(({ kind }) => kind === "record-not-written").length, 0);
      });
      assert.deepEqual(violations, [], `seed ${seed}\n${trace.join("\n")}`);
    }
    assert.ok(told.over >= 5 && told.raised >= told.over, JSON.stringify(told));
  });

  it("are found out when they lack something", async () => {
    await simulate(1, { ...quiet, rescue: null }, ({ world, installation }) => {
      const outdated = () => [...outdatedRecords(world, installation)];
      assert.deepEqual(outdated(), []);
      const [name = "", text = ""] = [...world.records][0] ?? [];
      world.records.delete(name);
      assert.deepEqual(outdated(), [name]);
      world.records.set(name, text.replace(/stateSince\\":/, "$&1"));
      assert.deepEqual(outdated(), [name]);
    });
  });

  it("need not be of the last commit when the database is lost with the daemon: somebody knows, or is told", async () => {
    let outdated = 0;
    for (let seed = 1; seed <= 24; seed++) {
      const kills = [100 + ((seed * 37) % 600)];
      const rescue = { kind: "lost", backupAt: 0, at: 7 * minute, withDaemon: true } as const;
      const plot = { ...quiet, buyers: 3, lasts: 8 * minute, kills, rescue };
      const { violations, trace } = await simulate(seed, plot);
      assert.deepEqual(violations, [], `seed ${seed}\n${trace.join("\n")}`);
      if (trace.some((line) => line.endsWith("does not say what the store did"))) outdated += 1;
    }
    assert.ok(outdated >= 5, `only ${outdated} of 24 lost something that no record said`);
  });
});
