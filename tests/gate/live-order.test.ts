/**
 * What nobody can do to a machine with a live order: real terraform, the gate, and the daemon's own ledger on a real
 * store. The plan's guard is tried and then left out, so that each defence is seen to hold alone.
 */
import { strict as assert } from "node:assert";
import { chmod, copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../../pool/clock.ts";
import type { RunPermit } from "../../pool/cloud/cloud.ts";
import { createLedger } from "../../pool/ledger.ts";
import type { MachineName, OrderId } from "../../pool/machine/machine.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { createTerraform } from "../../pool/terraform/create-terraform.ts";
import type { MachineStackInput, RunResult, Terraform } from "../../pool/terraform/terraform.ts";
import { caps, newMachine, newOrder, pay } from "../store/rows.ts";
import { permit } from "./rig.ts";
import { startTerraformRig, type TerraformRig } from "./terraform-rig.ts";

describe("a machine with a live order", function () {
  // The first run on a machine compiles the stand-in provider.
  this.timeout(300_000);
  let rig: TerraformRig;
  let store: Store;
  /** By a person: a warm machine would be theirs to destroy. */
  let held = false;
  const one = "claw-live-one" as MachineName;
  const two = "claw-live-two" as MachineName;
  const serverOf = (name: MachineName) => store.machine(name)?.serverId ?? assert.fail();
  const folderOf = (name: MachineName) => join(rig.root, "machines", name);
  const file = (name: MachineName) => join(folderOf(name), "terraform.tfstate");

  /** Everything that a run may be permitted; what is refused then is refused by the row. */
  const everything = (name: MachineName): RunPermit => permit(name);
  const people = (...machines: MachineName[]): RunPermit => ({
    kind: "people",
    actor: "person:ada",
    machines,
    platform: false,
    update: true,
    destroy: true,
    priority: "person",
  });

  async function withRun<T>(
    who: RunPermit,
    work: (run: ReturnType<TerraformRig["gate"]["openRun"]>) => Promise<T>,
  ) {
    const run = rig.gate.openRun(who);
    try {
      return await work(run);
    } finally {
      run.close();
    }
  }
  const apply = (
    who: RunPermit,
    input: MachineStackInput,
    guard?: number,
    terraform: Terraform = rig.terraform,
  ) => withRun(who, (run) => terraform.applyMachine(input, run, guard === undefined ? {} : { guard }));
  const destroy = (who: RunPermit, name: MachineName) =>
    withRun(who, (run) => rig.terraform.destroyMachine(name, run));

  const writes = () =>
    rig.hetzner
      .calls()
      .filter(({ method }) => method !== "GET")
      .map(({ method, path }) => `${method} ${path}`);
  async function server(id: number): Promise<{ status: string; server_type: { name: string } } | null> {
    const answer = await fetch(`${rig.hetzner.endpoint}/servers/${id}`, {
      headers: { authorization: `Bearer ${rig.hetzner.token}` },
    });
    return answer.ok ? ((await answer.json()) as { server: never }).server : null;
  }
  function refused(result: RunResult, why: RegExp): void {
    assert.equal(result.ok, false);
    assert.match(result.errors.map(({ summary }) => summary).join("\n"), why);
    assert.deepEqual(writes(), [], "something was sent on to Hetzner");
  }

  before(async () => {
    store = openSqliteStore({ file: ":memory:", sealer: createSealer([newSealingKey()]) });
    const ledger = createLedger(store, systemClock, () => held);
    rig = await startTerraformRig({ profile: "fast", ledger });
    for (const [name, order] of [
      [one, "o-1"],
      [two, "o-2"],
    ] as const) {
      store.planMachine(newMachine(name), caps);
      store.changeMachine(name, "planned", { state: "creating" }, "test");
      const made = await apply(everything(name), rig.stack(name));
      assert.deepEqual(made.errors, []);
      const states = ["booting", "preparing", "proving", "ready"] as const;
      for (const [index, state] of states.entries())
        store.changeMachine(name, states[index - 1] ?? "creating", { state }, "test");
      store.createOrder(newOrder(order));
      pay(store, order);
      store.changeMachine(name, "claimed", { state: "handing-over" }, "test");
      store.recordServing(name, { tailnetNode: null, tailnetAddress: null });
    }
    held = true;
  });
  after(async () => {
    await rig?.close();
    store?.close();
  });
  beforeEach(() => rig.hetzner.clearCalls());

  it("gets its labels", async () => {
    const labelled = await apply(everything(one), rig.stack(one, { order: "o-1" }), serverOf(one));
    assert.deepEqual(labelled.errors, []);
    assert.deepEqual(writes(), [`PUT /v1/servers/${serverOf(one)}`]);
  });

  it("is not replaced by a stack that changed: the plan is refused, and so is the wire", async () => {
    const moved = { ...rig.stack(one, { order: "o-1" }), location: "nbg1" };
    await assert.rejects(apply(everything(one), moved, serverOf(one)), { code: "plan-refused" });
    refused(await apply(everything(one), moved), /the order of this machine is live/);
    assert.ok(await server(serverOf(one)));
  });

  it("is not switched off by a stack that wants another type", async () => {
    const bigger = { ...rig.stack(one, { order: "o-1" }), serverType: "cx33" };
    await assert.rejects(apply(everything(one), bigger, serverOf(one)), { code: "plan-refused" });
    refused(await apply(everything(one), bigger), /the order of this machine is live/);
    const { status, server_type } = (await server(serverOf(one))) ?? assert.fail();
    assert.deepEqual([status, server_type.name], ["running", "cx23"]);
  });

  it("is not deleted by a terraform that plans nothing and then destroys", async () => {
    const liar = join(rig.root, "liar.sh");
    await writeFile(
      liar,
      `#!/bin/sh\nif [ "$1" = apply ]; then exec terraform destroy -auto-approve -json -input=false; fi\nexec terraform "$@"\n`,
    );
    await chmod(liar, 0o700);
    const terraform = createTerraform({ root: rig.root, bin: liar, cliConfig: rig.cliConfig });
    const result = await apply(everything(one), rig.stack(one, { order: "o-1" }), serverOf(one), terraform);
    refused(result, /the order of this machine is live/);
    assert.ok(await server(serverOf(one)));
  });

  it("is not reached by a state file of another machine, whatever that one may", async () => {
    const own = await readFile(file(one), "utf8");
    await copyFile(file(two), file(one));
    try {
      const guarded = apply(everything(one), rig.stack(one), serverOf(one));
      await assert.rejects(guarded, {
        code: "plan-refused",
        message: new RegExp(`about server ${serverOf(two)}`),
      });
      const notOwn = new RegExp(`server ${serverOf(two)} is not ${one}`);
      refused(await apply(everything(one), rig.stack(one)), notOwn);
      refused(await destroy(everything(one), one), notOwn);
      refused(await destroy(people(one), one), /the command may not change this/);
    } finally {
      await writeFile(file(one), own);
    }
    assert.ok((await server(serverOf(one))) && (await server(serverOf(two))));
  });

  it("is not bought a second time over a lost state file", async () => {
    const own = await readFile(file(one), "utf8");
    await writeFile(file(one), "");
    try {
      const guarded = apply(everything(one), rig.stack(one), serverOf(one));
      await assert.rejects(guarded, { code: "plan-refused", message: /it would create hcloud_server/ });
      refused(await apply(everything(one), rig.stack(one)), /claw-live-one already is server/);
    } finally {
      await writeFile(file(one), own);
    }
  });

  it("is not destroyed by a person's command, though it holds the machine", async () => {
    refused(await destroy(people(one, two), one), /the order of this machine is live/);
    const row = store.auditRows().findLast(({ action }) => action === "gate.refused");
    assert.equal(row?.actor, "person:ada");
    assert.ok(await server(serverOf(one)));
  });

  it("is not destroyed by a row that says releasing while the order goes on", async () => {
    const order = store.order("o-2" as OrderId);
    assert.equal(order?.state, "running");
    assert.throws(() => store.releaseOrder("o-2" as OrderId, "a mistake"), /neither/);
    store.changeMachine(two, "serving", { state: "releasing" }, "a mistake of ours");
    refused(await destroy(everything(two), two), /the order of this machine is live/);
    refused(await destroy(people(two), two), /the order of this machine is live/);
    const end = { subscription: "sub_o-2", releaseAt: Date.now() + 3_600_000, reason: "cancelled" };
    store.endSubscription(null, end);
    refused(await destroy(everything(two), two), /the order of this machine is live/);
    assert.ok(await server(serverOf(two)));
  });

  it("goes when a person has confirmed it by name", async () => {
    const id = serverOf(one);
    store.confirmEnd(one, "a person wants it", { actor: "person:ada" });
    assert.deepEqual((await destroy(everything(one), one)).errors, []);
    assert.equal(await server(id), null);
    assert.ok(await server(serverOf(two)));
  });
});
