/** A pool that fails or runs cold is told, and what is over is taken back. */
import { strict as assert } from "node:assert";
import { pino } from "pino";
import { raiseAlerts } from "../../pool/refill/alerts.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { configWith, failBuild, finishBuild } from "../sizing/rows.ts";
import { caps, newMachine, newOrder, pay } from "../store/rows.ts";

const minute = 60_000;

describe("alerts of a pool", () => {
  let life: Life;
  let errors: string[];
  const log = pino({ level: "error" }, { write: (line) => void errors.push(JSON.parse(line).msg) });
  const raise = () => raiseAlerts({ store: life.store, config: life.config, clock: life.clock, log });
  const kinds = () => life.store.flags().map(({ kind, subject }) => `${kind} ${subject}`);

  beforeEach(() => {
    life = startLife();
    errors = [];
    life.config = configWith({ minReady: 0 });
  });
  afterEach(() => life.store.close());

  it("tells when more than a tenth of an hour's builds failed, once, and when that is over", async () => {
    for (let i = 0; i < 9; i++) finishBuild(life.store);
    failBuild(life.store);
    raise();
    assert.deepEqual(kinds(), [], "one of ten is a tenth");
    failBuild(life.store);
    raise();
    assert.deepEqual(kinds(), ["builds-fail small"]);
    failBuild(life.store);
    raise();
    raise();
    assert.deepEqual(errors, ["more than 10 % of the builds of pool small failed within an hour"]);
    await life.clock.advance(60 * minute + 1);
    raise();
    assert.deepEqual(kinds(), []);
    const rows = life.store.auditRows({ subject: "small" }).map(({ action }) => action);
    assert.deepEqual(rows, ["flag.builds-fail", "flag.builds-fail.cleared"]);
  });

  it("gives a new pool the time of its first builds, then tells that it is cold", async () => {
    life.config = configWith({ minReady: 1 });
    raise();
    await life.clock.advance(10 * minute - 1);
    raise();
    assert.deepEqual(kinds(), []);
    await life.clock.advance(1);
    raise();
    assert.deepEqual(kinds(), ["below-floor small"]);
    assert.deepEqual(errors, ["pool small keeps 1 ready and has had fewer for longer than a build takes"]);
    finishBuild(life.store);
    raise();
    assert.deepEqual(kinds(), []);
  });

  it("tells at once when the last ready machine is gone, not while it is proved again", () => {
    life.config = configWith({ minReady: 1 });
    const name = finishBuild(life.store);
    life.store.changeMachine(name, "ready", { state: "proving" }, "test");
    raise();
    assert.deepEqual(kinds(), []);
    life.store.changeMachine(name, "proving", { state: "ready" }, "test");
    assert.deepEqual(kinds(), []);
    life.store.createOrder(newOrder("o-1"));
    assert.equal(pay(life.store, "o-1").kind, "claimed");
    raise();
    assert.match(life.store.flags()[0]?.text ?? "", /has none: the next customer waits/);
  });

  it("tells of too few for longer than a build takes, not of one that was just claimed", async () => {
    life.config = configWith({ minReady: 2 });
    const took = 4 * minute;
    // A build that took four minutes: the only one that was measured.
    const { name: slow } = life.store.planMachine(newMachine("claw-test-slow"), caps) ?? assert.fail();
    await life.clock.advance(took);
    const path = ["planned", "creating", "booting", "preparing", "proving", "ready"] as const;
    for (const [index, state] of path.slice(1).entries())
      life.store.changeMachine(slow, path[index] ?? "planned", { state }, "test");
    raise();
    await life.clock.advance(took - 1);
    raise();
    assert.deepEqual(kinds(), []);
    await life.clock.advance(1);
    raise();
    assert.deepEqual(kinds(), ["below-floor small"]);
    finishBuild(life.store);
    raise();
    assert.deepEqual(kinds(), []);
    assert.equal(errors.length, 1);
  });

  it("says nothing of a pool that keeps none, and forgets a pool that is gone", () => {
    raise();
    assert.deepEqual(kinds(), []);
    for (let i = 0; i < 4; i++) failBuild(life.store);
    raise();
    assert.deepEqual(kinds(), [], "four builds say nothing of an hour");
    failBuild(life.store);
    failBuild(life.store, { failure: "capacity" });
    raise();
    assert.deepEqual(kinds(), ["builds-fail small"]);
    life.config = { ...life.config, pools: [] };
    raise();
    assert.deepEqual(kinds(), []);
  });
});
