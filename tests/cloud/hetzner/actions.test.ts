import assert from "node:assert/strict";
import { nullBackend } from "../machines/null.ts";
import { assertError, type Rig, serverOrder, startRig } from "./rig.ts";

describe("Hetzner emulator: actions", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  const read = async (id: number) => (await rig.must("GET", `/actions/${id}`)).action;

  it("progress over their time and end at 100", async () => {
    const { action, next_actions } = await rig.must("POST", "/servers", serverOrder("m-1"));
    await rig.clock.advance(6_000);
    const halfWay = await read(action.id);
    assert.equal(halfWay.status, "running");
    assert.ok(halfWay.progress > 30 && halfWay.progress < 70, String(halfWay.progress));
    assert.equal(halfWay.finished, null);
    assert.equal((await read(next_actions[0]?.id ?? 0)).progress, 0);
    await rig.clock.advance(8_000);
    const done = await read(action.id);
    assert.deepEqual([done.status, done.progress, done.error], ["success", 100, null]);
    assert.notEqual(done.finished, null);
  });

  it("are polled as hcloud-go does: by ids, sorted by status, missing ones left out", async () => {
    const made = await rig.must("POST", "/servers", serverOrder("m-1"));
    const next = made.next_actions[0]?.id ?? 0;
    await rig.clock.advance(14_000);
    const { actions } = await rig.must(
      "GET",
      `/actions?id=${next}&id=${made.action.id}&id=7&page=1&sort=status&sort=id`,
    );
    assert.deepEqual(
      actions.map((action) => [action.id, action.status]),
      [
        [next, "running"],
        [made.action.id, "success"],
      ],
    );
  });

  it("cannot be listed without ids any more", async () => {
    assertError(await rig.call("GET", "/actions"), 410, "deprecated_api_endpoint");
  });

  it("belong to their project", async () => {
    const { action } = await rig.must("POST", "/servers", serverOrder("m-1"));
    assertError(await rig.call("GET", `/actions/${action.id}`, undefined, "B".repeat(64)), 404, "not_found");
  });

  it("are found below their resource alone", async () => {
    const { server, action } = await rig.must("POST", "/servers", serverOrder("m-1"));
    const other = (await rig.must("POST", "/servers", serverOrder("m-2"))).server;
    await rig.must("GET", `/servers/${server.id}/actions/${action.id}`);
    assertError(await rig.call("GET", `/servers/${other.id}/actions/${action.id}`), 404, "not_found");
    assertError(await rig.call("GET", `/firewalls/actions/${action.id}`), 404, "not_found");
    assert.equal((await rig.must("GET", "/servers/actions?status=running")).actions.length, 4);
    assertError(await rig.call("GET", "/servers/99/actions"), 404, "not_found");
  });

  it("go on after a restart, and finished ones stay readable", async () => {
    const made = await rig.must("POST", "/servers", serverOrder("m-1"));
    const next = made.next_actions[0]?.id ?? 0;
    await rig.clock.advance(6_000);
    await rig.restart();
    assert.equal((await read(made.action.id)).status, "running");
    await rig.clock.advance(8_000);
    assert.equal((await read(made.action.id)).status, "success");
    await rig.restart();
    await rig.clock.advance(10_000);
    assert.equal((await read(next)).status, "success");
    await rig.restart();
    const { actions } = await rig.must("GET", `/servers/${made.server.id}/actions`);
    assert.deepEqual(
      actions.map((action) => action.status),
      ["success", "success"],
    );
    assert.equal((await rig.must("GET", `/servers/${made.server.id}`)).server.status, "running");
    assert.equal(rig.hetzner.bill().lines.length, 2);
  });

  it("can still delete a server whose machine died with its backend", async () => {
    const { id } = await rig.runningServer("m-1");
    const later = await rig.restart(nullBackend());
    assert.equal((await rig.must("GET", `/servers/${id}`)).server.status, "off");
    const { action } = await rig.must("DELETE", `/servers/${id}`);
    await rig.clock.advance(10_000);
    assert.equal((await read(action.id)).status, "success");
    assert.equal(later.bill().owedPerHour, 0);
  });

  it("take times that the seed decides", async () => {
    const createdAfter = async (seed: number) => {
      const own = await startRig({ seed });
      const { action } = await own.must("POST", "/servers", serverOrder("m-1"));
      let seconds = 0;
      while ((await own.must("GET", `/actions/${action.id}`)).action.status === "running") {
        await own.clock.advance(100);
        seconds += 0.1;
      }
      await own.close();
      return seconds;
    };
    const [first, again, other] = [await createdAfter(1), await createdAfter(1), await createdAfter(2)];
    assert.equal(first, again);
    assert.notEqual(first, other);
    for (const seconds of [first, other]) assert.ok(seconds >= 10.2 && seconds <= 13.9, String(seconds));
  });

  it("are a hundred times shorter with the fast profile", async () => {
    const own = await startRig({ profile: "fast" });
    const { server } = await own.must("POST", "/servers", serverOrder("m-1"));
    await own.clock.advance(190);
    assert.equal((await own.must("GET", `/servers/${server.id}`)).server.status, "running");
    await own.close();
  });
});
