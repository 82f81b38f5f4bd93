/** What a person does about a refused terraform state: by function, and as `clawpool state …` over the daemon's socket. */
import { strict as assert } from "node:assert";
import type { Loop } from "../../pool/loop.ts";
import { reconcile } from "../../pool/machine/lifecycle.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { StateRepairError } from "../../pool/machine/state-report.ts";
import { BusyError } from "../../pool/people/people.ts";
import { createStateRepair, type StateRepair } from "../../pool/people/state-repair.ts";
import { createPlatform } from "../../pool/platform/platform.ts";
import { systemRandom } from "../../pool/random.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { type AnsweredRig, answeredRig } from "../cli/rig.ts";
import { type Life, startLife, stateOf } from "../machine/fakes.ts";
import { makeReady } from "../store/rows.ts";

const secrets = {
  controllerKey: generateKeyPair().privateKey.expose(),
  bootHostKey: generateKeyPair().privateKey.expose(),
  poolToken: "pool-token-of-the-machine",
};

describe("the repair of a terraform state", () => {
  let life: Life;
  let repair: StateRepair;
  let serverId: number;
  const held = new Set<string>();
  const flying = new Set<string>();
  const name = "claw-test-one" as MachineName;
  const ada = { actor: "person:ada" };
  const flags = () => life.store.flags().map(({ kind }) => kind);
  const rows = (action: string) => life.store.auditRows().filter((row) => row.action === action);

  beforeEach(() => {
    life = startLife();
    held.clear();
    flying.clear();
    const loop = {
      hold(machine: MachineName) {
        if (flying.has(machine)) return null;
        held.add(machine);
        return () => held.delete(machine);
      },
    } as unknown as Loop;
    const sealer = createSealer([newSealingKey()]);
    const platform = createPlatform({ ...life.context, sealer, random: systemRandom });
    repair = createStateRepair({ context: life.context, loop, platform });
    makeReady(life.store, name, { secrets });
    serverId = life.cloud.put(name).id;
    life.store.changeMachine(name, "ready", { serverId, deadline: null }, "test");
    const state = stateOf(serverId, { serial: 5 });
    const { lineage, serial, resources } = state;
    const document = JSON.stringify(state);
    life.store.rememberState(name, { lineage, serial, resources, serverId, document });
    life.store.flag("terraform-state", name, "it was refused");
  });
  afterEach(() => {
    assert.equal(held.size, 0, "a lock was left");
    assert.equal(life.gate.open, 0, "a run of the gate was left open");
    life.store.close();
  });

  it("restore: what the last run left is written back, the flag goes, and the daemon goes on", async () => {
    await repair.repair(name, "restore", ada);
    assert.deepEqual(life.terraform.calls, [`restore ${name}`]);
    assert.deepEqual([life.terraform.states.get(name)?.serial, flags()], [5, []]);
    assert.equal(rows("terraform.state-restored")[0]?.actor, "person:ada");
    assert.equal((await repair.look())[0]?.refused, null);
  });

  it("import: the refused file is put aside, and a state of its own is made from the server", async () => {
    life.terraform.states.set(name, stateOf(8, { lineage: "m" }));
    await repair.repair(name, "import", ada);
    assert.deepEqual(life.terraform.calls, [`put aside ${name}`, `import ${name} ${serverId}`]);
    assert.deepEqual([life.store.terraformState(name)?.lineage, flags()], ["imported", []]);
    assert.equal(rows("terraform.import")[0]?.actor, "person:ada");
    assert.equal(rows("terraform.state-imported")[0]?.actor, "person:ada");
  });

  it("refuses what would make it worse, and says why", async () => {
    const refused = (how: "restore" | "import", why: RegExp) =>
      assert.rejects(
        repair.repair(name, how, ada),
        (error) => error instanceof StateRepairError && why.test(error.message),
      );
    life.cloud.list.delete(serverId);
    await refused("import", /has no server that could be imported/);
    life.cloud.list.set(serverId, { ...life.cloud.put("claw-test-other"), id: serverId });
    await refused("import", /is named claw-test-other/);
    life.store.changeMachine(name, "ready", { serverId: serverId + 50 }, "test");
    await refused("restore", new RegExp(`about server ${serverId}, and its server is ${serverId + 50}`));
    life.store.rememberState(name, null);
    await refused("restore", /no run has left a state.*clawpool state import/);
    await assert.rejects(repair.repair("claw-none", "restore", ada), /no live machine is named claw-none/);
    flying.add(name);
    await assert.rejects(repair.repair(name, "restore", ada), BusyError);
    assert.deepEqual(life.terraform.calls, []);
  });

  it("an import that fails leaves the machine to the daemon, as one whose state never knew the server", async () => {
    life.terraform.nextResult = { ok: false, exitCode: 1 };
    await assert.rejects(repair.repair(name, "import", ada), /terraform run/);
    assert.equal(life.store.terraformState(name), null);
    const [report] = await repair.look();
    assert.equal(report?.refused, null);
    assert.deepEqual((await reconcile(name, life.context, new AbortController().signal)).againInMs > 0, true);
  });

  describe("by command", () => {
    let rig: AnsweredRig;
    beforeEach(async () => {
      rig = await answeredRig({ store: life.store, states: repair });
    });
    afterEach(async () => {
      await rig.hangUp();
      rig.remove();
    });

    it("shows what is refused and why, repairs it, and says so when it cannot", async () => {
      const before = await rig.run("state");
      assert.equal(before.exitCode, 1);
      assert.match(
        before.stdout,
        new RegExp(`^MACHINE +SERVER +SERIAL +STATE\\n${name} +${serverId} +5 +REFUSED\\n`),
      );
      assert.match(
        before.stdout,
        /terraform\.tfstate: the file is missing; expected lineage l, serial 5 or later/,
      );
      const restored = await rig.run("state", "restore", name);
      assert.equal(restored.exitCode, 0, restored.stderr);
      assert.match(restored.stdout, /its state is as the last run left it/);
      const after = await rig.run("state", "--json");
      assert.equal(after.exitCode, 0);
      assert.deepEqual(JSON.parse(after.stdout)[0].refused, null);
      assert.equal(JSON.parse(after.stdout)[1].machine, "platform");
      assert.match(
        (await rig.run("state", "restore", "platform")).stderr,
        /no run has left a state of the platform/,
      );
      assert.match(rows("terraform.state-restored")[0]?.actor ?? "", /^person:./);
      const none = await rig.run("state", "import", "claw-none");
      assert.equal(none.exitCode, 1);
      assert.match(none.stderr, /no live machine is named claw-none/);
      flying.add(name);
      assert.match((await rig.run("state", "import", name)).stderr, /is worked on now/);
    });
  });
});
