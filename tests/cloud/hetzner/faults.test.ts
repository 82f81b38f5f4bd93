import assert from "node:assert/strict";
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
    assert.equal((await fetch(url, { method: "DELETE" })).status, 204);
    await rig.must("GET", "/servers");
    for (const wrong of [
      null,
      {},
      { path: "servers" },
      { ...fault, times: 0 },
      { ...fault, effect: { kind: "x" } },
    ]) {
      assert.equal((await post(wrong)).status, 422);
    }
  });
});
