/**
 * What terraform does to one machine's stack, seen through the border. Run on real terraform with the provider of the
 * mirror, and on the simulation's model, whose processes outlive the daemon.
 */
import { strict as assert } from "node:assert";
import type { Access, MachineStackInput, Terraform } from "../../pool/terraform/terraform.ts";

export interface TerraformUnderTest {
  readonly terraform: Terraform;
  /** The stack of a machine of this name. */
  input(name: string): MachineStackInput;
  /** For runs on that machine. */
  access(name: string): Access;
  /** Labels of the server, null when there is none. */
  labels(serverId: number): Promise<Readonly<Record<string, string>> | null>;
  /** The next poll of a new server fails, once. */
  failPoll(): void;
  /** Somebody deletes the server behind terraform's back. */
  vanish(serverId: number): Promise<void>;
}

export function terraformContract(name: string, rig: () => TerraformUnderTest): void {
  describe(`terraform contract: ${name}`, () => {
    const make = async (called: string) => {
      const { terraform, input, access } = rig();
      const result = await terraform.applyMachine(input(called), access(called));
      assert.deepEqual([result.ok, result.exitCode, result.errors], [true, 0, []]);
      const state = (await terraform.state(called)) ?? assert.fail("no state");
      return {
        input: input(called),
        access: access(called),
        state,
        id: state.serverId ?? assert.fail("no id"),
      };
    };

    it("makes a server, knows it in the state, and does nothing the second time", async () => {
      const { terraform } = rig();
      assert.equal(await terraform.state("claw-test-make"), null);
      const { input, access, state, id } = await make("claw-test-make");
      assert.deepEqual([state.tainted, state.resources, state.empty], [false, 1, false]);
      assert.deepEqual(await rig().labels(id), input.labels);
      const again = await terraform.applyMachine(input, access);
      assert.deepEqual([again.ok, again.exitCode], [true, 0]);
      const after = await terraform.state(input.name);
      assert.deepEqual([after?.serverId, after?.lineage, after?.serial], [id, state.lineage, state.serial]);
    });

    it("changes labels in place, also under guard", async () => {
      const { terraform } = rig();
      const { input, access, id } = await make("claw-test-label");
      const labelled = { ...input, labels: { ...input.labels, "clawpool-order": "o-1" } };
      assert.equal((await terraform.applyMachine(labelled, access, { guard: id })).ok, true);
      assert.equal((await terraform.state(input.name))?.serverId, id);
      assert.deepEqual(await rig().labels(id), labelled.labels);
    });

    it("refuses under guard to make a server, and to touch another than the one named", async () => {
      const { terraform, input, access } = rig();
      const refused = { border: "terraform", kind: "permanent", code: "plan-refused" };
      const none = input("claw-test-none");
      await assert.rejects(terraform.applyMachine(none, access(none.name), { guard: 7 }), refused);
      const made = await make("claw-test-guard");
      await assert.rejects(terraform.applyMachine(made.input, made.access, { guard: made.id + 1 }), refused);
      assert.notEqual(await rig().labels(made.id), null);
    });

    it("leaves a server tainted whose poll failed, and takes the taint away without touching it", async () => {
      const { terraform, input, access } = rig();
      const tainted = input("claw-test-taint");
      rig().failPoll();
      const result = await terraform.applyMachine(tainted, access(tainted.name));
      assert.deepEqual([result.ok, result.exitCode, result.errors.length], [false, 1, 1]);
      const state = await terraform.state(tainted.name);
      assert.equal(state?.tainted, true);
      const id = state.serverId ?? assert.fail("no id");
      assert.equal((await terraform.untaintServer(tainted.name, access(tainted.name))).ok, true);
      const after = await terraform.state(tainted.name);
      assert.deepEqual([after?.serverId, after?.tainted], [id, false]);
      assert.equal((await terraform.applyMachine(tainted, access(tainted.name), { guard: id })).ok, true);
    });

    it("replaces a tainted server, which is why nobody may apply over one", async () => {
      const { terraform, input, access } = rig();
      const tainted = input("claw-test-replace");
      rig().failPoll();
      await terraform.applyMachine(tainted, access(tainted.name));
      const before = (await terraform.state(tainted.name))?.serverId ?? assert.fail("no id");
      await assert.rejects(terraform.applyMachine(tainted, access(tainted.name), { guard: before }), {
        code: "plan-refused",
      });
      assert.equal((await terraform.applyMachine(tainted, access(tainted.name))).ok, true);
      const after = (await terraform.state(tainted.name))?.serverId ?? assert.fail("no id");
      assert.notEqual(after, before);
      assert.equal(await rig().labels(before), null);
    });

    it("makes a server anew that somebody deleted", async () => {
      const { terraform } = rig();
      const { input, access, id } = await make("claw-test-vanish");
      await rig().vanish(id);
      assert.equal((await terraform.applyMachine(input, access)).ok, true);
      assert.notEqual((await terraform.state(input.name))?.serverId, id);
    });

    it("destroys until nothing is left, also what is gone already; only then the folder is forgotten", async () => {
      const { terraform } = rig();
      const { input, access, id } = await make("claw-test-destroy");
      await assert.rejects(terraform.forget(input.name), { code: "state-not-empty" });
      assert.equal((await terraform.destroyMachine(input.name, access)).ok, true);
      assert.equal(await rig().labels(id), null);
      const state = await terraform.state(input.name);
      assert.deepEqual([state?.serverId, state?.resources], [null, 0]);
      assert.equal((await terraform.destroyMachine(input.name, access)).ok, true);
      await terraform.forget(input.name);
      assert.equal(await terraform.state(input.name), null);
    });

    it("takes a server into a state that lost it, and refuses one that has a server", async () => {
      const { terraform } = rig();
      const { input, access, state, id } = await make("claw-test-import");
      const twice = await terraform.importServer(input, id, access);
      assert.deepEqual([twice.ok, twice.exitCode], [false, 1]);
      await terraform.replaceState(input.name, null);
      assert.equal(await terraform.state(input.name), null);
      assert.equal((await terraform.importServer(input, id, access)).ok, true);
      const after = await terraform.state(input.name);
      assert.deepEqual([after?.serverId, after?.tainted, after?.resources], [id, false, 1]);
      assert.notEqual(after?.lineage, state.lineage);
    });

    it("goes on with a state that is put back", async () => {
      const { terraform } = rig();
      const { input, access, state, id } = await make("claw-test-back");
      await terraform.replaceState(input.name, state.text);
      const back = await terraform.state(input.name);
      assert.deepEqual([back?.serverId, back?.lineage, back?.serial], [id, state.lineage, state.serial]);
      assert.equal((await terraform.destroyMachine(input.name, access)).ok, true);
    });

    it("does runs in one folder one after the other", async () => {
      const { terraform, input, access } = rig();
      const queued = input("claw-test-queue");
      const run = () => terraform.applyMachine(queued, access(queued.name));
      const results = await Promise.all([
        run(),
        run(),
        terraform.destroyMachine(queued.name, access(queued.name)),
      ]);
      assert.deepEqual(
        results.map(({ ok, errors }) => [ok, errors]),
        results.map(() => [true, []]),
      );
      assert.equal((await terraform.state(queued.name))?.resources, 0);
      assert.deepEqual(await terraform.leftovers(), []);
    });
  });
}
