import { strict as assert } from "node:assert";
import { age, table } from "../../pool/cli/table.ts";
import type { OrderId } from "../../pool/machine/machine.ts";
import { poolStatus } from "../../pool/observe/status.ts";
import { RetryRefusedError } from "../../pool/order/retry.ts";
import { pauseRollout, resumeRollout } from "../../pool/refill/rollout.ts";
import { resume } from "../../pool/refill/stop.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { limits, makeReady, newOrder, pay } from "../store/rows.ts";
import { type AnsweredRig, answeredRig } from "./rig.ts";

describe("clawpool status, machines, orders", function () {
  // A process for each command: some seconds each on a busy machine.
  this.timeout(120_000);
  let rig: AnsweredRig;
  let life: Life;

  beforeEach(async () => {
    life = startLife();
    // The desk's own half is in tests/order/desk.test.ts.
    const retry = async (id: OrderId, actor: string) => {
      const { state } = life.store.order(id) ?? assert.fail();
      if (state !== "failed")
        throw new RetryRefusedError(`order ${id} is ${state}; only failed orders are started again`);
      return life.store.retryOrder(id, ["fsn1"], { actor }).order;
    };
    rig = await answeredRig({
      store: life.store,
      status: () => poolStatus(life.store, life.config, life.clock),
      desk: { retry, hold: () => assert.fail() },
      resume: (pool, actor) => resume({ store: life.store, config: () => life.config }, pool, actor),
      rollout: (action, pool, actor) =>
        (action === "pause" ? pauseRollout : resumeRollout)(
          { store: life.store, config: () => life.config, clock: life.clock },
          pool,
          actor,
        ),
    });
    makeReady(life.store, "claw-test-one");
    makeReady(life.store, "claw-test-two");
    life.store.createOrder(newOrder("o-1"));
    pay(life.store, "o-1");
  });
  afterEach(async () => {
    await rig.hangUp();
    life.store.close();
    rig.remove();
  });

  it("show the pools at a glance, and what needs a person", async () => {
    life.store.flag("unknown-server", "claw-test-stray", "it costs money");
    const { stdout, exitCode } = await rig.run("status");
    assert.equal(exitCode, 0);
    const [head, pool, ...rest] = stdout.split("\n");
    assert.match(head ?? "", /^POOL +PLAN +READY +LIVE +SERVING +QUEUED +BUILD +STATES$/);
    assert.match(
      pool ?? "",
      /^small +small +1\/3 +2\/10 +0 +0 +\S+ +1 (?:claimed|ready), 1 (?:claimed|ready)$/,
    );
    assert.match(rest.join("\n"), /Needs a person:\n {2}! unknown-server claw-test-stray: it costs money/);
  });

  it("show machines with their orders", async () => {
    const { stdout, exitCode } = await rig.run("machines");
    assert.equal(exitCode, 0);
    const lines = stdout.split("\n");
    assert.equal(lines.length, 3);
    assert.match(lines[0] ?? "", /^NAME +POOL +STATE +FOR +LOCATION +IP +ORDER$/);
    assert.ok(
      lines.some((line) => /^claw-test-\w+ +small +claimed +\S+ +fsn1 +192\.0\.2\.1 +o-1$/.test(line)),
    );
    assert.ok(lines.some((line) => /^claw-test-\w+ +small +ready +\S+ +fsn1 +192\.0\.2\.1 +-$/.test(line)));
  });

  it("show orders with their machines", async () => {
    const { stdout, exitCode } = await rig.run("orders");
    assert.equal(exitCode, 0);
    assert.match(stdout, /^o-1 +provisioning +\S+ +small +eu-central +claw-test-\w+$/m);
  });

  it("show orders page by page, and only those in a state", async () => {
    for (let n = 2; n <= 5; n++) {
      await life.clock.advance(1_000);
      life.store.createOrder(newOrder(`o-${n}`));
    }
    const ids = (text: string) => [...text.matchAll(/^o-\d/gm)].map(([id]) => id);
    const first = (await rig.run("orders", "--limit", "2")).stdout;
    assert.deepEqual(ids(first), ["o-5", "o-4"]);
    const [, cursor = ""] = /^More: --cursor (\S+)$/m.exec(first) ?? [];
    const rest = await rig.run("orders", "--cursor", cursor);
    assert.deepEqual(ids(rest.stdout), ["o-3", "o-2", "o-1"]);
    assert.doesNotMatch(rest.stdout, /More:/);
    assert.deepEqual(ids((await rig.run("orders", "--state", "provisioning")).stdout), ["o-1"]);
    const wrong = await rig.run("orders", "--state", "lost");
    assert.deepEqual([wrong.exitCode, wrong.stdout], [1, ""]);
    assert.match(wrong.stderr, /^clawpool: state: want some of awaiting-payment, /);
  });

  it("tell a failed order's whole story, and start it again in the name of whoever asks", async () => {
    const id = "o-1" as OrderId;
    const first = life.store.order(id)?.machine ?? assert.fail();
    const failure = {
      step: "handing-over",
      reason: "sshd hung up",
      failure: "permanent",
      run: "run-7",
      log: "one\ntwo",
    };
    life.store.recordHandOverFailure(first, failure, { ...limits, again: false });
    const { stdout } = await rig.run("orders", "show", id);
    assert.match(stdout, /^o-1: failed: sshd hung up$/m);
    assert.match(stdout, /! order-failed: order o-1: sshd hung up\. `clawpool orders show o-1`/);
    assert.match(
      stdout,
      /1\. \S+ claw-test-\w+, hand-over, while handing-over \(permanent\): sshd hung up$/m,
    );
    assert.match(stdout, /^ {6}run run-7\n {6}one\n {6}two$/m);
    assert.match(stdout, / stripe order.queued: paid$/m);
    const { attempts } = JSON.parse((await rig.run("orders", "show", id, "--json")).stdout);
    assert.equal(attempts[0].machine, first);
    assert.doesNotMatch(JSON.stringify(attempts) + stdout, /sk-customer|token-of-the-customer|pool-token/);

    const again = await rig.run("orders", "retry", id);
    assert.match(again.stdout, /^o-1 is provisioning on claw-test-\w+$/);
    const [row] = life.store.auditRows({ subject: id }).filter(({ why }) => why === "started again");
    assert.match(row?.actor ?? "", /^person:./);
    const paused = { reason: "paused", text: "a pause was requested" } as const;
    const second = life.store.order(id)?.machine ?? assert.fail();
    life.store.recordHandOverFailure(second, failure, { ...limits, again: false });
    life.store.recordStanding(id, { suspension: paused, overdueSince: null }, "test");
    const kept = await rig.run("orders", "retry", id);
    assert.equal(kept.stdout, "o-1 is queued, and not served: a pause was requested");
    const refused = await rig.run("orders", "retry", id);
    assert.deepEqual([refused.exitCode, refused.stdout], [1, ""]);
    assert.match(refused.stderr, /order o-1 is queued; only failed orders are started again/);
    assert.equal((await rig.run("orders", "show", "o-none")).exitCode, 1);
  });

  it("print the whole of it as JSON, without a secret", async () => {
    const json = async (command: string) => JSON.parse((await rig.run(command, "--json")).stdout);
    const status = await json("status");
    assert.equal(status.pools[0].claimable, 1);
    const machines = await json("machines");
    assert.deepEqual(machines.map((machine: { name: string }) => machine.name).sort(), [
      "claw-test-one",
      "claw-test-two",
    ]);
    const orders = await json("orders");
    assert.equal(orders.orders[0].id, "o-1");
    const all = JSON.stringify([status, machines, orders]);
    for (const secret of [
      "pool-token",
      "controller-key",
      "boot-host-key",
      "sk-customer",
      "token-of-the-customer",
    ])
      assert.ok(!all.includes(secret), secret);
  });

  it("show that and why refill is stopped, and the specimen; resume starts it again and says so", async () => {
    const name = makeReady(life.store, "claw-test-failed");
    life.store.changeMachine(name, "ready", { state: "failed", reason: "apt" }, "test");
    const specimen = { name, until: life.clock.now() + 1_000 };
    const stop = { reason: "5 builds failed", inputs: "i", specimen, text: "refill stopped" };
    life.store.stopRefill("small", stop);
    assert.match((await rig.run("status")).stdout, /^small: refill stopped: 5 builds failed$/m);
    assert.match((await rig.run("machines")).stdout, /^claw-test-failed +small +failed \(specimen\) /m);

    const wrong = await rig.run("resume", "smal");
    assert.equal(wrong.exitCode, 1);
    assert.equal(wrong.stderr, "clawpool: there is no pool smal; known: small");
    const { stdout, exitCode } = await rig.run("resume");
    assert.equal(exitCode, 0);
    assert.equal(
      stdout,
      "small: refill goes on; it was stopped: 5 builds failed\nclaw-test-failed is destroyed now",
    );
    assert.doesNotMatch((await rig.run("status")).stdout, /stopped/);
    const [row] = life.store
      .auditRows({ subject: "small" })
      .filter(({ action }) => action === "refill.resumed");
    assert.match(row?.actor ?? "", /^person:./);
    assert.equal((await rig.run("resume")).stdout, "No pool's refill is stopped.");
    assert.match(
      (await rig.run("resume", "small")).stdout,
      /was not stopped; its next build waits no longer/,
    );
  });

  it("show where a roll-out is, hold it, and let it go on", async () => {
    assert.equal((await rig.run("rollout", "pause")).stdout, "No pool has had a look at its content yet.");
    const now = life.clock.now();
    const [target, proven] = ["cx23 debian-12 recipe-2", "cx23 debian-12 recipe-1"];
    const stopped = {
      phase: "stopped",
      phaseSince: now,
      begunAt: now,
      countedFrom: now,
      reason: "apt",
    } as const;
    const rollout = { pool: "small", target, proven, ...stopped, paused: false, canary: null };
    life.store.putRollout(rollout, "roll-out stopped: apt");
    assert.match((await rig.run("status")).stdout, /^small: roll-out stopped, 0 to be replaced$/m);
    const { stdout } = await rig.run("rollout");
    assert.match(stdout, /^POOL +PHASE +FOR +NEW +STALE +CANARY +CONTENT$/m);
    assert.match(stdout, /^small +stopped +\S+ +\d +0 +- +cx23 debian-12 recipe-2$/m);
    assert.match(stdout, /^small: apt$/m);
    assert.equal((await rig.run("rollout", "pause", "small")).stdout, "small: paused; stopped");
    assert.equal((await rig.run("rollout", "pause")).stdout, "small: nothing to pause; stopped");
    assert.equal((await rig.run("rollout", "resume")).stdout, "small: resumed; canary");
    const wrong = await rig.run("rollout", "resume", "smal");
    assert.equal(wrong.stderr, "clawpool: there is no pool smal; known: small");
    assert.match(life.store.auditRows({ subject: "small" }).at(-1)?.actor ?? "", /^person:./);
  });

  it("say in one sentence that no daemon runs", async () => {
    await rig.hangUp();
    for (const command of ["status", "machines", "orders"]) {
      const { stdout, stderr, exitCode } = await rig.run(command);
      assert.equal(exitCode, 1);
      assert.equal(stdout, "");
      assert.equal(
        stderr,
        `clawpool: the daemon is not running; its socket would be ${rig.stateDir}/admin.sock. Start it with \`clawpool serve\``,
      );
    }
  });
});

describe("tables", () => {
  it("are as wide as the widest cell, without trailing space", () => {
    assert.equal(table(["A", "LONG"], [["abc", "-"]]), "A    LONG\nabc  -");
  });

  it("tell ages in the largest unit that still says something", () => {
    const now = 1_000_000_000_000;
    const ages = [-5, 0, 119, 120, 7_199, 7_200, 172_799, 172_800].map((seconds) =>
      age(now - seconds * 1_000, now),
    );
    assert.deepEqual(ages, ["0s", "0s", "119s", "2m", "120m", "2h", "48h", "2d"]);
  });
});
