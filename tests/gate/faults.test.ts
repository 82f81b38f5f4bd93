/** The recorded faults, struck at a client that acts as the real provider: once bare, once through the gate. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { apply, call, destroy } from "./provider.ts";
import { type Rig, realToken, startRig } from "./rig.ts";
import type { Fault } from "./upstream.ts";

const recorded = JSON.parse(
  readFileSync(new URL("./fixtures/faults.json", import.meta.url), "utf8"),
) as readonly { name: string; method: string; status: number; body: unknown }[];

function answerOf(name: string): { status: number; body: unknown } {
  const found = recorded.find((fault) => fault.name === name);
  assert.ok(found, name);
  return { status: found.status, body: found.body };
}

describe("the gate, under the recorded faults", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig({ rows: { "claw-a": {} } });
  });
  afterEach(() => rig.close());

  const orders = () => rig.upstream.calls.filter((each) => each.method === "POST").length;

  /** `bare`: what the provider by itself is left with, [state, servers in the cloud]. */
  const repaired: { title: string; at: string; fault: Fault; bare: [string, number] }[] = [
    { title: "POST dropped after commit", at: "POST /servers", fault: { cut: "after" }, bare: ["none", 1] },
    { title: "POST dropped before commit", at: "POST /servers", fault: { cut: "before" }, bare: ["none", 0] },
    {
      title: "504 after commit",
      at: "POST /servers",
      fault: { ...answerOf("51-create-504-after-commit"), commit: true },
      bare: ["none", 1],
    },
    {
      title: "500 after commit",
      at: "POST /servers",
      fault: { ...answerOf("44-create-500-server_error"), commit: true },
      bare: ["none", 1],
    },
    {
      title: "503 on POST",
      at: "POST /servers",
      fault: answerOf("48-create-503-bare"),
      bare: ["none", 0],
    },
    {
      title: "bare 429 on POST",
      at: "POST /servers",
      fault: answerOf("42-create-429-bare"),
      bare: ["none", 0],
    },
    {
      title: "503 on a poll",
      at: "GET /actions",
      fault: answerOf("54-poll-503-once"),
      bare: ["tainted", 1],
    },
    {
      title: "500 on a poll",
      at: "GET /actions",
      fault: answerOf("56-poll-500-once"),
      bare: ["tainted", 1],
    },
    {
      title: "503 on the final GET",
      at: "GET /servers/1",
      fault: answerOf("60-final-get-503"),
      bare: ["tainted", 1],
    },
    {
      title: "final GET dropped",
      at: "GET /servers/1",
      fault: { cut: "before" },
      bare: ["tainted", 1],
    },
    {
      title: "503 on a catalogue read",
      at: "GET /ssh_keys",
      fault: answerOf("63-refresh-503-key"),
      bare: ["none", 0],
    },
  ];
  for (const { title, at, fault, bare } of repaired) {
    it(`${title}: the bare provider ends ${bare[0]} with ${bare[1]} server(s)`, async () => {
      rig.upstream.fail(at, fault);
      const outcome = await apply(rig.bare, "claw-a");
      assert.deepEqual([outcome.state, rig.upstream.servers().length], bare);
    });

    it(`${title}: through the gate one server, in the state and in the ledger`, async () => {
      rig.upstream.fail(at, fault);
      const outcome = await apply(rig.openRun("claw-a"), "claw-a");
      assert.deepEqual(outcome, { state: "created", id: outcome.id, error: null });
      assert.deepEqual(
        rig.upstream.servers().map((server) => [server.id, server.name]),
        [[outcome.id, "claw-a"]],
      );
      assert.equal(rig.ledger.rows.get("claw-a")?.serverId, outcome.id);
    });
  }

  for (const name of [
    "31-create-412-resource_unavailable",
    "32-create-403-resource_limit_exceeded",
    "33-create-403-server_limit_reached",
    "34-create-422-placement_error",
    "35-create-422-invalid_input",
    "36-create-423-locked",
    "37-create-401",
  ]) {
    it(`hands ${name} on as it is, after one try`, async () => {
      const fault = answerOf(name);
      rig.upstream.fail("POST /servers", fault);
      const run = rig.openRun("claw-a");
      const got = await call(run, "POST", "/servers", { name: "claw-a", labels: { a: "b" } });
      assert.deepEqual([got.status, got.value], [fault.status, fault.body]);
      assert.equal(orders(), 1);
      assert.equal(rig.ledger.rows.get("claw-a")?.serverId, null);
    });
  }

  it("repeats a 409 conflict no more than the provider does", async () => {
    rig.upstream.fail("POST /servers", answerOf("43-create-409-conflict-always"), 100);
    const outcome = await apply(rig.openRun("claw-a"), "claw-a");
    assert.match(outcome.error ?? "", /resource changed during request \(conflict\)/);
    assert.equal(orders(), 6);
  });

  it("waits out several lost tries in a row, with never two in flight", async () => {
    rig.upstream.fail("POST /servers", { cut: "before" }, 2);
    rig.upstream.fail("POST /servers", { ...answerOf("46-create-502-bare-always"), commit: true });
    const outcome = await apply(rig.openRun("claw-a"), "claw-a");
    assert.equal(outcome.state, "created");
    assert.equal(orders(), 3);
    assert.equal(rig.upstream.servers().length, 1);
  });

  it("takes over a server that a dead daemon ordered and could not write down", async () => {
    const lost = await call(rig.bare, "POST", "/servers", {
      name: "claw-a",
      labels: { "managed-by": "poold", pool: "small" },
    });
    const id = (lost.value.server as { id: number }).id;
    const outcome = await apply(rig.openRun("claw-a"), "claw-a");
    assert.deepEqual([outcome.state, outcome.id], ["created", id]);
    assert.equal(rig.ledger.rows.get("claw-a")?.serverId, id);
  });

  it("leaves a server alone that has the name and not our labels", async () => {
    await call(rig.bare, "POST", "/servers", { name: "claw-a", labels: { owner: "somebody-else" } });
    rig.upstream.fail("POST /servers", { cut: "before" });
    const outcome = await apply(rig.openRun("claw-a"), "claw-a");
    assert.equal(outcome.state, "none");
    assert.match(outcome.error ?? "", /uniqueness_error/);
    assert.equal(rig.ledger.rows.get("claw-a")?.serverId, null);
  });

  describe("destroying", () => {
    let id: number;
    beforeEach(async () => {
      id = (await apply(rig.openRun("claw-a"), "claw-a")).id ?? 0;
      rig.ledger.rows.set("claw-a", { state: "retiring", serverId: id, order: null, mayDestroy: true });
    });

    for (const { title, fault } of [
      { title: "503 before it was carried out", fault: answerOf("73-delete-503") },
      { title: "locked by an action that still runs", fault: answerOf("70-delete-423-locked") },
      { title: "dropped before it was carried out", fault: { cut: "before" } as const },
    ]) {
      it(`a DELETE that fails once is made again: ${title}`, async () => {
        rig.upstream.fail("DELETE /servers", fault);
        assert.equal(await destroy(rig.openRun("claw-a"), id), null);
        assert.deepEqual(rig.upstream.servers(), []);
      });
    }

    it("a DELETE lost after it was carried out is answered with 404, and the next destroy is clean", async () => {
      rig.upstream.fail("DELETE /servers", { cut: "after" });
      assert.match((await destroy(rig.openRun("claw-a"), id)) ?? "", /not_found/);
      assert.equal(await destroy(rig.openRun("claw-a"), id), null);
      assert.deepEqual(rig.upstream.servers(), []);
    });

    it("a live order's server is refused with 423 and never asked for upstream", async () => {
      rig.ledger.rows.set("claw-a", { state: "serving", serverId: id, order: "ord", mayDestroy: false });
      const message = await destroy(rig.openRun("claw-a"), id);
      assert.equal(message, "the order of this machine is live (protected)");
      assert.equal(rig.upstream.servers().length, 1);
      assert.deepEqual(rig.ledger.refusals, [`DELETE /servers/${id}: the order of this machine is live`]);
      assert.ok(!rig.upstream.calls.some((each) => each.method === "DELETE"));
    });
  });

  it("shows the real token to Hetzner alone, and the run's token to nobody", async () => {
    const run = rig.openRun("claw-a");
    await apply(run, "claw-a");
    assert.equal(run.token.expose().length, 64);
    assert.notEqual(run.token.expose(), realToken);
    assert.deepEqual([...new Set(rig.upstream.calls.map((each) => each.token))], [realToken]);
  });
});
