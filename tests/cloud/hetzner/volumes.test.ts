import assert from "node:assert/strict";
import { nullBackend } from "../machines/null.ts";
import { assertError, type Rig, startRig } from "./rig.ts";

describe("Hetzner emulator: volumes", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  const made = async (name: string, other: Record<string, unknown> = { location: "fsn1" }) => {
    const { volume } = await rig.must("POST", "/volumes", { name, size: 10, ...other });
    await rig.clock.advance(20_000);
    return (await rig.must("GET", `/volumes/${volume.id}`)).volume;
  };
  const act = (id: number, name: string, body?: unknown) =>
    rig.call("POST", `/volumes/${id}/actions/${name}`, body);
  const settled = async (id: number, name: string, body?: unknown) => {
    const reply = await act(id, name, body);
    assert.equal(reply.status, 201, JSON.stringify(reply.json));
    await rig.clock.advance(20_000);
    return (await rig.must("GET", `/actions/${reply.body.action.id}`)).action;
  };

  it("are made, attached and mounted with their server", async () => {
    const server = await rig.runningServer("m-1", { location: "fsn1" });
    const reply = await rig.must("POST", "/volumes", {
      name: "data",
      size: 42,
      server: server.id,
      automount: true,
      format: "xfs",
    });
    assert.deepEqual(
      [reply.volume.status, reply.volume.server, reply.volume.location.name],
      ["creating", null, "fsn1"],
    );
    assert.deepEqual(
      [reply.action.command, ...reply.next_actions.map((action) => action.command)],
      ["create_volume", "attach_volume"],
    );
    await rig.clock.advance(20_000);
    const { volume } = await rig.must("GET", `/volumes/${reply.volume.id}`);
    assert.deepEqual([volume.status, volume.server, volume.format], ["available", server.id, "xfs"]);
    assert.equal(volume.linux_device, `/dev/disk/by-id/scsi-0HC_Volume_${volume.id}`);
    assert.deepEqual((await rig.must("GET", `/servers/${server.id}`)).server.volumes, [volume.id]);
    assert.deepEqual(rig.backend.volumes.get(volume.id), {
      id: volume.id,
      size: 42,
      format: "xfs",
      machine: server.id,
      automount: true,
    });
  });

  it("go from one server to another of the same location only", async () => {
    const first = await rig.runningServer("m-1", { location: "fsn1" });
    const second = await rig.runningServer("m-2", { location: "fsn1" });
    const elsewhere = await rig.runningServer("m-3", { location: "hel1" });
    const { id } = await made("data");
    assertError(await act(id, "attach", { server: elsewhere.id }), 422, "invalid_input", "server");
    assertError(await act(id, "detach"), 422, "service_error");
    assert.equal((await settled(id, "attach", { server: first.id })).status, "success");
    assertError(await act(id, "attach", { server: second.id }), 422, "volume_already_attached");
    await settled(id, "detach");
    assert.equal(rig.backend.volumes.get(id)?.machine, null);
    await settled(id, "attach", { server: second.id });
    assert.equal(rig.backend.volumes.get(id)?.machine, second.id);
  });

  it("lock themselves and the server while they are attached", async () => {
    const server = await rig.runningServer("m-1", { location: "fsn1" });
    const [a, b] = [await made("a"), await made("b")];
    await rig.must("POST", `/volumes/${a.id}/actions/attach`, { server: server.id });
    assertError(await act(b.id, "attach", { server: server.id }), 423, "locked");
    assertError(await act(a.id, "resize", { size: 20 }), 423, "locked");
    await rig.clock.advance(20_000);
    assert.equal((await settled(b.id, "attach", { server: server.id })).status, "success");
  });

  it("are made for a locked server, and attached when it is free by then", async () => {
    const server = await rig.runningServer("m-1", { location: "fsn1" });
    const order = (name: string) => ({ name, size: 10, server: server.id });
    const both = await Promise.all(["a", "b"].map((name) => rig.must("POST", "/volumes", order(name))));
    await rig.clock.advance(20_000);
    assert.deepEqual(
      (await rig.must("GET", `/servers/${server.id}`)).server.volumes,
      both.map(({ volume }) => volume.id),
    );
    await rig.must("POST", `/servers/${server.id}/actions/rebuild`, { image: "debian-12" });
    const { volume, next_actions: next } = await rig.must("POST", "/volumes", order("c"));
    await rig.clock.advance(60_000);
    const { action } = await rig.must("GET", `/actions/${next[0]?.id}`);
    assert.deepEqual([action.status, action.error?.code], ["error", "locked"]);
    assert.equal((await rig.must("GET", `/volumes/${volume.id}`)).volume.server, null);
  });

  it("grow and never shrink", async () => {
    const { id } = await made("data");
    assertError(await act(id, "resize", { size: 10 }), 422, "invalid_input", "size");
    assertError(await act(id, "resize", { size: 10_241 }), 422, "invalid_input", "size");
    await settled(id, "resize", { size: 25 });
    assert.equal((await rig.must("GET", `/volumes/${id}`)).volume.size, 25);
    assert.equal(rig.backend.volumes.get(id)?.size, 25);
  });

  it("are not deleted while they are protected, attached or locked", async () => {
    const server = await rig.runningServer("m-1", { location: "fsn1" });
    const { id } = await made("data", { server: server.id });
    assertError(await rig.call("DELETE", `/volumes/${id}`), 422, "service_error");
    await settled(id, "change_protection", { delete: true });
    assertError(await rig.call("DELETE", `/volumes/${id}`), 423, "protected");
    await settled(id, "change_protection", { delete: false });
    await rig.must("POST", `/volumes/${id}/actions/detach`);
    assertError(await rig.call("DELETE", `/volumes/${id}`), 423, "locked");
    await rig.clock.advance(20_000);
    await rig.must("DELETE", `/volumes/${id}`);
    assert.equal(rig.backend.volumes.size, 0);
    assertError(await rig.call("GET", `/volumes/${id}`), 404, "not_found");
  });

  it("outlive their server", async () => {
    const server = await rig.runningServer("m-1", { location: "fsn1" });
    const { id } = await made("data", { server: server.id });
    await rig.must("DELETE", `/servers/${server.id}`);
    await rig.clock.advance(20_000);
    assert.equal((await rig.must("GET", `/volumes/${id}`)).volume.server, null);
    assert.equal(rig.backend.volumes.get(id)?.machine, null);
  });

  it("are billed by their size until they are deleted", async () => {
    const { id } = await made("data");
    await settled(id, "resize", { size: 100 });
    await rig.must("DELETE", `/volumes/${id}`);
    const lines = rig.hetzner.bill().lines.filter((line) => line.id === id);
    assert.deepEqual(
      lines.map((line) => [line.kind, line.type, line.ended !== null]),
      [
        ["volume", "10 GB", true],
        ["volume", "100 GB", true],
      ],
    );
    assert.equal(rig.hetzner.bill().owedPerHour, 0);
  });

  it("that cannot be made are neither there nor billed", async () => {
    rig.backend.createVolume = async () => {
      throw new Error("the disk is full");
    };
    const { volume, action } = await rig.must("POST", "/volumes", {
      name: "data",
      size: 10,
      location: "fsn1",
    });
    await rig.clock.advance(20_000);
    assert.match(
      (await rig.must("GET", `/actions/${action.id}`)).action.error?.message ?? "",
      /disk is full/,
    );
    assertError(await rig.call("GET", `/volumes/${volume.id}`), 404, "not_found");
    assert.equal(rig.hetzner.bill().owedPerHour, 0);
  });

  it("go on being made and attached when the emulator starts again", async () => {
    const server = await rig.runningServer("m-1", { location: "fsn1" });
    const order = { name: "data", size: 10, server: server.id };
    const { volume } = await rig.must("POST", "/volumes", order);
    await rig.restart();
    assert.equal((await rig.must("GET", `/volumes/${volume.id}`)).volume.status, "creating");
    await rig.clock.advance(20_000);
    assert.equal((await rig.must("GET", `/volumes/${volume.id}`)).volume.server, server.id);
    assert.equal(rig.backend.volumes.get(volume.id)?.machine, server.id);
  });

  it("can be detached and deleted when the host has lost them", async () => {
    const server = await rig.runningServer("m-1", { location: "fsn1" });
    const { id } = await made("data", { server: server.id });
    await rig.restart(nullBackend());
    assert.equal((await settled(id, "detach")).status, "success");
    await rig.must("DELETE", `/volumes/${id}`);
  });

  const wrong: [string, Record<string, unknown>, string][] = [
    ["9 GB", { size: 9 }, "size"],
    ["10241 GB", { size: 10_241 }, "size"],
    ["half a GB", { size: 10.5 }, "size"],
    ["no location and no server", { location: undefined }, "location"],
    ["a location that is none", { location: "mars" }, "location"],
    ["a server that is none", { server: 1 }, "server"],
    ["automount without a server", { automount: true }, "automount"],
    ["a file system it does not know", { format: "btrfs" }, "format"],
    ["a name that ends in a dash", { name: "data-" }, "name"],
    ["a name of 65 characters", { name: "x".repeat(65) }, "name"],
    ["a label that is none", { labels: { "a b": "c" } }, "labels"],
  ];
  for (const [what, change, field] of wrong) {
    it(`are refused with ${what}`, async () => {
      const body = { name: "data", size: 10, location: "fsn1", ...change };
      assertError(await rig.call("POST", "/volumes", body), 422, "invalid_input", field);
    });
  }

  it("are found by name, label and status", async () => {
    await made("a", { location: "fsn1", labels: { use: "db" } });
    await rig.must("POST", "/volumes", { name: "b", size: 10, location: "fsn1" });
    const names = async (query: string) =>
      (await rig.must("GET", `/volumes?${query}`)).volumes.map((volume) => volume.name);
    assert.deepEqual(await names("status=creating"), ["b"]);
    assert.deepEqual(await names("status=creating&status=available&sort=name:desc"), ["b", "a"]);
    assert.deepEqual(await names("label_selector=use"), ["a"]);
    assert.deepEqual(await names("name=b"), ["b"]);
    assertError(await rig.call("GET", "/volumes?status=gone"), 422, "invalid_input", "status");
    const again = { name: "a", size: 10, location: "fsn1" };
    assertError(await rig.call("POST", "/volumes", again), 409, "uniqueness_error", "name");
  });

  it("are 16 to a server and not 17", async () => {
    const server = await rig.runningServer("m-1", { location: "fsn1" });
    for (let index = 0; index < 16; index++) await made(`v-${index}`, { server: server.id });
    const one = { name: "one", size: 10, server: server.id };
    assertError(await rig.call("POST", "/volumes", one), 403, "resource_limit_exceeded");
  });
});
