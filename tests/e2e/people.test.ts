/** People's `npx cdktf …` on a pool that lives: the daemon's locks, the gate's rules, and what is noticed afterwards. */
import { strict as assert } from "node:assert";
import type { PeopleGrant } from "../../pool/people/people.ts";
import { type Rig, startRig } from "./rig.ts";

describe("people at work beside the daemon", function () {
  // Each machine takes some seconds to prepare, the CDK's command line two to start.
  this.timeout(240_000);
  let rig: Rig;

  before(async () => {
    rig = await startRig("process", { minReady: 2, maxTotal: 8 });
    await ready(2);
  });
  after(() => rig?.stop());

  const ready = (count: number) =>
    rig.until(`${count} machines are ready`, async () => {
      const found = (await rig.machines()).filter((machine) => machine.state === "ready");
      return found.length >= count && found.map((machine) => machine.name);
    });
  const destroyed = (name: string) =>
    rig.until(`${name} is destroyed`, async () => {
      const machine = await rig.machine(name);
      return machine.state === "destroyed" && machine;
    });
  const servers = () =>
    rig.cloud.hetzner
      .bill()
      .lines.filter((line) => line.ended === null)
      .map((line) => line.name);
  const deletes = () => rig.cloud.hetzner.calls().filter(({ method }) => method === "DELETE");
  const begin = (command: string, ...stacks: string[]) =>
    rig.ask<PeopleGrant>("POST", "/people/begin", { command, stacks, actor: "person:test" });
  const end = (grant: PeopleGrant) => rig.ask("POST", "/people/end", { id: grant.id, exitCode: 0 });

  it("lists the platform and the machines that live", async () => {
    const names = (await rig.machines()).map((machine) => machine.name);
    assert.ok(names.length >= 2);
    const { all, exitCode } = await rig.cdktf("list");
    assert.equal(exitCode, 0, all);
    for (const name of ["platform", ...names]) assert.match(all, new RegExp(`^${name} `, "m"));
  });

  describe("on a machine that serves a customer", () => {
    let served: Awaited<ReturnType<Rig["serve"]>>;

    before(async () => {
      await ready(1);
      served = await rig.serve();
      await rig.until("its labels are applied", async () => (await rig.machine(served.machine)).labelled);
    });

    it("show no difference, right after the order's labels were applied and later", async () => {
      for (const _again of [1, 2]) {
        const { all, exitCode } = await rig.cdktf("diff", served.machine);
        assert.equal(exitCode, 0, all);
        assert.match(all, /No changes\./);
      }
    });

    it("are refused its destruction by the gate; the server is untouched, and the daemon goes on", async () => {
      const before = deletes().length;
      const { all, exitCode } = await rig.cdktf("destroy", served.machine, "--auto-approve");
      assert.notEqual(exitCode, 0, all);
      assert.match(all, /the order of this machine is live/);
      assert.equal(deletes().length, before);
      assert.ok(servers().includes(served.machine));
      const machine = await rig.machine(served.machine);
      assert.equal(machine.state, "serving");
      const refusal = machine.history.find((row) => row.action === "gate.refused");
      assert.ok(refusal, "there is no audit row of the refusal");
      assert.match(refusal.actor, /^person:/);
      assert.match(refusal.why, /the order of this machine is live/);
      assert.match(JSON.stringify(refusal.detail), /DELETE \/servers\/\d+/);
      assert.equal((await rig.shop.view(served.order)).state, "running");

      // terraform has dropped the stack's outputs before it was refused; the daemon applies the stack again.
      await rig.until("the stack is applied again", async () => {
        const { labelled, history } = await rig.machine(served.machine);
        return labelled && history.filter(({ action }) => action === "terraform.label").length === 2;
      });
      const again = await rig.cdktf("diff", served.machine);
      assert.match(again.all, /No changes\./);
    });
  });

  describe("on warm machines", () => {
    it("destroy a ready machine; the row is closed at once and the pool filled again", async () => {
      const [name = ""] = await ready(2);
      const { all, exitCode } = await rig.cdktf("destroy", name, "--auto-approve");
      assert.equal(exitCode, 0, all);
      assert.ok(!servers().includes(name));
      const machine = await destroyed(name);
      assert.match(machine.reason ?? "", /^destroyed by person:/);
      assert.equal(machine.order, null);
      const full = await ready(2);
      assert.ok(!full.includes(machine.name));
      // It was noticed by looking after the command, not by losing the connection or by the sweep.
      const why = machine.history.map((row) => row.action);
      assert.ok(why.includes("people.destroy") && why.includes("people.end"), String(why));
    });

    it("are told that the daemon works on a machine now", async () => {
      await ready(2);
      // Longer than the command takes to ask, shorter than the gate's patience with one call.
      const fault = rig.cloud.hetzner.faults.add({
        method: "DELETE",
        path: "/servers/*",
        effect: { kind: "delay", ms: 15_000 },
      });
      await rig.cloud.writeConfig({ minReady: 1, maxTotal: 8 });
      const { name } = await rig.until("a machine is retiring", async () =>
        (await rig.machines()).find((machine) => machine.state === "retiring"),
      );
      const { all, exitCode } = await rig.cdktf("destroy", name, "--auto-approve");
      assert.equal(exitCode, 1, all);
      assert.ok(
        all.includes(`the daemon works on ${name} now (retiring); try again when it has finished`),
        all,
      );
      await destroyed(name);
      assert.equal(rig.cloud.hetzner.faults.list().find(({ id }) => id === fault)?.hits, 1);
      await rig.cloud.writeConfig({ minReady: 2, maxTotal: 8 });
    });

    it("keep the daemon waiting while they hold a machine", async () => {
      const [held = "", other = ""] = await ready(2);
      const grant = await begin("deploy", held);
      try {
        await assert.rejects(begin("destroy", held), {
          status: 409,
          message: new RegExp(`person:test works on ${held}`),
        });
        await rig.cloud.writeConfig({ minReady: 0, maxTotal: 8 });
        await destroyed(other);
        // What a person holds is left as it is; it goes when the person has finished.
        assert.equal((await rig.machine(held)).state, "ready");
        assert.ok(servers().includes(held));
      } finally {
        await end(grant);
      }
      await destroyed(held);
      assert.ok(!servers().includes(held));
    });
  });
});
