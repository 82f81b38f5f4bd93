/** Roll-outs: one machine first, then the others, and an end to it when it goes wrong. */
import { strict as assert } from "node:assert";
import type { PoolConfig } from "../../pool/config/config.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { recipeSetting } from "../../pool/refill/content.ts";
import { refill, trim } from "../../pool/refill/refill.ts";
import { advanceRollouts, isCanaryDue, pauseRollout, resumeRollout } from "../../pool/refill/rollout.ts";
import { UnknownPoolError } from "../../pool/refill/stop.ts";
import type { MachineChange } from "../../pool/store/store.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { endBuild, makeReady, newOrder, pay } from "../store/rows.ts";

const minute = 60_000;

describe("roll-outs", () => {
  let life: Life;
  let made: number;
  const pool = (): PoolConfig => life.config.pools[0] ?? assert.fail();
  const context = () => ({ ...life.context, config: () => life.config });
  const row = () => life.store.rollout("small") ?? assert.fail("no roll-out");
  const phase = () => row().phase;
  const change = (name: MachineName, what: MachineChange) => {
    const { state } = life.store.machine(name) ?? assert.fail(name);
    life.store.changeMachine(name, state, what, "test");
  };
  const ready = (recipe: string): MachineName => {
    const name = makeReady(life.store, `claw-test-n${++made}`);
    change(name, { installed: { recipe }, provedAt: life.clock.now() });
    return name;
  };
  /** As the loop's round does. @returns names of what is to be built, and of what goes. */
  const round = () => {
    advanceRollouts(context());
    const gone = trim(life.store, life.config, life.clock.now()).map(({ name }) => name);
    const planned = refill(life.store, life.config, life.clock).map(({ name }) => name);
    return { planned, gone };
  };
  const build = (name: MachineName, recipe: string) => {
    endBuild(life.store, name);
    change(name, { installed: { recipe }, provedAt: life.clock.now() });
  };
  /** Three machines wait, the content changes, and the first of it is ready. @returns its name */
  const beginWithCanary = (): MachineName => {
    for (let count = 0; count < 3; count++) ready("r1");
    round();
    life.store.putSetting(recipeSetting, "r2");
    const [canary = assert.fail()] = round().planned;
    build(canary, "r2");
    round();
    return canary;
  };
  const fail = (name: MachineName) =>
    change(name, { state: "failed", failure: "permanent", reason: "no such package" });
  /** The soak is over and the canary was proved again. */
  const last = async () => {
    await life.clock.advance(pool().rollout.soakMs);
    const canary = row().canary ?? assert.fail("no canary");
    assert.ok(isCanaryDue(life.store.machine(canary) ?? assert.fail(), pool(), row(), life.clock.now()));
    change(canary, { provedAt: life.clock.now() });
  };

  beforeEach(() => {
    life = startLife();
    made = 0;
    const rollout = { ...pool().rollout, surge: 1 };
    life.config = { ...life.config, pools: [{ ...pool(), minReady: 3, maxTotal: 10, rollout }] };
    life.store.putSetting(recipeSetting, "r1");
  });
  afterEach(() => life.store.close());

  it("are none where nothing is of other content, and wait until the recipe was read", () => {
    life.store.putSetting(recipeSetting, "r1");
    ready("r1");
    makeReady(life.store, "claw-test-unknown");
    advanceRollouts(context());
    assert.equal(phase(), "done");
    assert.equal(row().proven, "cx23 debian-12 r1");
  });

  it("build one machine first, prove it, let it last, prove it again; then the others go one by one", async () => {
    const old = [ready("r1"), ready("r1"), ready("r1")];
    assert.deepEqual(round(), { planned: [], gone: [] });
    life.store.putSetting(recipeSetting, "r2");
    const first = round();
    assert.equal(phase(), "canary");
    assert.equal(first.planned.length, 1);
    assert.deepEqual(round(), { planned: [], gone: [] });
    const [canary = assert.fail()] = first.planned;
    build(canary, "r2");
    assert.deepEqual(round(), { planned: [], gone: [] });
    assert.deepEqual([phase(), row().canary], ["soaking", canary]);
    await life.clock.advance(pool().rollout.soakMs);
    assert.deepEqual(round(), { planned: [], gone: [] }, "it was not proved again yet");
    change(canary, { provedAt: life.clock.now() });
    const gone: string[] = [];
    for (let step = 0; phase() !== "done"; step++) {
      assert.ok(step < 10);
      const went = round();
      gone.push(...went.gone);
      assert.ok(went.gone.length <= 1 && went.planned.length <= 1);
      for (const name of went.planned) build(name, "r2");
      assert.ok(life.store.machines({ states: ["ready"] }).length >= 3);
    }
    assert.deepEqual(gone.sort(), [...old].sort());
    const left = life.store.machines({ states: ["ready"] });
    assert.deepEqual(
      left.map(({ installed }) => installed?.recipe),
      ["r2", "r2", "r2"],
    );
    assert.equal(row().proven, "cx23 debian-12 r2");
  });

  it("take a machine for their canary that was planned before they began", async () => {
    ready("r1");
    ready("r1");
    const [planned = assert.fail()] = round().planned;
    await life.clock.advance(minute);
    life.store.putSetting(recipeSetting, "r2");
    assert.deepEqual(round().planned, [], "one of the content is on its way");
    await life.clock.advance(minute);
    build(planned, "r2");
    round();
    assert.deepEqual([phase(), row().canary], ["soaking", planned]);
  });

  it("are not held up where every ready machine has the content before a canary is known", async () => {
    for (let count = 0; count < 3; count++) ready("r1");
    round();
    life.store.putSetting(recipeSetting, "r2");
    round();
    for (const { name } of life.store.machines({ states: ["ready"] }))
      change(name, { installed: { recipe: "r2" } });
    await life.clock.advance(minute);
    life.store.putRollout({ ...row(), countedFrom: life.clock.now() }, "test");
    round();
    assert.equal(phase(), "soaking");
  });

  it("take one that has the content already where so many are ready that no other will be built", async () => {
    life.config = { ...life.config, pools: [{ ...pool(), minReady: 2 }] };
    const content = ["r2", "r1", "r1"].map(ready);
    round();
    life.store.putRollout({ ...row(), proven: "cx23 debian-12 r1", phase: "done" }, "test");
    await life.clock.advance(minute);
    life.store.putSetting(recipeSetting, "r2");
    for (let rounds = 0; rounds < 2; rounds++) {
      assert.deepEqual(round(), { planned: [], gone: [] });
      assert.equal(phase(), "canary", "the refill may still build one");
    }
    await life.clock.advance(minute);
    round();
    assert.deepEqual([phase(), row().canary], ["soaking", content[0]]);
  });

  it("build their canary also when min_ready became smaller just then", () => {
    for (let count = 0; count < 3; count++) ready("r1");
    round();
    life.config = { ...life.config, pools: [{ ...pool(), minReady: 2 }] };
    life.store.putSetting(recipeSetting, "r2");
    assert.equal(round().gone.length, 1);
    assert.equal(round().planned.length + life.store.machines({ states: ["planned"] }).length, 1);
  });

  it("begin as well when the pool's server type or image changes", () => {
    ready("r1");
    round();
    life.config = { ...life.config, pools: [{ ...pool(), serverType: "cx33" }] };
    round();
    assert.deepEqual([phase(), row().target], ["canary", "cx33 debian-12 r1"]);
  });

  it("stop when builds fail one after another, say why once, and leave what is ready", async () => {
    const old = [ready("r1"), ready("r1"), ready("r1")];
    round();
    life.store.putSetting(recipeSetting, "r2");
    await life.clock.advance(minute);
    for (let failed = 0; failed < 2; failed++) {
      const [name = assert.fail("no build")] = round().planned;
      fail(name);
      await life.clock.advance(30 * minute);
    }
    assert.deepEqual(round(), { planned: [], gone: [] });
    assert.equal(phase(), "stopped");
    assert.match(
      row().reason ?? "",
      /^2 builds failed one after another, the last, claw-\S+: no such package$/,
    );
    round();
    const flags = life.store.flags().filter(({ kind }) => kind === "rollout-stopped");
    assert.equal(flags.length, 1);
    assert.match(flags[0]?.text ?? "", /clawpool rollout resume small/);
    const told = life.store
      .auditRows({ subject: "small" })
      .filter(({ action }) => action === "rollout.stopped");
    assert.equal(told.length, 1);
    assert.deepEqual(
      life.store
        .machines({ states: ["ready"] })
        .map(({ name }) => name)
        .sort(),
      [...old].sort(),
    );
  });

  it("stop when the first machine goes bad before it has lasted", async () => {
    ready("r1");
    ready("r1");
    ready("r1");
    round();
    life.store.putSetting(recipeSetting, "r2");
    const [canary = assert.fail()] = round().planned;
    build(canary, "r2");
    round();
    await life.clock.advance(pool().rollout.soakMs);
    change(canary, { misses: 1 });
    round();
    assert.equal(phase(), "soaking", "one miss is not the end");
    change(canary, { state: "retiring", misses: 2, reason: "missed two proofs" });
    assert.deepEqual(round(), { planned: [], gone: [] });
    assert.equal(phase(), "stopped");
    assert.match(row().reason ?? "", /went bad: missed two proofs/);
  });

  it("begin anew with a canary when a person resumes, or with another recipe", async () => {
    for (let count = 0; count < 3; count++) ready("r1");
    round();
    life.store.putSetting(recipeSetting, "r2");
    round();
    const stop = () => life.store.putRollout({ ...row(), phase: "stopped", reason: "apt" }, "stopped");
    stop();
    assert.deepEqual(resumeRollout(context(), null, "person:ada"), [
      { pool: "small", phase: "canary", changed: true },
    ]);
    assert.deepEqual(life.store.flags(), []);
    stop();
    life.store.putSetting(recipeSetting, "r3");
    round();
    assert.deepEqual([phase(), row().target], ["canary", "cx23 debian-12 r3"]);
    life.store.putSetting(recipeSetting, "r1");
    round();
    assert.equal(phase(), "done", "back to what is proven and ready needs no canary");
    assert.throws(() => resumeRollout(context(), "smal", "person:ada"), UnknownPoolError);
  });

  it("do nothing while a person holds them, also those that begin later", async () => {
    for (let count = 0; count < 3; count++) ready("r1");
    round();
    life.store.putSetting(recipeSetting, "r2");
    const [canary = assert.fail()] = round().planned;
    pauseRollout(context(), "small", "person:ada");
    build(canary, "r2");
    await life.clock.advance(60 * minute);
    assert.deepEqual(round(), { planned: [], gone: [] }, "nor is the fourth machine a surplus");
    assert.equal(phase(), "canary");
    life.store.putSetting(recipeSetting, "r3");
    round();
    assert.equal(row().paused, true);
    assert.deepEqual(pauseRollout(context(), "small", "person:ada"), [
      { pool: "small", phase: "canary", changed: false },
    ]);
    life.store.putSetting(recipeSetting, "r2");
    round();
    resumeRollout(context(), "small", "person:ada");
    round();
    assert.equal(phase(), "canary");
  });

  it("let a canary that was sold last with its customer, and never touch what has an order", async () => {
    const canary = beginWithCanary();
    const claimed: string[] = [];
    for (let order = 0; order < 4; order++) {
      life.store.createOrder(newOrder(`o-${order}`));
      const paid = pay(life.store, `o-${order}`);
      claimed.push(paid.kind === "claimed" ? paid.machine.name : paid.kind);
    }
    assert.equal(claimed.at(-1), canary, "what is proven first");
    change(canary, { state: "handing-over" });
    const others = round().planned;
    assert.equal(phase(), "soaking");
    assert.equal(others.length, 1, "content that nothing has lasted with is built one at a time");
    life.store.recordServing(canary, { tailnetNode: null, tailnetAddress: null });
    await life.clock.advance(pool().rollout.soakMs - 1);
    round();
    assert.equal(phase(), "soaking");
    await life.clock.advance(1);
    round();
    assert.ok(["rolling", "done"].includes(phase()));
    for (const name of claimed)
      assert.ok(["claimed", "serving"].includes(life.store.machine(name as MachineName)?.state ?? ""), name);
  });

  it("take another canary when the customer of the first one is not served well", async () => {
    const canary = beginWithCanary();
    for (let order = 0; order < 4; order++) {
      life.store.createOrder(newOrder(`o-${order}`));
      pay(life.store, `o-${order}`);
    }
    change(canary, { state: "handing-over" });
    life.store.recordServing(canary, { tailnetNode: null, tailnetAddress: null });
    const since = life.clock.now();
    const ill = {
      machine: canary,
      state: "degraded",
      since,
      misses: 3,
      reason: "the unit is failed",
    } as const;
    life.store.putHealth({ ...ill, repairs: [], told: false }, "its unit failed");
    const [next = assert.fail()] = round().planned;
    assert.deepEqual([phase(), row().canary], ["soaking", canary], "it may get well");
    await life.clock.advance(pool().rollout.soakMs);
    round();
    assert.deepEqual([phase(), row().canary], ["canary", null]);
    build(next, "r2");
    round();
    assert.deepEqual([phase(), row().canary], ["soaking", next]);
  });

  it("take another canary when the first one went for a reason of its own", async () => {
    const canary = beginWithCanary();
    change(canary, { state: "retiring", reason: "a person's command" });
    const { planned } = round();
    assert.equal(phase(), "canary");
    assert.equal(planned.length, 1);
    build(planned[0] ?? assert.fail(), "r2");
    round();
    await last();
    round();
    assert.equal(phase(), "rolling");
  });
});
