import { strict as assert } from "node:assert";
import fc from "fast-check";
import { systemClock } from "../../pool/clock.ts";
import type { Config } from "../../pool/config/config.ts";
import { parseConfig } from "../../pool/config/load.ts";
import { serveQueue } from "../../pool/refill/queue.ts";
import { refill, trim } from "../../pool/refill/refill.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { env, example } from "../config/example.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";

const sealer = createSealer([newSealingKey()]);

const configWith = (minReady: number, maxTotal: number): Config => {
  const config = parseConfig(example, "clawpool.yaml", env);
  const [pool] = config.pools;
  assert(pool);
  return { ...config, maxTotal, pools: [{ ...pool, name: "small", minReady, maxTotal }] };
};

describe("refill", () => {
  let store: Store;
  beforeEach(() => {
    store = openSqliteStore({ file: ":memory:", sealer });
  });
  afterEach(() => store.close());

  it("plans what is missing, once", () => {
    const config = configWith(3, 10);
    assert.equal(refill(store, config, systemClock).length, 3);
    assert.equal(refill(store, config, systemClock).length, 0);
    assert.equal(store.machines({ states: ["planned"] }).length, 3);
  });

  it("builds one more for each order that waits", () => {
    const config = configWith(2, 10);
    refill(store, config, systemClock);
    store.createOrder(newOrder("o-1"));
    assert.equal(pay(store, "o-1").kind, "queued");
    assert.equal(refill(store, config, systemClock).length, 1);
  });

  it("replaces a machine that was claimed", () => {
    const config = configWith(1, 10);
    makeReady(store, "m-1");
    store.createOrder(newOrder("o-1"));
    assert.equal(pay(store, "o-1").kind, "claimed");
    assert.equal(refill(store, config, systemClock).length, 1);
  });

  it("retires what is too much, the oldest first, but not what somebody waits for", () => {
    const oldest = makeReady(store, "m-1");
    makeReady(store, "m-2");
    assert.deepEqual(trim(store, configWith(2, 10), systemClock.now()), []);
    assert.deepEqual(
      trim(store, configWith(1, 10), systemClock.now()).map((machine) => machine.name),
      [oldest],
    );
    store.createOrder(newOrder("o-1", { plan: "small" }));
    makeReady(store, "m-3", { location: "hil" });
    store.changeMachine(
      store.machines({ states: ["ready"] })[0]?.name as never,
      "ready",
      { state: "retiring" },
      "test",
    );
    assert.equal(pay(store, "o-1").kind, "queued");
    assert.deepEqual(trim(store, configWith(0, 10), systemClock.now()), []);
  });

  it("never goes beyond max_total, whatever happens in between", () => {
    fc.assert(
      fc.property(
        fc.nat(8),
        fc.integer({ min: 1, max: 8 }),
        fc.array(fc.constantFrom("refill", "order", "queue", "ready"), { maxLength: 30 }),
        (minReady, maxTotal, steps) => {
          const fresh = openSqliteStore({ file: ":memory:", sealer });
          const config = configWith(minReady, maxTotal);
          let orders = 0;
          for (const step of steps) {
            if (step === "refill") refill(fresh, config, systemClock);
            if (step === "queue") serveQueue(fresh, config);
            if (step === "order") {
              fresh.createOrder(newOrder(`o-${++orders}`));
              pay(fresh, `o-${orders}`);
            }
            const [planned] = fresh.machines({ states: ["planned"] });
            if (step === "ready" && planned) {
              for (const [from, state] of [
                ["planned", "creating"],
                ["creating", "booting"],
                ["booting", "preparing"],
                ["preparing", "proving"],
                ["proving", "ready"],
              ] as const) {
                fresh.changeMachine(planned.name, from, { state }, "test");
              }
            }
            const live = fresh.machines({ live: true });
            assert(live.length <= maxTotal, `${live.length} live machines, max_total ${maxTotal}`);
          }
          fresh.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  it("gives each machine keys and a token of its own, and spreads over placement groups", () => {
    const config = configWith(12, 20);
    const planned = refill(store, config, systemClock);
    const secrets = planned.map((machine) => store.machineSecrets(machine.name));
    for (const field of ["controllerKey", "bootHostKey", "poolToken"] as const) {
      assert.equal(new Set(secrets.map((secret) => secret[field])).size, planned.length);
    }
    const groups = planned.map((machine) => machine.placementGroup);
    assert.equal(groups.filter((group) => group === 0).length, 6);
    assert.equal(groups.filter((group) => group === 1).length, 6);
  });
});
