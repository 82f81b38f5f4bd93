/** Pauses behind failed builds, and when they are too many. */
import { strict as assert } from "node:assert";
import fc from "fast-check";
import { machineName, type OrderId } from "../../pool/machine/machine.ts";
import { assess, countedBuilds } from "../../pool/refill/budget.ts";
import { refill } from "../../pool/refill/refill.ts";
import type { Build } from "../../pool/store/store.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { configWith, failBuild, finishBuild } from "../sizing/rows.ts";
import { caps, limits, newMachine, newOrder, pay } from "../store/rows.ts";

const second = 1_000;
const minute = 60 * second;
const budget = configWith({}).pools[0]?.failureBudget ?? assert.fail();

/** One build a minute, ending at the minute of its index: `.` well, `x` not, `c` for want of capacity. */
const builds = (text: string): Build[] =>
  [...text].map((outcome, index) => ({
    machine: machineName(`m-${index}`),
    location: "fsn1",
    startedAt: index * minute - second,
    endedAt: index * minute,
    ok: outcome === ".",
    failure: outcome === "." ? null : outcome === "c" ? "capacity" : "permanent",
  }));

describe("the failure budget", () => {
  it("has nothing against builds that do well", () => {
    assert.deepEqual(assess(builds("....."), budget, 0), {
      run: 0,
      counted: 0,
      exhausted: null,
      refillAt: 0,
      orderAt: 0,
    });
  });

  it("doubles the pause with each failure, each ± 20 %, up to the longest; for orders up to a shorter one", () => {
    for (let failures = 1; failures <= 12; failures++) {
      const all = builds("x".repeat(failures));
      const { refillAt, orderAt } = assess(all, budget, 0);
      const endedAt = (failures - 1) * minute;
      const within = (pause: number, ms: number) =>
        assert.ok(pause >= 0.8 * ms && pause <= 1.2 * ms, `${pause} behind ${failures}, want about ${ms}`);
      within(refillAt - endedAt, Math.min(10 * second * 2 ** (failures - 1), 10 * minute));
      within(orderAt - endedAt, Math.min(10 * second * 2 ** (failures - 1), minute));
    }
  });

  it("spreads the pauses, and gives the same one to who asks again", () => {
    const pauses = Array.from({ length: 50 }, (_, index) => {
      const [build] = builds("x") as [Build];
      const named = [{ ...build, machine: machineName(`claw-test-${index}abc`) }];
      assert.deepEqual(assess(named, budget, 0), assess(named, budget, 5));
      return assess(named, budget, 0).refillAt;
    });
    assert.ok(new Set(pauses).size > 40);
    assert.ok(Math.max(...pauses) - Math.min(...pauses) > 2 * second);
  });

  it("is exhausted by a run, which a build that does well ends", () => {
    assert.equal(assess(builds("xxxx"), budget, 0).exhausted, null);
    assert.equal(assess(builds("xxxxx"), budget, 0).exhausted, "5 builds failed one after another");
    assert.equal(assess(builds("xxxx.xxxx"), { ...budget, atLeast: 50 }, 0).exhausted, null);
  });

  it("is exhausted by a share of enough builds within the window", () => {
    const now = 9 * minute;
    assert.equal(assess(builds("xx.xx.xx.x"), budget, now).exhausted, "7 of the last 10 builds failed");
    assert.equal(assess(builds("xx.xx.xx."), budget, now).exhausted, null, "nine say nothing");
    assert.equal(assess(builds("x.x.x.x.x."), budget, now).exhausted, null, "half is not more than half");
    assert.equal(assess(builds("xx.xx.xx.x"), budget, now + budget.windowMs).exhausted, null, "long ago");
  });

  it("waits longer when nobody has machines to sell, but for no person", () => {
    const { run, counted, exhausted, refillAt } = assess(builds("cccccccccccc"), budget, 11 * minute);
    assert.deepEqual([run, counted, exhausted], [12, 0, null]);
    assert.ok(refillAt > 18 * minute);
  });

  it("is the same however the builds before the last success went", () => {
    const history = fc.array(fc.constantFrom(".", "x", "c"), { maxLength: 30 }).map((list) => list.join(""));
    fc.assert(
      fc.property(history, fc.nat(8), (before, failures) => {
        const all = builds(`${before}.${"x".repeat(failures)}`);
        const { run, refillAt } = assess(all, budget, 0);
        assert.equal(run, failures);
        const alone = assess(all.slice(before.length), budget, 0);
        assert.equal(refillAt, alone.refillAt);
      }),
    );
  });
});

describe("refill behind failed builds", () => {
  let life: Life;
  const config = configWith({ minReady: 3, maxTotal: 20 });
  const plan = (of = config) => refill(life.store, of, life.clock).length;
  beforeEach(() => {
    life = startLife();
  });
  afterEach(() => life.store.close());

  it("waits, tries one alone, and goes on at once when that does well", async () => {
    failBuild(life.store);
    assert.equal(plan(), 0);
    await life.clock.advance(7_999);
    assert.equal(plan(), 0);
    await life.clock.advance(4_001);
    assert.equal(plan(), 1);
    assert.equal(plan(), 0, "the one that was planned is to show first whether builds do well");
    finishBuild(life.store);
    assert.equal(plan(), 1, "one is ready, one is being built");
  });

  it("buys no more in an hour than the pauses allow, whatever happens at full speed", async () => {
    const patient = configWith({ minReady: 3, maxTotal: 20 }, { run: 50, share: 1 });
    let planned = 0;
    for (let at = 0; at < 60 * minute; at += second) {
      for (const { name } of refill(life.store, patient, life.clock)) {
        planned += 1;
        life.store.changeMachine(name, "planned", { state: "creating" }, "test");
        life.store.changeMachine(name, "creating", { state: "failed" }, "test");
        life.store.changeMachine(name, "failed", { state: "retiring" }, "test");
        life.store.recordDestroyed(name);
      }
      await life.clock.advance(second);
    }
    // The first three at once; then 40, 80, 160, 320, 600, 600 … s apart.
    assert.ok(planned >= 9 && planned <= 13, `${planned} were planned`);
  });

  it("tries sooner for an order that waits, but not without a pause", async () => {
    for (let i = 0; i < 4; i++) failBuild(life.store);
    life.store.createOrder(newOrder("o-1"));
    assert.equal(pay(life.store, "o-1").kind, "queued");
    assert.equal(plan(), 0);
    await life.clock.advance(47 * second);
    assert.equal(plan(), 0);
    await life.clock.advance(25 * second);
    assert.equal(plan(), 1, "the pool itself would wait for 80 s");
    assert.equal(plan(), 0);
  });

  it("builds for nobody but those who wait while it is stopped, and not for ever", async () => {
    const stop = { reason: "r", inputs: "i", specimen: null, text: "t" };
    life.store.stopRefill("small", stop);
    assert.equal(plan(), 0);
    life.store.createOrder(newOrder("o-1"));
    pay(life.store, "o-1");
    await life.clock.advance(1);
    for (let tries = 0; tries < 5; tries++) {
      assert.equal(plan(), 1, `try ${tries}`);
      const [machine] = life.store.machines({ states: ["planned"] });
      assert.ok(machine);
      life.store.recordBuildFailure(machine.name, "planned", { step: "planned", reason: "test" }, limits);
      assert.equal(plan(), 0, "not at once");
      await life.clock.advance(72 * second);
    }
    await life.clock.advance(60 * minute);
    assert.equal(life.store.order("o-1" as OrderId)?.state, "failed", "five are enough");
    assert.equal(plan(), 0);
    life.store.createOrder(newOrder("o-2"));
    pay(life.store, "o-2");
    assert.equal(plan(), 1, "another who waits may be luckier");
  });

  it("lets a specimen go when an order that waits needs its place", async () => {
    const full = configWith({ minReady: 1, maxTotal: 1 });
    const name = failBuild(life.store);
    const specimen = { name, until: life.clock.now() + 60 * minute };
    life.store.stopRefill("small", { reason: "r", inputs: "i", specimen, text: "t" });
    await life.clock.advance(5 * minute);
    plan(full);
    assert.notEqual(life.store.machine(name)?.specimenUntil, null, "nobody needs it");
    life.store.createOrder(newOrder("o-1"));
    pay(life.store, "o-1");
    assert.equal(plan(full), 0);
    assert.equal(life.store.machine(name)?.specimenUntil, null);
  });

  it("forgets what was before a person resumed, also builds that end later", async () => {
    const { name } = life.store.planMachine(newMachine("claw-test-late"), caps) ?? assert.fail();
    failBuild(life.store);
    await life.clock.advance(1);
    life.store.resumeRefill("small", "ada resumed it", { actor: "person:ada" });
    life.store.changeMachine(name, "planned", { state: "failed" }, "test");
    assert.deepEqual(countedBuilds(life.store, "small"), []);
    assert.equal(plan(), 3);
  });
});
