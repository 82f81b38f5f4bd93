/**
 * What terraform makes of the faults that its provider answers in ways of its own: repeats, taints, orphans. Others are
 * in tests/terraform/runs.test.ts and tests/gate/terraform.test.ts, beside what the daemon does about them.
 */
import assert from "node:assert/strict";
import type { PlatformIds, RunResult } from "../../../pool/terraform/terraform.ts";
import { machineInput, platformInput, type Rig, startRig } from "../../terraform/rig.ts";
import type { FaultInput } from "../hetzner/faults.ts";

describe("Hetzner emulator: faults as terraform shows them", function () {
  // The first run on a machine compiles the stand-in provider.
  this.timeout(300_000);
  let rig: Rig;
  let platform: PlatformIds;
  let count = 0;
  before(async () => {
    rig = await startRig();
    platform = (await rig.terraform.applyPlatform(platformInput, rig.access)).ids;
  });
  after(() => rig?.close());
  afterEach(() => rig.hetzner.faults.clear());

  const post = { method: "POST", path: "/servers" } as const;
  const strike = (fault: FaultInput) => rig.hetzner.faults.add(fault);
  const newMachine = () => machineInput(platform, `claw-fault-${++count}`);
  const posts = () =>
    rig.hetzner
      .calls()
      .filter(({ method, path }) => method === "POST" && path === "/v1/servers")
      .map(({ status }) => status);
  const said = ({ errors }: RunResult) => errors.map(({ summary }) => summary);
  const servers = (name: string) =>
    rig.hetzner
      .bill()
      .lines.filter((line) => line.kind === "server" && line.name === name && line.ended === null);

  it("429 with JSON and 502 without are repeated, silently", async () => {
    rig.hetzner.clearCalls();
    strike({ ...post, effect: { kind: "error", code: "rate_limit_exceeded" } });
    strike({ ...post, effect: { kind: "error", code: "bad_gateway", bare: true } });
    const input = newMachine();
    const result = await rig.terraform.applyMachine(input, rig.access);
    assert.deepEqual([result.ok, said(result), posts()], [true, [], [429, 502, 201]]);
  });

  it("429 without JSON is not, and leaves nothing", async () => {
    strike({ ...post, effect: { kind: "error", code: "rate_limit_exceeded", bare: true } });
    const input = newMachine();
    const result = await rig.terraform.applyMachine(input, rig.access);
    assert.deepEqual(said(result), ["hcloud: server responded with status code 429"]);
    assert.equal((await rig.terraform.state(input.name))?.serverId ?? null, null);
    assert.deepEqual(servers(input.name), []);
  });

  it("a type that is sold out where it is wanted", async () => {
    strike({
      server: { type: "cx23", location: "fsn1", name: "claw-fault-*" },
      effect: { kind: "stock_out" },
    });
    const input = newMachine();
    const result = await rig.terraform.applyMachine(input, rig.access);
    assert.match(said(result)[0] ?? "", /^error during placement \(resource_unavailable/);
    const moved = { ...input, location: "nbg1" };
    assert.equal((await rig.terraform.applyMachine(moved, rig.access)).ok, true);
  });

  it("an action that fails late taints the server, and names the action", async () => {
    strike({ command: "create_server", effect: { kind: "action_fails" } });
    const input = newMachine();
    const result = await rig.terraform.applyMachine(input, rig.access);
    assert.match(said(result)[0] ?? "", /^Action failed \(action_failed, \d+\)$/);
    const state = await rig.terraform.state(input.name);
    assert.deepEqual([state?.tainted, state?.serverId], [true, servers(input.name)[0]?.id]);
  });

  it("a server that vanishes is built again by the next apply", async () => {
    const input = newMachine();
    await rig.terraform.applyMachine(input, rig.access);
    const before = (await rig.terraform.state(input.name))?.serverId;
    strike({ method: "GET", path: "/servers/*", server: { name: input.name }, effect: { kind: "vanish" } });
    const again = await rig.terraform.applyMachine(input, rig.access);
    assert.ok(again.changes.some(({ action, address }) => action === "create" && address.includes("server")));
    assert.notEqual((await rig.terraform.state(input.name))?.serverId, before);
  });

  it("a deletion that is refused keeps the server in the state", async () => {
    const input = newMachine();
    await rig.terraform.applyMachine(input, rig.access);
    for (const code of ["protected", "unavailable"] as const) {
      strike({ method: "DELETE", path: "/servers/*", effect: { kind: "error", code } });
      const result = await rig.terraform.destroyMachine(input.name, rig.access);
      assert.equal(result.ok, false);
      assert.match(said(result)[0] ?? "", new RegExp(`\\(${code}`));
      assert.equal((await rig.terraform.state(input.name))?.serverId, servers(input.name)[0]?.id);
    }
    assert.equal((await rig.terraform.destroyMachine(input.name, rig.access)).ok, true);
    assert.deepEqual(servers(input.name), []);
  });

  it("an order whose answer is lost leaves an orphan that the bill shows", async () => {
    strike({ ...post, effect: { kind: "drop", when: "after" } });
    const input = newMachine();
    const result = await rig.terraform.applyMachine(input, rig.access);
    assert.match(said(result)[0] ?? "", /EOF$/);
    assert.equal((await rig.terraform.state(input.name))?.serverId ?? null, null);
    assert.equal(servers(input.name).length, 1);
  });
});
