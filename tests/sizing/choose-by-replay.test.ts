/** What own history chooses for an asked share: when, what is kept of it, and what comes of it. */
import { strict as assert } from "node:assert";
import { pino } from "pino";
import type { PoolConfig, SizingConfig } from "../../pool/config/config.ts";
import { Releasers } from "../../pool/releasers.ts";
import {
  type ChoiceRequest,
  choiceOf,
  createChooser,
} from "../../pool/sizing/background/choose-by-replay.ts";
import { chooseInBackground } from "../../pool/sizing/background/choose-in-background.ts";
import { planOf } from "../../pool/sizing/explain.ts";
import { keptChoice } from "../../pool/sizing/kept-choice.ts";
import type { Choice } from "../../pool/sizing/replay/choice.ts";
import { createSizer } from "../../pool/sizing/sizer.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { caps, endBuild, newMachine, newOrder, pay } from "../store/rows.ts";

const hour = 3_600_000;
const day = 24 * hour;
const log = pino({ level: "silent" });

describe("the choice for an asked share", function () {
  this.timeout(20_000);
  let life: Life;
  let orders: number;
  let asked: ChoiceRequest[];
  let told: number;
  let answer: (request: ChoiceRequest) => Promise<Choice | null>;
  const pool = (): PoolConfig => life.config.pools[0] ?? assert.fail();
  const configure = (change: Partial<PoolConfig> = {}, hitShare = 0.9) => {
    const common = { timeZone: "UTC", campaigns: [], floors: [] };
    const sizing: SizingConfig = { ...common, policy: "adaptive", goal: { hitShare }, holdMs: 0 };
    life.config = { ...life.config, pools: [{ ...pool(), minReady: 0, maxReady: 5, sizing, ...change }] };
  };
  /** A daemon's life: what it remembers beside the store begins anew. */
  const start = () =>
    createChooser({
      ...{ store: life.store, config: () => life.config, clock: life.clock, log },
      choose: async (request) => {
        asked.push(request);
        return answer(request);
      },
      onChoice: () => told++,
    });
  const sizer = () => createSizer({ store: life.store, config: () => life.config, clock: life.clock });
  const plan = () => planOf(pool(), { ...life, sizer: sizer() });
  /** Somebody pays every six hours. */
  const lives = async (days: number) => {
    for (let passed = 0; passed < days; passed += 0.25) {
      const id = `o-${++orders}`;
      life.store.createOrder(newOrder(id));
      pay(life.store, id);
      await life.clock.advance(6 * hour);
    }
  };
  const audited = () => life.store.auditRows({}).filter(({ action }) => action === "sizing.chosen");

  beforeEach(() => {
    life = startLife();
    [orders, told, asked] = [0, 0, []];
    answer = async (request) => choiceOf(request);
    configure();
  });
  afterEach(() => life.store.close());

  it("is what proves the share for the fewest hours, and sizes the pool, also after a restart", async () => {
    assert.match(plan().words.join("\n"), /^Own history was not replayed yet; the price is found by own/m);
    await lives(40);
    await start()();
    const kept = keptChoice(life.store, pool()) ?? assert.fail();
    assert.ok(kept.policy && kept.claims > 150 && (kept.atLeast ?? 0) >= 0.9, JSON.stringify(kept));
    assert.equal(told, 1);
    const [row] = audited();
    assert.deepEqual([row?.subject, row?.why, row?.detail.claims], [pool().name, kept.why, kept.claims]);
    assert.equal(row?.detail.atLeast, kept.atLeast);
    const { choice, words } = plan();
    assert.deepEqual(choice?.policy, kept.policy);
    assert.match(words.join("\n"), /^Chosen by a replay of own history: .* 95 % sure at least 9\d/m);
    const { why } = sizer().decide(pool()).wanted;
    assert.equal(why.kind === "priced" ? "adaptive" : why.kind, kept.policy.kind);
    if (why.kind === "priced" && kept.policy.kind === "adaptive")
      assert.equal(why.worthHours, kept.policy.worthHours);
  });

  it("is a fixed number where that is what proves it", async () => {
    await lives(30);
    answer = async (request) => {
      const { hitShare } = request;
      const setting = { kind: "static", ready: 4 } as const;
      const trial = { claims: 120, misses: 0, hitShare: 1, atLeast: 0.97, idlePerClaim: 1, paidHours: 9 };
      return { hitShare, claims: 120, chosen: { setting, ...trial }, bestStatic: null, why: "static 4: all" };
    };
    const running = sizer();
    const before = running.target(pool()).target;
    await start()();
    assert.deepEqual(
      [before === 4, running.target(pool()).target, sizer().target(pool()).target],
      [false, 4, 4],
    );
    assert.match(plan().words.join("\n"), /^It keeps 4, as chosen\.$/m);
    configure({ maxReady: 3 });
    assert.equal(keptChoice(life.store, pool()), null);
    assert.equal(running.decide(pool()).wanted.why.kind, "priced");
  });

  it("comes once a day, at a start only when the last is older, and at once for another configuration", async () => {
    const running = start();
    await running();
    await running();
    await start()();
    assert.equal(asked.length, 1);
    await life.clock.advance(day - 1);
    await running();
    assert.equal(asked.length, 1);
    await life.clock.advance(1);
    await Promise.all([running(), running()]);
    assert.equal(asked.length, 2);
    configure({}, 0.95);
    await running();
    assert.deepEqual(
      asked.map(({ hitShare }) => hitShare),
      [0.9, 0.9, 0.95],
    );
    configure({ sizing: { ...pool().sizing, policy: "static", ready: 2 } });
    await life.clock.advance(2 * day);
    await running();
    assert.equal(asked.length, 3);
    assert.equal(audited().length, 3);
  });

  it("comes again, once an hour at most, when builds take half as long again", async () => {
    const running = start();
    const build = async (name: string, minutes: number) => {
      const plan = newMachine(name, { pool: pool().name });
      const machine = life.store.planMachine(plan, caps) ?? assert.fail();
      await life.clock.advance(minutes * 60_000);
      endBuild(life.store, machine.name);
    };
    await running();
    // Five minutes were assumed.
    await build("claw-test-a", 7);
    await life.clock.advance(hour);
    await running();
    assert.equal(asked.length, 1);
    await build("claw-test-b", 10);
    await running();
    assert.equal(asked.length, 2);
    await build("claw-test-c", 50);
    await running();
    assert.equal(asked.length, 2);
    await life.clock.advance(hour);
    await running();
    assert.equal(asked.length, 3);
  });

  it("is none where the history is too short, and the plan says what is missing", async () => {
    await start()();
    assert.match(plan().words.join("\n"), /chose nothing: 0 days are too short a history to promise 90 %/);
    configure({}, 0.999);
    await lives(31);
    await start()();
    assert.equal(keptChoice(life.store, pool())?.policy, null);
    assert.match(
      plan().words.join("\n"),
      /chose nothing: 1\d\d claims in 30 days are too few to promise 99\.9 %: .* it takes 2995\. The price is found by own/,
    );
    assert.equal(sizer().decide(pool()).wanted.why.kind, "priced");
    assert.equal(told, 0);
  });

  it("that fails leaves what was, and is tried again an hour later", async () => {
    answer = async () => assert.fail("out of memory");
    const running = start();
    await running();
    await running();
    assert.equal(asked.length, 1);
    assert.equal(keptChoice(life.store, pool()), null);
    answer = async () => null;
    await life.clock.advance(hour);
    await running();
    assert.deepEqual([asked.length, audited().length], [2, 0]);
  });

  it("is the same in a thread of its own, which can be stopped", async () => {
    await lives(32);
    await start()();
    const [request] = asked;
    assert.ok(request);
    const releasers = new Releasers();
    const inThread = chooseInBackground(releasers);
    try {
      assert.deepEqual(await inThread(request), choiceOf(request));
      const stopped = inThread(request);
      await releasers.release(log);
      assert.equal(await stopped, null);
    } finally {
      await releasers.release(log);
    }
  });
});
