import assert from "node:assert/strict";
import { type DocumentedCode, documentedErrors } from "./faults/errors.ts";
import type { FaultInput } from "./faults.ts";
import { assertError, type Rig, serverOrder, startRig } from "./rig.ts";

describe("Hetzner emulator: faults", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  const order = () => rig.call("POST", "/servers", serverOrder("m-1"));
  const add = (effect: FaultInput["effect"], more: Partial<FaultInput> = {}) =>
    rig.hetzner.faults.add({ method: "POST", path: "/servers", effect, ...more });

  it("answer with an error before anything happens, as often as asked", async () => {
    const error = { code: "resource_unavailable", message: "error during placement" };
    add({ kind: "answer", status: 412, error }, { times: 2 });
    for (let index = 0; index < 2; index++) assertError(await order(), 412, "resource_unavailable");
    assert.equal(rig.backend.machines.size, 0);
    assert.equal((await order()).status, 201);
  });

  it("answer 504 after the server was made", async () => {
    const error = { code: "timeout", message: "the request could not be answered in time" };
    add({ kind: "answer", when: "after", status: 504, error });
    assertError(await order(), 504, "timeout");
    assert.equal(rig.backend.machines.size, 1);
    assertError(await order(), 409, "uniqueness_error", "name");
  });

  it("answer with a bare status that has no JSON", async () => {
    add({ kind: "answer", status: 503 });
    const response = await fetch(`${rig.hetzner.endpoint}/servers`, { method: "POST" });
    assert.deepEqual([response.status, response.headers.get("content-type")], [503, null]);
    assert.equal(await response.text(), "");
  });

  it("cut the connection before or after the server was made", async () => {
    add({ kind: "drop" });
    await assert.rejects(order());
    assert.equal(rig.backend.machines.size, 0);
    add({ kind: "drop", when: "after" });
    await assert.rejects(order());
    assert.equal(rig.backend.machines.size, 1);
    assert.deepEqual(
      rig.hetzner.calls().map((call) => [call.status, call.fault]),
      [
        [null, 1],
        [null, 2],
      ],
    );
  });

  it("delay, on the emulator's clock", async () => {
    add({ kind: "delay", ms: 5_000 }, { method: "GET" });
    let answered = false;
    const reply = rig.call("GET", "/servers").then((value) => {
      answered = true;
      return value;
    });
    // The request is in when its fault is spent.
    while (rig.hetzner.faults.list()[0]?.hits === 0) await new Promise((resolve) => setImmediate(resolve));
    await rig.clock.advance(4_999);
    assert.equal(answered, false);
    await rig.clock.advance(1);
    assert.equal((await reply).status, 200);
  });

  it("hit the paths that their pattern names, after those they let through", async () => {
    const { id } = await rig.runningServer("m-1");
    const error = { code: "unavailable", message: "service unavailable" };
    add({ kind: "answer", status: 503, error }, { method: "GET", path: "/servers/*", skip: 1 });
    await rig.must("GET", "/servers");
    await rig.must("GET", `/servers/${id}/actions`);
    await rig.must("GET", `/servers/${id}`);
    assertError(await rig.call("GET", `/servers/${id}`), 503, "unavailable");
    await rig.must("GET", `/servers/${id}`);
  });

  it("tell of every documented error in its words, or as a bare status", async () => {
    for (const [code, { status, message }] of Object.entries(documentedErrors)) {
      add({ kind: "error", code: code as DocumentedCode });
      const reply = await order();
      assertError(reply, status, code);
      assert.equal(reply.body.error.message, message);
      add({ kind: "error", code: code as DocumentedCode, bare: true });
      const bare = await fetch(`${rig.hetzner.endpoint}/servers`, { method: "POST" });
      assert.deepEqual([bare.status, await bare.text()], [status, ""]);
    }
    assert.equal(rig.backend.machines.size, 0);
  });

  it("sell a type out in a place, by id or name, and say so in the catalogue unless hidden", async () => {
    const id = rig.hetzner.faults.add({
      ...{ server: { type: "cx23", location: "fsn1" }, times: null },
      effect: { kind: "stock_out" },
    });
    const available = async () => {
      const [type] = (await rig.must("GET", "/server_types?name=cx23")).server_types;
      return type?.locations.filter((location) => location.available).map(({ name }) => name);
    };
    assert.deepEqual(await available(), ["nbg1", "hel1"]);
    for (const wanted of [
      { server_type: "cx23", location: "fsn1" },
      { server_type: 114, location: 1 },
    ]) {
      assertError(
        await rig.call("POST", "/servers", { ...serverOrder("m-1"), ...wanted }),
        412,
        "resource_unavailable",
      );
    }
    const elsewhere = await rig.must("POST", "/servers", serverOrder("m-1"));
    assert.equal(elsewhere.server.location.name, "nbg1");
    await rig.must("POST", "/servers", { ...serverOrder("m-2"), server_type: "cx33", location: "fsn1" });
    rig.hetzner.faults.remove(id);
    rig.hetzner.faults.add({ server: { type: "cx23" }, effect: { kind: "stock_out", hidden: true } });
    assert.deepEqual(await available(), ["fsn1", "nbg1", "hel1"]);
    assertError(await rig.call("POST", "/servers", serverOrder("m-3")), 412, "resource_unavailable");
    await rig.must("POST", "/servers", serverOrder("m-3"));
    assert.equal(rig.hetzner.bill().lines.filter((line) => line.kind === "server").length, 3);
  });

  it("keep an action from ending, with its lock, until they are taken back", async () => {
    const id = rig.hetzner.faults.add({
      ...{ command: "create_server", server: { name: "m-1" } },
      effect: { kind: "action_hangs" },
    });
    const { server, action } = await rig.must("POST", "/servers", serverOrder("m-1"));
    await rig.clock.advance(24 * 3_600_000);
    const read = async () => (await rig.must("GET", `/actions/${action.id}`)).action;
    assert.deepEqual([(await read()).status, (await read()).progress], ["running", 99]);
    assertError(await rig.call("DELETE", `/servers/${server.id}`), 423, "locked");
    assert.equal((await rig.runningServer("m-2")).status, "running");
    rig.hetzner.faults.remove(id);
    await rig.clock.advance(60_000);
    assert.equal((await read()).status, "success");
    assert.equal((await rig.must("GET", `/servers/${server.id}`)).server.status, "running");
  });

  it("let an action that hangs go on when the emulator is started again", async () => {
    rig.hetzner.faults.add({ command: "create_server", effect: { kind: "action_hangs" } });
    const { action } = await rig.must("POST", "/servers", serverOrder("m-1"));
    await rig.clock.advance(60_000);
    await rig.restart();
    await rig.clock.advance(60_000);
    assert.equal((await rig.must("GET", `/actions/${action.id}`)).action.status, "success");
  });

  it("fail an action late, before or after what it was to do", async () => {
    for (const [when, stands] of [
      ["before", true],
      ["after", false],
    ] as const) {
      const { id } = await rig.runningServer("m-1");
      rig.hetzner.faults.add({ command: "delete_server", effect: { kind: "action_fails", when } });
      const { action } = await rig.must("DELETE", `/servers/${id}`);
      assert.equal(action.status, "running");
      await rig.clock.advance(60_000);
      const failed = (await rig.must("GET", `/actions/${action.id}`)).action;
      assert.deepEqual([failed.status, failed.error?.code], ["error", "action_failed"]);
      const server = await rig.call("GET", `/servers/${id}`);
      assert.equal(server.status, stands ? 200 : 404);
      if (stands) assert.equal(server.body.server.status, "running");
      if (stands) await rig.must("DELETE", `/servers/${id}`);
      await rig.clock.advance(60_000);
    }
    assert.equal(rig.hetzner.bill().owedPerHour, 0);
  });

  it("fail what waits for a failed action too", async () => {
    const error = { code: "placement_error", message: "no host" };
    rig.hetzner.faults.add({ command: "create_server", effect: { kind: "action_fails", error } });
    const { server, action, next_actions } = await rig.must("POST", "/servers", serverOrder("m-1"));
    await rig.clock.advance(60_000);
    for (const { id } of [action, ...next_actions]) {
      assert.deepEqual((await rig.must("GET", `/actions/${id}`)).action.error, error);
    }
    assert.equal((await rig.must("GET", `/servers/${server.id}`)).server.status, "off");
  });

  it("let a server vanish, with its bill, or only its machine", async () => {
    const { id } = await rig.runningServer("m-1");
    add({ kind: "vanish" }, { method: "GET", path: "/servers/*" });
    assertError(await rig.call("GET", `/servers/${id}`), 404, "not_found");
    assert.equal(rig.hetzner.bill().owedPerHour, 0);
    assert.equal(rig.backend.machines.size, 0);
    add({ kind: "vanish" });
    const made = await order();
    assert.equal(made.status, 201);
    assertError(await rig.call("GET", `/servers/${made.body.server.id}`), 404, "not_found");
    const other = await rig.runningServer("m-2");
    add({ kind: "vanish", what: "machine" }, { method: "GET", path: "/servers/*" });
    assert.equal((await rig.must("GET", `/servers/${other.id}`)).server.status, "off");
    assert.notEqual(rig.hetzner.bill().owedPerHour, 0);
  });

  it("give a machine what it has to suffer before its first boot", async () => {
    for (const fault of ["never-boots", "no-network", "other-host-key"] as const) {
      rig.hetzner.faults.add({ server: { name: `m-${fault}` }, effect: { kind: "machine", fault } });
      const { id, status } = await rig.runningServer(`m-${fault}`);
      assert.equal(status, "running");
      assert.deepEqual(rig.backend.machines.get(id)?.bootFaults, [fault]);
    }
    const { id } = await rig.runningServer("m-well");
    assert.deepEqual(rig.backend.machines.get(id)?.bootFaults, []);
  });

  it("give an address away again at once", async () => {
    const renew = async () => {
      const { id, public_net } = await rig.runningServer("m-1");
      await rig.must("DELETE", `/servers/${id}`);
      await rig.clock.advance(60_000);
      return public_net.ipv4?.ip;
    };
    assert.notEqual(await renew(), await renew());
    rig.hetzner.faults.add({ times: 2, effect: { kind: "machine", fault: "reused-address" } });
    assert.equal(await renew(), await renew());
    assert.notEqual(await renew(), await renew());
  });

  it("show a list short or empty, complete in itself", async () => {
    for (const name of ["m-1", "m-2", "m-3"]) await rig.must("POST", "/servers", serverOrder(name));
    const names = async () => {
      const { servers, meta } = await rig.must("GET", "/servers?per_page=2");
      return [servers.map(({ name }) => name), meta.pagination.total_entries, meta.pagination.next_page];
    };
    add({ kind: "short_list" }, { method: "GET" });
    assert.deepEqual(await names(), [[], 0, null]);
    add({ kind: "short_list", keep: 1 }, { method: "GET" });
    assert.deepEqual(await names(), [["m-1"], 1, null]);
    assert.deepEqual(await names(), [["m-1", "m-2"], 3, 2]);
  });

  it("can be ordered, seen and taken back at /_local/faults", async () => {
    const url = new URL("/_local/faults", rig.hetzner.endpoint);
    const post = (body: unknown) => fetch(url, { method: "POST", body: JSON.stringify(body) });
    const fault = { path: "/servers", effect: { kind: "answer", status: 500 } };
    assert.deepEqual(await (await post(fault)).json(), { id: 1 });
    assert.equal((await fetch(`${url}/1`, { method: "DELETE" })).status, 204);
    assert.equal((await fetch(`${url}/1`, { method: "DELETE" })).status, 404);
    await post(fault);
    const { faults } = (await (await fetch(url)).json()) as { faults: { id: number; hits: number }[] };
    assert.deepEqual(
      faults.map(({ id, hits }) => [id, hits]),
      [[2, 0]],
    );
    await fetch(`${rig.hetzner.endpoint}/servers`);
    const { log } = (await (await fetch(`${url}/log`)).json()) as { log: unknown[] };
    assert.deepEqual(log, rig.hetzner.faults.log());
    assert.equal(log.length, 1);
    assert.equal((await fetch(url, { method: "DELETE" })).status, 204);
    await rig.must("GET", "/servers");
    for (const wrong of [
      null,
      {},
      { path: "servers", effect: { kind: "drop" } },
      { ...fault, times: 0 },
      { ...fault, effect: { kind: "x" } },
    ]) {
      assert.equal((await post(wrong)).status, 422);
    }
  });
});
