/** A machine that is bought: under which permit, where, and what is adopted. */
import { strict as assert } from "node:assert";
import { caps, newMachine } from "../store/rows.ts";
import { border, building, secrets } from "./building.ts";
import { failedRun, type Life, stateOf } from "./fakes.ts";

describe("a machine that is created", () => {
  const machine = building();
  let life: Life;
  beforeEach(() => {
    life = machine.life;
  });

  it("applies the stack under a permit that can only create, then moves on with the server's facts", async () => {
    machine.put("creating");
    life.terraform.onApply = ({ name: server }) =>
      life.terraform.states.set(server, stateOf(life.cloud.put(server).id));
    assert.deepEqual(await machine.look(), { againInMs: 0 });
    assert.equal(machine.row().state, "creating");
    assert.deepEqual(life.gate.permits, [
      {
        kind: "machine",
        machine: machine.name,
        actor: "daemon",
        create: true,
        update: false,
        destroy: false,
        priority: "refill",
      },
    ]);
    const [{ input, guard } = assert.fail()] = life.terraform.applied;
    assert.equal(guard, null);
    assert.equal(input.labels["clawpool-machine"], machine.name);
    assert.ok(!input.userData.includes(secrets.controllerKey));
    await machine.look();
    const { state, serverId, ipv4, deadline } = machine.row();
    assert.deepEqual({ state, ipv4 }, { state: "booting", ipv4: "192.0.2.7" });
    assert.ok(serverId && life.cloud.list.has(serverId));
    assert.equal(deadline, life.clock.now() + life.config.deadlines.bootingMs);
    assert.equal(life.terraform.applied.length, 1);
  });

  it("never applies over a server that a failed poll left tainted: it takes the taint away", async () => {
    machine.put("creating");
    const { id } = life.cloud.put(machine.name, { status: "starting" });
    life.terraform.states.set(machine.name, stateOf(id, { tainted: true }));
    assert.deepEqual(await machine.look(), { againInMs: 2_000 });
    assert.deepEqual(life.terraform.calls, [], "a server that starts is waited for");
    life.cloud.list.set(id, { ...(life.cloud.list.get(id) ?? assert.fail()), status: "running" });
    await machine.look();
    await machine.look();
    assert.deepEqual(life.terraform.calls, [`untaint ${machine.name}`]);
    assert.equal(machine.row().state, "booting");
    assert.equal(machine.row().serverId, id);
  });

  it("knows by a server that it adopts whether Hetzner still refuses us", async () => {
    for (const [later, frozen] of [
      [-1, 1],
      [1, 0],
    ] as const) {
      machine.put("creating", {}, `claw-test-${frozen}`);
      life.store.freeze("cloud", { kind: "quota", reason: "limit", text: "Hetzner lets us have no more" });
      const [{ at } = assert.fail()] = life.store.frozen();
      const { id } = life.cloud.put(machine.name, { createdAt: at + later });
      life.terraform.states.set(machine.name, stateOf(id));
      await machine.look();
      assert.deepEqual([machine.row().state, life.store.frozen().length], ["booting", frozen]);
    }
    assert.deepEqual(life.store.flags(), []);
  });

  it("goes to the pool's next offer when one is sold out, and fails at nobody's cost when all were tried", async () => {
    machine.put("creating");
    const [{ locations } = assert.fail()] = life.config.pools;
    assert.ok(locations.length >= 3);
    for (const [index, location] of locations.entries()) {
      assert.equal(machine.row().location, location);
      // A transient error in between must not count as a location that was tried.
      life.terraform.nextError = border("transient");
      await machine.look();
      life.terraform.nextResult = failedRun("error during placement (resource_unavailable, abc)");
      await machine.look();
      if (index < locations.length - 1) assert.equal(machine.row().state, "creating");
    }
    assert.equal(machine.row().state, "failed");
    assert.deepEqual(
      life.terraform.calls,
      locations.flatMap((location) => Array(2).fill(`apply ${machine.name} ${location}`)),
    );
    assert.deepEqual([machine.row().failure, life.store.flags()], ["capacity", []]);
    assert.deepEqual(
      life.store.stockOuts().map(({ location }) => location),
      [...locations].sort(),
    );
  });

  it("does not ask again for what was sold out a moment ago, and forgets it when it is sold", async () => {
    const [pool = assert.fail()] = life.config.pools;
    life.config = { ...life.config, pools: [{ ...pool, otherServerTypes: ["cpx22"] }] };
    const until = life.clock.now() + 600_000;
    const [first = "", ...others] = pool.locations;
    for (const location of others) {
      life.store.recordStockOut({ serverType: "cx23", location, until }, "test");
    }
    machine.put("creating");
    life.terraform.nextResult = failedRun("error during placement (resource_unavailable, abc)");
    await machine.look();
    assert.deepEqual(
      [machine.row().state, machine.row().location, machine.row().serverType],
      ["creating", first, "cpx22"],
    );
    life.store.recordStockOut({ serverType: "cpx22", location: first, until }, "another build");
    await machine.look();
    assert.deepEqual(life.terraform.calls, [
      `apply ${machine.name} ${first}`,
      `apply ${machine.name} ${first}`,
    ]);
    assert.ok(!life.store.stockOuts().some(({ serverType }) => serverType === "cpx22"));
  });

  it("waits for the placement group that a raised max_total needs", async () => {
    machine.put("planned");
    life.store.changeMachine(machine.name, "planned", { state: "creating" }, "test");
    const second = life.store.planMachine(newMachine("claw-test-two", { placementGroup: 1, secrets }), caps);
    machine.name = second?.name ?? assert.fail();
    life.store.changeMachine(machine.name, "planned", { state: "creating", deadline: null }, "test");
    assert.deepEqual(await machine.look(), { againInMs: 5_000 });
    assert.deepEqual(life.terraform.calls, []);
    assert.equal(machine.row().state, "creating");
  });
});
