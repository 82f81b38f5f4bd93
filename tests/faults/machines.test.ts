/** A1-A7: SSH, Ansible and the machine itself, on the local cloud and under simulation. */
import { strict as assert } from "node:assert";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { OrderView } from "../../api/views.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { onLocalCloud, simulated } from "./fault.ts";
import { type FaultRig, startFaultRig } from "./rig.ts";
import { minute } from "./scene.ts";

describe("faults: SSH, Ansible and machines, on the local cloud", function () {
  this.timeout(300_000);
  let rig: FaultRig & { stop(): Promise<void> };

  before(async () => {
    rig = await startFaultRig({ minReady: 2, maxTotal: 12, failurePause: "1s" });
    await rig.ready(2);
  });
  after(() => rig?.stop());

  const fault = onLocalCloud(() => rig);
  const { powerOff, powerOn } = {
    powerOff: (id: number | null) => rig.rig.cloud.backend.powerOff(id ?? 0),
    powerOn: (id: number | null) => rig.rig.cloud.backend.powerOn(id ?? 0),
  };
  /** Servers of machines that failed: what the machine saw of it. */
  const rootOf = (id: number | null) => rig.rig.cloud.rootOf?.(id ?? 0) ?? assert.fail();
  const playbookRuns = (name: MachineName) =>
    rig.rig.until(`${name} is being prepared`, async () => {
      const machine = rig.store.machine(name);
      return machine?.state === "preparing" ? machine : null;
    });

  /** Stripe does not answer what the hand-over asks about the payment, until it is released. */
  const holdConfirmation = ({ checkout_session }: OrderView) =>
    rig.rig.cloud.stripe.console.hold(`GET /v1/checkout/sessions/${checkout_session}`);

  /** Resolves when the hand-over has told its first step. */
  async function buyUntilStep({ id, checkout_session }: OrderView): Promise<void> {
    const { sent } = rig.rig.cloud.stripe.console.buy(checkout_session ?? "");
    for await (const event of rig.rig.shop.events(id)) if (event.type === "step") break;
    await sent;
  }

  fault("A1", "a machine that shows another host key is never talked to", async () => {
    const id = rig.rig.cloud.hetzner.faults.add({ effect: { kind: "machine", fault: "other-host-key" } });
    const machine = await rig.another();
    const { reason } = await rig.became(machine.name, "destroyed");
    assert.match(reason ?? "", /host key/);
    assert.equal(rig.rig.cloud.hetzner.faults.list().find((one) => one.id === id)?.hits, 1);
    const prepared = rig.store.auditRows({ subject: machine.name, limit: 1_000 }).map(({ action }) => action);
    assert(!prepared.includes("ansible.prepare.begun"));
  });

  fault("A2", "a machine that goes off while it is prepared is prepared again or replaced", async () => {
    const { name } = await rig.another();
    const { serverId } = await playbookRuns(name);
    await powerOff(serverId);
    await powerOn(serverId);
    const { state } = await rig.became(name, "ready", "destroyed");
    if (state === "destroyed") assert.equal((await rig.hetzner(`/servers/${serverId}`)).status, 404);
  });

  fault(
    "A5",
    "a warm machine that is dead at the hand-over costs its order the next machine, nothing more",
    async () => {
      await rig.ready(2);
      const [oldest] = rig.machines("ready").sort((a, b) => (a.readyAt ?? 0) - (b.readyAt ?? 0));
      assert(oldest);
      const order = await rig.order("a5");
      await Promise.all([powerOff(oldest.serverId), rig.pay(order)]);
      await rig.reached(order.id, "running");
      const used = rig.serving({ id: order.id } as never);
      assert.notEqual(used.name, oldest.name);
      await rig.became(oldest.name, "destroyed");
    },
  );

  fault("A6", "a daemon killed between claim and hand-over goes on with the same machine, once", async () => {
    await rig.ready(1);
    const order = await rig.order("a6");
    const release = holdConfirmation(order);
    try {
      await buyUntilStep(order);
      await rig.rig.daemon.kill();
    } finally {
      release();
    }
    const [claimed] = rig.machines("claimed", "handing-over");
    assert.equal(claimed?.order, order.id);
    await rig.rig.restart();
    await rig.reached(order.id, "running");
    assert.equal(rig.serving({ id: order.id } as never).name, claimed?.name);
  });

  fault("A7", "an `.env` is the pool's or the customer's, never half of either", async () => {
    await rig.ready(1);
    const order = await rig.order("a7");
    const release = holdConfirmation(order);
    try {
      await buyUntilStep(order);
      const [machine] = rig.machines("claimed", "handing-over");
      assert(machine);
      await powerOff(machine.serverId);
      const folder = join(rootOf(machine.serverId), "home/openclaw/.openclaw");
      const lines = readFileSync(join(folder, ".env"), "utf8").trimEnd().split("\n");
      for (const line of lines) assert.match(line, /^[A-Z_]+='[^']*'$/);
      assert([1, 2].includes(lines.length), `${lines.length} lines`);
      assert(existsSync(join(rootOf(machine.serverId), "var/lib/clawpool/hand-over.json")));
      await powerOn(machine.serverId);
    } finally {
      release();
    }
    await rig.reached(order.id, "running");
  });
});

describe("faults: SSH, Ansible and machines, under simulation", function () {
  this.timeout(60_000);

  simulated("A1", "a port that stays closed for three minutes is waited for", async (scene) => {
    const own = () => scene.machines("creating", "booting").find(({ serverId }) => serverId !== null);
    await scene.until("a server is made", () => own() !== undefined);
    const first = scene.world.servers.get(own()?.serverId ?? 0) ?? assert.fail();
    Object.assign(first, { bootedAt: scene.world.clock.now() + 3 * minute });
    await scene.until("it is ready", () => scene.store.machineByServerId(first.id)?.state === "ready");
  });

  simulated("A3", "a playbook that fails or hangs makes no machine ready", async (scene) => {
    const { builds } = scene.world;
    builds.broken = true;
    await scene.wait(5 * minute);
    assert.deepEqual(scene.machines("ready"), []);
    builds.hangs = true;
    // Those that began before still fail.
    await scene.wait(5 * minute);
    builds.broken = false;
    await scene.wait(60 * minute);
    assert.deepEqual(scene.machines("ready"), []);
    builds.hangs = false;
    await scene.ready(2);
  });

  simulated("A4", "builds that fail one like the other stop, and a person is told", async (scene) => {
    await scene.ready(2);
    const served = await scene.serve("a4");
    const { world } = scene;
    world.builds.broken = true;
    const before = world.bill.length;
    scene.configure({ minReady: 3 });
    await scene.until("refill is stopped", () => scene.flags("refill-stopped").length > 0);
    assert(world.bill.length - before <= 8, `${world.bill.length - before} servers were bought`);
    // Claims go on meanwhile.
    const [warm] = scene.machines("ready");
    if (warm) await scene.serve("a4-too");
    world.builds.broken = false;
    await scene.reached(served, "running");
  });
});
