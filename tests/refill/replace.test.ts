/** Machines that have waited too long: who goes, when, and that the floor holds. */
import { strict as assert } from "node:assert";
import type { Config, PoolConfig } from "../../pool/config/config.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { raiseAlerts } from "../../pool/refill/alerts.ts";
import { refill, trim } from "../../pool/refill/refill.ts";
import { isAged, replacement } from "../../pool/refill/replace.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { caps, makeReady } from "../store/rows.ts";

const minute = 60_000;
const day = 24 * 60 * minute;

describe("machines that have waited too long", () => {
  let life: Life;
  let made = 0;
  const pool = (): PoolConfig => life.config.pools[0] ?? assert.fail();
  const configure = (change: Partial<PoolConfig>, maxTotal = 100): Config => {
    life.config = {
      ...life.config,
      maxTotal,
      pools: life.config.pools.map((each) => ({ ...each, ...change })),
    };
    return life.config;
  };
  const ready = (count: number): MachineName[] =>
    Array.from({ length: count }, () => makeReady(life.store, `claw-test-n${++made}`));
  const readyCount = () => life.store.machines({ states: ["ready"] }).length;
  const goOn = () => trim(life.store, life.config, life.clock.now()).map(({ name }) => name);
  const build = () => {
    const planned = refill(life.store, life.config, life.clock);
    for (const { name } of planned) {
      for (const [from, to] of [
        ["planned", "creating"],
        ["creating", "booting"],
        ["booting", "preparing"],
        ["preparing", "proving"],
        ["proving", "ready"],
      ] as const)
        life.store.changeMachine(name, from, { state: to }, "test");
    }
    return planned.length;
  };

  beforeEach(() => {
    life = startLife();
  });
  afterEach(() => life.store.close());

  it("stay until others are ready, and go at the end of an hour that is paid for", async () => {
    configure({ minReady: 2, maxTotal: 10, maxAgeMs: day, maxAgeJitter: 0 });
    ready(2);
    await life.clock.advance(day);
    assert.equal(build(), 0, "not at the limit");
    await life.clock.advance(1);
    assert.deepEqual(goOn(), []);
    assert.equal(build(), 1, "one above the floor at a time");
    assert.equal(build(), 0);
    assert.deepEqual(goOn(), [], "the hour has just begun");
    const gone: string[] = [];
    for (let passed = 0; passed < 180; passed++) {
      await life.clock.advance(minute);
      const went = goOn();
      const inHour = (life.clock.now() - 1) % (60 * minute);
      if (went.length > 0) assert.ok(inHour >= 49 * minute && inHour < 59 * minute, `${inHour / minute}`);
      gone.push(...went);
      assert.ok(readyCount() >= 2, "below the floor");
      build();
    }
    assert.deepEqual(gone.sort(), ["claw-test-n1", "claw-test-n2"]);
    assert.equal(readyCount(), 2);
  });

  it("of one birthday reach their ages over a fifth of the time, not at once: 1,000 of them", () => {
    configure({ minReady: 1_000, maxTotal: 1_100, maxAgeMs: 14 * day, maxAgeJitter: 0.2 }, 1_100);
    const one = life.store.machine(ready(1)[0] ?? assert.fail()) ?? assert.fail();
    const all = Array.from({ length: 1_000 }, (_, index) => ({
      ...one,
      name: `claw-test-x${index}` as MachineName,
    }));
    const agedAt = (hours: number) =>
      all.filter((machine) => isAged(machine, pool(), life.clock.now() + hours * 60 * minute)).length;
    const from = 0.8 * 14 * 24;
    assert.equal(agedAt(from), 0);
    assert.equal(agedAt(14 * 24 + 1), 1_000);
    let most = 0;
    for (let hour = from; hour < 14 * 24; hour++) most = Math.max(most, agedAt(hour + 1) - agedAt(hour));
    assert.ok(most <= 40, `${most} within an hour; even would be 15`);
  });

  it("are replaced without the pool ever being below its floor, however many there are", async () => {
    configure({
      minReady: 30,
      maxTotal: 60,
      maxAgeMs: day,
      maxAgeJitter: 0.5,
      rollout: { ...pool().rollout, surge: 3 },
    });
    ready(30);
    const first = new Set(life.store.machines({ states: ["ready"] }).map(({ name }) => name));
    let least = Number.POSITIVE_INFINITY;
    let most = 0;
    for (let passed = 0; passed < 26 * 12; passed++) {
      await life.clock.advance(5 * minute);
      build();
      goOn();
      for (const { name } of life.store.machines({ states: ["retiring"] })) life.store.recordDestroyed(name);
      least = Math.min(least, readyCount());
      most = Math.max(most, readyCount());
    }
    assert.equal(least, 30);
    assert.ok(most <= 33, `${most}`);
    const left = life.store.machines({ states: ["ready"] }).filter(({ name }) => first.has(name));
    assert.ok(left.length <= 3, `${left.length} of the first are left`);
  });

  it("do not go for a machine that missed its last proof, nor while a person holds them", async () => {
    configure({ minReady: 1, maxTotal: 10, maxAgeMs: day, maxAgeJitter: 0 });
    const [old = assert.fail()] = ready(1);
    await life.clock.advance(day + 1);
    build();
    const [, next] = life.store.machines({ states: ["ready"] });
    const name = next?.name ?? assert.fail();
    life.store.changeMachine(name, "ready", { misses: 1 }, "test");
    await life.clock.advance(53 * minute);
    assert.deepEqual(goOn(), []);
    life.store.changeMachine(name, "ready", { misses: 0 }, "test");
    life.store.changeMachine(old, "ready", { withheld: true }, "test");
    assert.deepEqual(goOn(), []);
    life.store.changeMachine(old, "ready", { withheld: false }, "test");
    assert.deepEqual(goOn(), [old]);
  });

  it("stay where there is no room above the floor, and a person is told", async () => {
    configure({ minReady: 2, maxTotal: 2, maxAgeMs: day, maxAgeJitter: 0 });
    ready(2);
    await life.clock.advance(day + 1);
    assert.equal(build(), 0);
    assert.equal(replacement(life.store, pool(), life.clock.now()).aged.length, 2);
    const told = () => {
      raiseAlerts({ store: life.store, config: life.config, clock: life.clock, log: life.context.log });
      return life.store.flags().map(({ kind }) => kind);
    };
    assert.deepEqual(told(), ["cannot-replace"]);
    configure({ maxTotal: caps.maxTotal });
    assert.deepEqual(told(), []);
    assert.equal(build(), 1);
  });
});
