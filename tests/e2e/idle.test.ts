/**
 * Machines that serve and machines that wait, on process machines with the real daemon: heartbeats and repair, proofs that
 * are repeated, roll-outs. The times are configured shorter than anybody would.
 */
import { strict as assert } from "node:assert";
import type { Machine } from "../../pool/machine/machine.ts";
import type { ProcessBackend } from "../cloud/machines/process/backend.ts";
import { repairs } from "./trouble.ts";
import { type Bought, inOrder, startWorld, type World } from "./world.ts";

describe("machines that serve and that wait, on process machines", function () {
  this.timeout(180_000);
  let world: World;
  let served: readonly Bought[];
  let bad: Machine | undefined;

  before(async () => {
    world = await startWorld("process", {
      ...{ minReady: 2, maxTotal: 6, failurePause: "1s" },
      ...{ heartbeat: "5s", proof: { every: "1m", again: "1s" } },
    });
    await world.ready(2);
    served = [await world.pay(await world.order("first")), await world.pay(await world.order("second"))];
    for (const { id } of served) await world.rig.shop.follow(id, ["running"]);
    await world.ready(2);
    // One that waits goes bad; nobody can know before its next proof.
    [bad] = ready();
    await machines().crash(bad?.serverId ?? 0, "tailscaled");
  });
  after(() => world?.stop());
  inOrder(() => world);

  const machines = () => world.rig.cloud.backend as ProcessBackend;
  const ready = () => world.store.machines({ states: ["ready"] });
  const actionsOf = (subject: string) =>
    world.store.auditRows({ subject, limit: Number.MAX_SAFE_INTEGER }).map(({ action }) => action);
  const pool = "small-eu";

  it("sees that a customer's gateway is down, restarts it, and says when it is over", async () => {
    const [first] = served;
    assert(first);
    await repairs(world, first.id, "gateway");
    const { gateway_token: token } = await world.rig.shop.access(first.id);
    const view = await world.rig.shop.view(first.id);
    assert.equal(await world.customer.ask(view, token, "Are you back?"), "claw says: Are you back?");
  });

  it("sees that a customer's tailscaled is down, and restarts it", async () => {
    const [, second] = served;
    assert(second);
    await repairs(world, second.id, "tailscaled");
  });

  it("proves machines that wait again and again, and replaces one that misses two proofs", async () => {
    assert(bad);
    const { name } = bad;
    const [good] = ready().filter((machine) => machine.name !== name);
    assert(good);
    const proofs = (machine: Machine) =>
      actionsOf(machine.name).filter((action) => action === "machine.rehearsed").length;
    const before = proofs(good);
    await world.rig.until("the bad one is retired", async () =>
      ["retiring", "destroyed"].includes(world.store.machine(name)?.state ?? ""),
    );
    assert.match(world.store.machine(name)?.reason ?? "", /^missed two proofs/);
    await world.rig.until("the good one is proved again", async () => proofs(good) > before);
    await world.configure({ proof: { every: "4h", again: "1m" } });
    await world.ready(2);
    assert.equal(world.store.machine(good.name)?.state, "ready");
  });

  it("rolls another recipe out: one canary, then the others, never below the floor", async () => {
    const before = ready().map(({ name }) => name);
    const done = () => actionsOf(pool).filter((action) => action === "rollout.done").length;
    const earlier = done();
    let least = 2;
    await world.configure({ soak: "2s", vars: { clawpool_note: "second" } });
    await world.rig.until("the roll-out is done", async () => {
      const warm = world.store.machines({ states: ["ready", "proving"] }).filter(({ readyAt }) => readyAt);
      least = Math.min(least, warm.length);
      return done() > earlier && ready().length >= 2;
    });
    assert.equal(least, 2, "there were fewer ready machines than the pool keeps");
    assert.deepEqual(
      ready().filter(({ name }) => before.includes(name)),
      [],
    );
    assert.equal(new Set(ready().map(({ installed }) => installed?.recipe)).size, 1);
    const phases = actionsOf(pool).filter((action) => action.startsWith("rollout."));
    for (const phase of ["canary", "soaking", "rolling", "done"])
      assert(phases.includes(`rollout.${phase}`), phases.join());
    for (const { id } of served) assert.equal(world.store.machine(world.machineOf(id))?.state, "serving");
  });

  it("stops a roll-out whose machines cannot be built, and keeps those that are there", async () => {
    const before = ready().map(({ name }) => name);
    // The templates are not there: each play fails.
    await world.configure({ vars: { clawpool_note: "third", ansible_dir: "/nonexistent" } });
    await world.rig.until(
      "the roll-out has stopped",
      async () => world.store.rollout(pool)?.phase === "stopped",
    );
    assert.deepEqual(
      ready().map(({ name }) => name),
      before,
    );
    assert(world.store.flags().some(({ kind, subject }) => kind === "rollout-stopped" && subject === pool));
  });
});
