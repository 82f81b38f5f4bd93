/**
 * What goes wrong is what gets printed: terraform that fails, a task of the playbook that fails with a secret in its
 * arguments, a hand-over that fails with the customer's secrets in its hands. None of them tells one. (What goes well is
 * searched at the end of each whole way.)
 */
import { strict as assert } from "node:assert";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Machine } from "../../pool/machine/machine.ts";
import { assertNothingTold, assertProcessesTellNothing } from "./artefacts.ts";
import { inOrder, startWorld, statesOf, type World } from "./world.ts";

describe("failures on process machines", function () {
  this.timeout(120_000);
  let world: World;

  before(async () => {
    world = await startWorld("process", { minReady: 0, maxTotal: 2, releaseGrace: "0s" });
  });
  after(() => world?.stop());
  inOrder(() => world);

  const envOf = (machine: Machine) => {
    const root = world.rig.cloud.rootOf?.(machine.serverId ?? 0);
    assert(root);
    return join(root, "home/openclaw/.openclaw/.env");
  };
  const history = (action: string) => world.store.auditRows().filter((row) => row.action === action);

  it("of terraform and of a task that writes a secret cost a machine, and another is built", async () => {
    const { rig, store } = world;
    const error = { code: "resource_unavailable", message: "we have none" };
    rig.cloud.hetzner.faults.add({
      method: "POST",
      path: "/servers",
      effect: { kind: "answer", status: 412, error },
    });
    await world.configure({ minReady: 1 });
    const [doomed] = await rig.until("a server is made", async () => {
      const machines = store.machines({ live: true }).filter(({ serverId }) => serverId !== null);
      return machines.length > 0 && machines;
    });
    assert(doomed);
    // Where the playbook will want to write the pool's token.
    await mkdir(envOf(doomed), { recursive: true });
    await world.ready(1);
    assert.equal(store.machine(doomed.name)?.location, "nbg1", "it moved on from where there was none");
    assert.match(store.machine(doomed.name)?.reason ?? "", /Write .env with the pool's token/);
    assert(history("terraform.apply").some(({ detail }) => detail.ok === false));
  });

  it("of a hand-over give the order to the next machine, and the first is destroyed", async () => {
    const { rig, store } = world;
    const [machine] = store.machines({ states: ["ready"] });
    assert(machine);
    await rm(envOf(machine));
    await mkdir(envOf(machine));
    const order = await world.order("unlucky");
    const served = rig.shop.follow(order.id, ["running"]);
    const { id } = await world.pay(order);
    assert.deepEqual(statesOf(await served), [
      "awaiting-payment",
      "queued",
      "provisioning",
      "queued",
      "provisioning",
      "running",
    ]);
    assert.notEqual(world.machineOf(id), machine.name);
    await rig.until("the first is gone", async () => store.machine(machine.name)?.state === "destroyed");
  });

  it("tell no secret to any file, log or process", async () => {
    // The key of a machine that is just being prepared is in Ansible's private folder, which goes with the run.
    await world.ready(1);
    await assertNothingTold(world);
    await assertProcessesTellNothing(world);
  });
});
