/** What turns up with our labels goes, however often the daemon dies, and what is others' stays. */
import { strict as assert } from "node:assert";
import { simulate } from "./simulation.ts";

const minute = 60_000;
const plot = { buyers: 1, lasts: 4 * minute, spell: null, strays: 2, rescue: null };

describe("what nobody remembers, under simulation", function () {
  this.timeout(120_000);

  it("is deleted, and nothing of others is touched, through faults and deaths", async () => {
    let deleted = 0;
    const kinds: unknown[] = [];
    for (let seed = 1; seed <= 12; seed++) {
      const { violations, trace } = await simulate(seed, plot, ({ world, store }) => {
        assert.ok(world.strays.size >= 2 && world.neighbours.length === 12);
        const told = store.auditRows({ limit: 100_000 }).filter(({ action }) => action === "sweep.delete");
        deleted += told.filter(({ detail }) => detail.answer === "asked").length;
        kinds.push(...[...world.strays.keys()].map((what) => what.split(" ")[0]));
      });
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
    }
    assert.ok(deleted >= 6, `${deleted} were deleted`);
    assert.ok(["server", "device", "folder"].every((kind) => kinds.includes(kind)));
  });

  it("is told within two minutes, and asked to go within its grace and a look when nothing else fails", async () => {
    const calm = { buyers: 1, lasts: 0, kills: [], spell: null, strays: 3, sweepEveryMs: 30_000 };
    const told: number[] = [];
    const deleted: number[] = [];
    for (let seed = 1; seed <= 10; seed++) {
      const { violations, trace } = await simulate(seed, calm, ({ world, store, installation }) => {
        const { everyMs, orphanGraceMs } = installation.config.sweeps;
        for (const [subject, since] of world.strays) {
          const rows = store.auditRows({ subject, limit: 1_000 });
          // Tailnet and folders are looked at every five minutes, and their deletions have rows of their own.
          if (/^(device|folder)/.test(subject)) continue;
          const at = (action: string) =>
            (rows.find((row) => row.action === action)?.at ?? Number.POSITIVE_INFINITY) - since;
          assert.ok(at("sweep.delete.begun") >= orphanGraceMs);
          // What costs cents is looked for half as often as servers.
          const every = subject.startsWith("server") ? everyMs : 2 * everyMs;
          assert.ok(at("flag.orphan") <= minute + 2 * every, `${subject}: ${at("flag.orphan")} ms`);
          assert.ok(
            at("sweep.delete.begun") <= orphanGraceMs + 3 * every,
            `${subject}: ${at("sweep.delete.begun")} ms`,
          );
          if (subject.startsWith("server")) told.push(at("flag.orphan"));
          deleted.push(at("sweep.delete.begun"));
        }
      });
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
    }
    assert.ok(told.length >= 4 && told.every((ms) => ms <= 2 * minute), told.join());
    assert.ok(deleted.length >= 10);
  });
});
