/**
 * The daemon's process on the local cloud: its database is lost while it has machines of every kind, and signals come in the
 * middle of terraform, of a hand-over, of webhooks. Nothing is bought twice, nothing of a customer is lost.
 */
import { strict as assert } from "node:assert";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import type { RecoveryStatus } from "../../pool/recovery/findings.ts";
import { clawpoolArgs } from "../cloud/daemon-process.ts";
import { type Rig, startRig } from "./rig.ts";

describe("a daemon that is stopped, and one that has lost its database", function () {
  this.timeout(240_000);
  let rig: Rig;
  let served: Awaited<ReturnType<Rig["serve"]>>;

  before(async () => {
    rig = await startRig("process", { minReady: 1, maxTotal: 8 });
    await ready(1);
  });
  after(() => rig?.stop());

  const ready = (count: number) =>
    rig.until(`${count} machines are ready`, async () => {
      const found = (await rig.machines()).filter((machine) => machine.state === "ready");
      return found.length === count && found;
    });
  const clawpool = (...args: string[]) =>
    execa(process.execPath, clawpoolArgs(rig.operator.configFile, ...args), { reject: false, all: true });
  const bought = () =>
    rig.cloud.hetzner
      .bill()
      .lines.filter(({ kind }) => kind === "server")
      .map(({ name, ended }) => `${name} ${ended === null ? "lives" : "is gone"}`)
      .sort();

  it("finishes a hand-over on the first signal, and ends with 0", async () => {
    const { id, checkout_session: session } = await rig.shop.order();
    // Stripe's answer is held, so that the hand-over is under way when the signal comes.
    const answer = rig.cloud.stripe.console.hold(`GET /v1/checkout/sessions/${session}`);
    const { subscription, sent } = rig.cloud.stripe.console.buy(session ?? "");
    await sent;
    for await (const event of rig.shop.events(id)) if (event.type === "step") break;
    const ended = rig.daemon.stop();
    answer();
    assert.equal(await ended, 0);
    await rig.restart();
    const view = await rig.shop.view(id);
    assert.equal(view.state, "running");
    served = { order: id, machine: view.machine?.name ?? "", subscription: subscription.id };
  });

  it("leaves at once on the second signal, in the middle of terraform, and buys no second server", async () => {
    const { faults } = rig.cloud.hetzner;
    faults.add({ method: "POST", path: "/servers", effect: { kind: "delay", ms: 8_000 } });
    await rig.cloud.writeConfig({ minReady: 2, maxTotal: 8 });
    await rig.until("a machine is being bought", async () =>
      (await rig.machines()).some(({ state }) => state === "creating"),
    );
    const ended = rig.daemon.stop();
    // Another signal than the first: two of one kind may arrive as one.
    process.kill(rig.daemon.pid, "SIGINT");
    assert.equal(await ended, 75);
    faults.clear();
    await rig.restart();
    await ready(2);
    const names = bought().map((line) => line.split(" ")[0]);
    assert.deepEqual(names, [...new Set(names)], "a server was bought twice");
  });

  it("keeps every webhook of a burst that it acknowledged before it went", async () => {
    const { console: desk } = rig.cloud.stripe;
    const orders = await Promise.all(Array.from({ length: 3 }, () => rig.shop.order()));
    const sent = orders.map(({ checkout_session: session }) => desk.buy(session ?? "").sent);
    const ended = rig.daemon.stop();
    assert.equal(await ended, 0);
    await rig.restart();
    await Promise.allSettled(sent);
    await clawpool("reconcile", "stripe");
    for (const { id } of orders) await rig.shop.follow(id, ["running"]);
    await ready(2);
  });

  it("starts and serves though what all machines share cannot be changed, and says so", async () => {
    const { faults } = rig.cloud.hetzner;
    const told = async () => (await clawpool("status")).all ?? "";
    await rig.daemon.stop();
    faults.add({
      method: "POST",
      path: "/placement_groups",
      times: 1_000,
      effect: { kind: "error", code: "resource_limit_exceeded" },
    });
    // Another group is needed for more than ten.
    await rig.cloud.writeConfig({ minReady: 2, maxTotal: 12 });
    await rig.restart();
    const { id, checkout_session: session } = await rig.shop.order();
    await rig.cloud.stripe.console.buy(session ?? "").sent;
    await rig.shop.follow(id, ["running"]);
    assert.match(await told(), /what all machines share .* could not be brought about/);
    faults.clear();
    await rig.daemon.stop();
    await rig.restart();
    assert.doesNotMatch(await told(), /could not be brought about/);
    await ready(2);
  });

  it("does not begin anew when its database is gone, and says what to do", async () => {
    await rig.cloud.writeConfig({ minReady: 3, maxTotal: 12 });
    await rig.until("one more is half built", async () =>
      (await rig.machines()).some(({ state }) => ["booting", "preparing", "proving"].includes(state)),
    );
    await rig.daemon.kill();
    for (const suffix of ["", "-wal", "-shm"])
      rmSync(join(rig.operator.stateDir, `clawpool.sqlite${suffix}`), { force: true });
    const { exitCode, all } = await clawpool("serve");
    assert.equal(exitCode, 78);
    assert.match(all ?? "", /the store .* is missing, but this is no new installation.*clawpool recover/);
  });

  it("rebuilds it, goes on where it was once a person says so, and buys and destroys nothing for it", async () => {
    const before = bought();
    const { exitCode, all } = await clawpool("recover");
    assert.equal(exitCode, 0, all);
    assert.match(all ?? "", /In quarantine since .*: the database was lost\./);
    assert.match(all ?? "", new RegExp(`${served.machine} +serving .*sure`));
    await rig.restart();
    const status = await rig.ask<RecoveryStatus>("GET", "/recovery");
    assert.equal(status.machines.length, before.filter((line) => line.endsWith("lives")).length);
    assert.deepEqual(
      status.machines.filter(({ sure }) => !sure),
      [],
    );
    const waiting = await rig.shop.order();
    await rig.cloud.stripe.console.buy(waiting.checkout_session ?? "").sent;
    assert.equal((await rig.shop.view(waiting.id)).state, "queued", "nothing is claimed meanwhile");
    assert.deepEqual(bought(), before);

    const released = await clawpool("recover", "release", "--all");
    assert.match(released.all ?? "", /The quarantine is over\./);
    await rig.shop.follow(waiting.id, ["running"]);
    await ready(3);
    assert.equal((await rig.shop.view(served.order)).state, "running");
    const { gateway_token: token } = await rig.shop.access(served.order);
    assert.match(token, /^[\w-]{40,}$/);
    const after = bought();
    for (const line of before) assert(after.includes(line), `${line}, and now: ${after.join(", ")}`);
    const names = after.map((line) => line.split(" ")[0]);
    assert.deepEqual(names, [...new Set(names)], "a server was bought twice");
    // One more than before: for the customer who came meanwhile.
    assert.equal(after.length, before.length + 1);
    assert.equal((await clawpool("audit", "verify")).exitCode, 0);
  });
});
