import assert from "node:assert/strict";
import { assertError, type Rig, startRig } from "./rig.ts";

const ubuntu = 161547269;

describe("Hetzner emulator: images and ISOs", () => {
  let rig: Rig;
  let server: number;
  beforeEach(async () => {
    rig = await startRig();
    server = (await rig.runningServer("m-1")).id;
  });
  afterEach(() => rig.close());

  const settle = () => rig.clock.advance(3_600_000);
  const made = async (order: Record<string, unknown> = {}) => {
    const { image } = await rig.must("POST", `/servers/${server}/actions/create_image`, order);
    await settle();
    return image.id;
  };
  const ids = async (query: string) =>
    (await rig.must("GET", `/images?per_page=50&${query}`)).images.map((image) => image.id);

  it("have a twin for arm and are found by name, architecture, type and age", async () => {
    assert.deepEqual(await ids("name=ubuntu-24.04"), [ubuntu, ubuntu + 1]);
    assert.deepEqual(await ids("name=ubuntu-24.04&architecture=arm"), [ubuntu + 1]);
    assert.deepEqual(await ids("name=ubuntu-24.04&architecture=x86&architecture=arm&sort=id:desc"), [
      ubuntu + 1,
      ubuntu,
    ]);
    const { images } = await rig.must("GET", "/images?per_page=50&include_deprecated=true");
    for (const image of images) {
      const twins = images.filter((other) => other.name === image.name);
      assert.deepEqual(twins.map((twin) => twin.architecture).sort(), ["arm", "x86"], image.name ?? "");
    }
    assert.deepEqual(await ids("name=ubuntu-24.04&type=snapshot"), []);
    assert.deepEqual(await ids("name=debian-11"), []);
    assert.equal((await ids("name=debian-11&include_deprecated=true")).length, 2);
  });

  it("of a project are found by type, status, label and the server that they are bound to", async () => {
    await rig.must("POST", `/servers/${server}/actions/enable_backup`);
    await settle();
    const backup = await made({ type: "backup", labels: { of: "night" } });
    const snapshot = await made({ labels: { of: "day" } });
    assert.deepEqual(await ids("type=backup"), [backup]);
    assert.deepEqual(await ids("type=backup&type=snapshot"), [backup, snapshot]);
    assert.deepEqual(await ids("type=backup&type=snapshot&sort=created:desc"), [snapshot, backup]);
    assert.deepEqual(await ids("label_selector=of==day"), [snapshot]);
    assert.deepEqual(await ids(`bound_to=${server}`), [backup]);
    assert.deepEqual(await ids("bound_to=7"), []);
    assert.deepEqual(await ids(`name=snapshot-${snapshot}`), []);
    const { image } = await rig.must("POST", `/servers/${server}/actions/create_image`);
    assert.deepEqual(await ids("status=creating"), [image.id]);
    assertError(await rig.call("GET", "/images?status=made"), 422, "invalid_input", "status");
    assertError(await rig.call("GET", "/images?type=iso"), 422, "invalid_input", "type");
  });

  it("belong to their project; system images to everybody", async () => {
    const snapshot = await made();
    const other = "B".repeat(64);
    assertError(await rig.call("GET", `/images/${snapshot}`, undefined, other), 404, "not_found");
    assert.equal((await rig.call("GET", `/images/${ubuntu}`, undefined, other)).status, 200);
    assert.deepEqual((await rig.must("GET", `/images/${ubuntu}/actions`)).actions, []);
    for (const id of ["7", "abc", "0"]) {
      assertError(await rig.call("GET", `/images/${id}`), 404, "not_found");
      assertError(await rig.call("GET", `/images/${id}/actions`), 404, "not_found");
    }
  });

  it("of a project can be described and labelled anew; a backup can become a snapshot, not the reverse", async () => {
    await rig.must("POST", `/servers/${server}/actions/enable_backup`);
    await settle();
    const id = await made({ type: "backup" });
    const path = `/images/${id}`;
    const { image } = await rig.must("PUT", path, { description: "new", labels: { a: "b" } });
    assert.deepEqual([image.description, image.labels, image.type], ["new", { a: "b" }, "backup"]);
    assertError(await rig.call("PUT", path, { type: "backup" }), 422, "invalid_input", "type");
    assertError(await rig.call("PUT", path, { labels: { "-": "" } }), 422, "invalid_input", "labels");
    const billed = () => rig.hetzner.bill().lines.filter((line) => line.kind === "snapshot").length;
    assert.equal(billed(), 0);
    assert.equal((await rig.must("PUT", path, { type: "snapshot" })).image.type, "snapshot");
    assert.equal((await rig.must("PUT", path, { type: "snapshot" })).image.bound_to, null);
    assert.equal(billed(), 1);
  });

  it("of the system cannot be changed or deleted", async () => {
    assertError(await rig.call("PUT", `/images/${ubuntu}`, { description: "x" }), 403, "forbidden");
    assertError(await rig.call("DELETE", `/images/${ubuntu}`), 403, "forbidden");
  });

  it("are not deleted while they are protected, which backups cannot be", async () => {
    await rig.must("POST", `/servers/${server}/actions/enable_backup`);
    await settle();
    const [backup, snapshot] = [await made({ type: "backup" }), await made()];
    const protect = (id: number, value: boolean) =>
      rig.call("POST", `/images/${id}/actions/change_protection`, { delete: value });
    assertError(await protect(backup, true), 422, "unsupported_error");
    await protect(snapshot, true);
    await settle();
    assert.equal((await rig.must("GET", `/images/${snapshot}`)).image.protection.delete, true);
    assertError(await rig.call("DELETE", `/images/${snapshot}`), 423, "protected");
    await protect(snapshot, false);
    await settle();
    await rig.must("DELETE", `/images/${snapshot}`);
    assertError(await rig.call("DELETE", `/images/${snapshot}`), 404, "not_found");
    assert.equal(rig.hetzner.bill().lines.filter((line) => line.kind === "snapshot")[0]?.owedPerHour, 0);
    const { actions } = await rig.must("GET", `/images/${snapshot}/actions`);
    assert.deepEqual(
      actions.map((action) => action.command),
      ["create_image", "change_protection", "change_protection"],
    );
  });

  it("to boot from once, ISOs, are found by name and architecture", async () => {
    const of = async (query: string) => (await rig.must("GET", `/isos?${query}`)).isos;
    assert.deepEqual(
      (await of("")).slice(0, 2).map((iso) => [iso.id, iso.description]),
      [
        [8637, "Windows Server 2022 English"],
        [8638, "Windows Server 2022 German"],
      ],
    );
    const arm = await of("architecture=arm&include_architecture_wildcard=true");
    assert.deepEqual(new Set(arm.map((iso) => iso.architecture)), new Set(["arm"]));
    const [debian] = await of("name=debian-12.11.0-amd64-netinst.iso");
    assert.equal((await rig.must("GET", `/isos/${debian?.id}`)).iso.architecture, "x86");
    assertError(await rig.call("GET", "/isos/7"), 404, "not_found");
  });
});
