/** Refill stops when builds fail too often, keeps one machine to look at, and goes on when somebody changed something. */
import { strict as assert } from "node:assert";
import type { Config } from "../../pool/config/config.ts";
import { reconcile } from "../../pool/machine/lifecycle.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { recipeSetting } from "../../pool/refill/content.ts";
import { resume, resumeChanged, UnknownPoolError } from "../../pool/refill/stop.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { configWith, failBuild } from "../sizing/rows.ts";
import { caps, newMachine, newOrder, pay } from "../store/rows.ts";

const hour = 3_600_000;

describe("a pool whose builds fail too often", () => {
  let life: Life;
  const look = (name: MachineName) => reconcile(name, life.context, new AbortController().signal);
  const row = (name: MachineName) => life.store.machine(name) ?? assert.fail();
  const flags = () => life.store.flags().map(({ kind, subject }) => `${kind} ${subject}`);
  const context = () => ({ ...life.context, config: () => life.config });

  beforeEach(() => {
    life = startLife();
    life.config = configWith({}, { run: 3, keepSpecimenMs: hour });
  });
  afterEach(() => life.store.close());

  /** So many builds fail, and each is looked at once. */
  async function fail(count: number, build: Parameters<typeof failBuild>[1] = {}): Promise<MachineName[]> {
    const names: MachineName[] = [];
    for (let i = 0; i < count; i++) {
      const name = failBuild(life.store, build);
      names.push(name);
      await look(name);
      await life.clock.advance(1_000);
    }
    return names;
  }

  it("is refilled no more, says so once, and keeps the last machine alone", async () => {
    const names = await fail(2);
    assert.equal(life.store.refill("small").stop, null);
    const [last] = (await fail(1)) as [MachineName];
    assert.deepEqual(
      names.map((name) => row(name).state),
      ["retiring", "retiring"],
    );
    const { state, specimenUntil, deadline } = row(last);
    assert.deepEqual([state, deadline], ["failed", null]);
    assert.equal(specimenUntil, life.clock.now() - 1_000 + hour);
    const { stop } = life.store.refill("small");
    assert.equal(stop?.specimen, last);
    assert.equal(stop?.reason, `3 builds failed one after another, the last, ${last}: no such package`);

    const [next] = (await fail(1)) as [MachineName];
    assert.equal(row(next).state, "retiring", "one is enough");
    assert.deepEqual(flags(), ["refill-stopped small"]);
    const told = life.store.auditRows({ subject: "small" }).map(({ action }) => action);
    assert.deepEqual(told, ["refill.stopped", "flag.refill-stopped"]);
  });

  it("keeps the specimen for its time, through a restart, and then lets it go", async () => {
    const [name] = (await fail(3)).slice(-1) as [MachineName];
    for (let looks = 0; looks < 3; looks++) {
      const { againInMs } = await look(name);
      assert.ok(againInMs > 0 && againInMs <= 10_000);
      assert.equal(row(name).state, "failed");
    }
    await life.clock.advance(hour);
    await look(name);
    assert.equal(row(name).state, "retiring");
    assert.notEqual(life.store.refill("small").stop, null, "refill is still stopped");
  });

  it("lets a specimen go whose stop was lost with the database", async () => {
    const [name] = (await fail(3)).slice(-1) as [MachineName];
    life.store.resumeRefill("small", "another database knows of no stop");
    const specimenUntil = life.clock.now() + hour;
    life.store.changeMachine(name, "failed", { specimenUntil }, "as its record says");
    await look(name);
    assert.equal(row(name).state, "retiring");
  });

  it("keeps no machine that has no server, but the first after it that has one", async () => {
    const names = await fail(3, { serverId: null });
    assert.deepEqual(
      names.map((name) => row(name).state),
      ["retiring", "retiring", "retiring"],
    );
    assert.notEqual(life.store.refill("small").stop, null);
    const later = await fail(2);
    assert.deepEqual(
      later.map((name) => row(name).state),
      ["failed", "retiring"],
    );
  });

  it("keeps none where none is wanted", async () => {
    life.config = configWith({}, { run: 1, keepSpecimenMs: 0 });
    const [name] = (await fail(1)) as [MachineName];
    assert.equal(row(name).state, "retiring");
    assert.equal(life.store.refill("small").stop?.specimen, null);
  });

  it("is not stopped for want of capacity", async () => {
    await fail(6, { failure: "capacity", serverId: null });
    assert.equal(life.store.refill("small").stop, null);
  });

  it("does not begin what was planned before, unless somebody waits for it", async () => {
    const planned = ["claw-test-p1", "claw-test-p2"].map((name) => {
      const deadline = life.clock.now() + hour;
      const key = generateKeyPair().privateKey.expose();
      const secrets = { controllerKey: key, bootHostKey: key, poolToken: "pool-token" };
      const machine = life.store.planMachine(newMachine(name, { deadline, secrets }), caps) ?? assert.fail();
      life.store.changeMachine(machine.name, "planned", { state: "creating" }, "test");
      return machine.name;
    });
    await fail(3);
    life.store.createOrder(newOrder("o-1"));
    assert.equal(pay(life.store, "o-1").kind, "queued");
    for (const name of planned) await look(name);
    assert.deepEqual(
      planned.map((name) => row(name).state),
      ["retiring", "creating"],
    );
    assert.deepEqual(life.terraform.calls, ["apply claw-test-p2 fsn1"]);
  });

  it("is refilled again when a person resumes it: the pause, the flag and the specimen are gone", async () => {
    const [name] = (await fail(3)).slice(-1) as [MachineName];
    const [resumed] = resume(context(), null, "person:ada");
    assert.deepEqual(resumed?.specimens, [name]);
    assert.match(resumed?.stopped ?? "", /3 builds failed/);
    assert.equal(life.store.refill("small").stop, null);
    assert.deepEqual(flags(), []);
    await look(name);
    assert.equal(row(name).state, "retiring");
    const rows = life.store.auditRows({ limit: 100 }).filter(({ actor }) => actor === "person:ada");
    assert.deepEqual(
      rows.map(({ action, subject }) => `${action} ${subject}`),
      ["refill.resumed small", `machine.changed ${name}`, "flag.refill-stopped.cleared small"],
    );
    assert.deepEqual(resume(context(), null, "person:ada"), []);
    await fail(2);
    assert.equal(life.store.refill("small").stop, null, "earlier failures are forgotten");
    await fail(1);
    assert.notEqual(life.store.refill("small").stop, null);
  });

  it("is not resumed by a name that there is not", () => {
    assert.throws(() => resume(context(), "smal", "person:ada"), UnknownPoolError);
  });

  const changes: readonly [what: string, change: (life: Life) => void][] = [
    ["another image", (l) => Object.assign(l, { config: withPool(l.config, { image: "debian-13" }) })],
    ["another server type", (l) => Object.assign(l, { config: withPool(l.config, { serverType: "cx33" }) })],
    ["other locations", (l) => Object.assign(l, { config: withPool(l.config, { locations: ["hel1"] }) })],
    ["another playbook's text", (l) => l.store.putSetting(recipeSetting, "other")],
    ["no such pool any more", (l) => Object.assign(l, { config: { ...l.config, pools: [] } })],
  ];
  const withPool = (config: Config, change: object): Config => ({
    ...config,
    pools: config.pools.map((pool) => ({ ...pool, ...change })),
  });
  for (const [what, change] of changes) {
    it(`is refilled again by itself with ${what}`, async () => {
      life.store.putSetting(recipeSetting, "recipe");
      const [name] = (await fail(3)).slice(-1) as [MachineName];
      life.config = withPool(life.config, { minReady: 1, maxAgeMs: 1 });
      assert.deepEqual(resumeChanged(context()), [], "nothing that machines are built from");
      change(life);
      assert.deepEqual(resumeChanged(context()), [name]);
      assert.deepEqual(resumeChanged(context()), []);
      assert.deepEqual(flags(), []);
      await look(name);
      assert.equal(row(name).state, "retiring");
    });
  }
});
