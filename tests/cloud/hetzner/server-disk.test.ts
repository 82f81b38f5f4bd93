import assert from "node:assert/strict";
import { assertError, publicKey, type Rig, serverOrder, startRig } from "./rig.ts";

describe("Hetzner emulator: a server's disk and size", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  const settle = () => rig.clock.advance(3_600_000);
  const act = (id: number, name: string, body?: unknown) =>
    rig.call("POST", `/servers/${id}/actions/${name}`, body);
  const must = async (id: number, name: string, body?: unknown) => {
    const answer = await rig.must("POST", `/servers/${id}/actions/${name}`, body);
    await settle();
    return answer;
  };
  const seen = async (id: number) => (await rig.must("GET", `/servers/${id}`)).server;
  const actionOf = async (id: number) => (await rig.must("GET", `/actions/${id}`)).action;

  describe("rebuild", () => {
    it("begins the disk anew from another image, keeps id and address, and switches it on", async () => {
      const before = await rig.runningServer("m-1", { user_data: "first" });
      await must(before.id, "poweroff");
      const answer = await rig.must("POST", `/servers/${before.id}/actions/rebuild`, {
        image: "ubuntu-24.04",
      });
      assert.equal(answer.action.command, "rebuild_server");
      assert.match(answer.root_password ?? "", /^.{20}$/);
      assert.equal((await seen(before.id)).status, "rebuilding");
      await settle();
      const after = await seen(before.id);
      assert.deepEqual([after.status, after.image?.name], ["running", "ubuntu-24.04"]);
      assert.deepEqual(after.public_net.ipv4, before.public_net.ipv4);
      assert.partialDeepStrictEqual(rig.backend.machines.get(before.id), {
        image: "ubuntu-24.04",
        userData: "first",
        rebuilds: 1,
      });
    });

    it("takes other user_data, and makes no password for a server with keys", async () => {
      const { ssh_key: key } = await rig.must("POST", "/ssh_keys", {
        name: "k",
        public_key: publicKey("a"),
      });
      const { id } = await rig.runningServer("m-1", { ssh_keys: [key.id] });
      const answer = await must(id, "rebuild", { image: 114690389, user_data: "second" });
      assert.equal(answer.root_password, null);
      assert.equal(rig.backend.machines.get(id)?.userData, "second");
    });

    it("is refused to a protected server and with an image that does not fit", async () => {
      const { id } = await rig.runningServer("m-1");
      assertError(await act(id, "rebuild", { image: "windows" }), 422, "invalid_input", "image");
      assertError(await act(id, "rebuild", { image: 161547270 }), 422, "invalid_input", "image");
      assertError(await act(id, "rebuild", {}), 422, "invalid_input", "image");
      const long = { image: "debian-12", user_data: "x".repeat(32 * 1024 + 1) };
      assertError(await act(id, "rebuild", long), 422, "invalid_input", "user_data");
      await must(id, "change_protection", { delete: true, rebuild: true });
      assertError(await act(id, "rebuild", { image: "debian-12" }), 423, "protected");
    });

    it("that fails leaves the server as its machine is", async () => {
      const { id } = await rig.runningServer("m-1");
      rig.backend.rebuild = () => Promise.reject(new Error("no space left"));
      const { action } = await must(id, "rebuild", { image: "debian-12" });
      assert.equal((await actionOf(action.id)).error?.message, "no space left");
      assert.equal((await seen(id)).status, "running");
    });
  });

  describe("change_type", () => {
    it("wants the server off, resizes its machine and starts it again", async () => {
      const { id } = await rig.runningServer("m-1");
      const order = { server_type: "cx33", upgrade_disk: false };
      assertError(await act(id, "change_type", order), 422, "server_not_stopped");
      await must(id, "poweroff");
      const { action } = await rig.must("POST", `/servers/${id}/actions/change_type`, order);
      assert.equal(action.command, "change_server_type");
      assert.equal((await seen(id)).status, "migrating");
      await settle();
      const server = await seen(id);
      assert.deepEqual(
        [server.status, server.server_type.name, server.primary_disk_size],
        ["running", "cx33", 40],
      );
      assert.partialDeepStrictEqual(rig.backend.machines.get(id), { cores: 4, memoryGiB: 8 });
      const bill = rig.hetzner.bill().lines.filter((line) => line.kind === "server");
      assert.deepEqual(
        bill.map((line) => [line.type, line.ended === null]),
        [
          ["cx23", false],
          ["cx33", true],
        ],
      );
    });

    it("grows the disk when asked, and then there is no way back", async () => {
      const { id } = await rig.runningServer("m-1");
      await must(id, "poweroff");
      await must(id, "change_type", { server_type: "cx33", upgrade_disk: true });
      assert.equal((await seen(id)).primary_disk_size, 80);
      await must(id, "poweroff");
      const back = { server_type: "cx23", upgrade_disk: false };
      assertError(await act(id, "change_type", back), 422, "invalid_server_type");
    });

    it("refuses types that do not fit or are sold out", async () => {
      const { id } = await rig.runningServer("m-1");
      await must(id, "poweroff");
      const to = (type: string) => act(id, "change_type", { server_type: type, upgrade_disk: false });
      for (const type of ["cx11", "cx23", "cax11", "cpx11"]) {
        assertError(await to(type), 422, "invalid_server_type");
      }
      assertError(await to("cx99"), 422, "invalid_input", "server_type");
      rig.hetzner.faults.add({ effect: { kind: "stock_out" } });
      assertError(await to("cx33"), 412, "resource_unavailable");
      assert.equal((await seen(id)).status, "off");
    });
  });

  describe("create_image", () => {
    it("makes a snapshot that outlives its server and is billed by its size", async () => {
      const { id } = await rig.runningServer("m-1", { server_type: "cx33" });
      const { image, action } = await rig.must("POST", `/servers/${id}/actions/create_image`, {
        description: "before the upgrade",
        labels: { a: "b" },
      });
      assert.deepEqual(
        [image.type, image.status, image.description, image.name, image.created_from?.name],
        ["snapshot", "creating", "before the upgrade", null, "m-1"],
      );
      assert.deepEqual(new Set(action.resources.map(({ type }) => type)), new Set(["server", "image"]));
      assertError(await act(id, "poweroff"), 423, "locked");
      assertError(await rig.call("DELETE", `/images/${image.id}`), 423, "locked");
      await settle();
      await rig.must("DELETE", `/servers/${id}`);
      await settle();
      const made = (await rig.must("GET", `/images/${image.id}`)).image;
      assert.deepEqual(
        [made.status, made.image_size, made.disk_size, made.bound_to, made.os_flavor, made.architecture],
        ["available", 1.07, 80, null, "debian", "x86"],
      );
      const open = rig.hetzner.bill().lines.filter((line) => line.ended === null);
      assert.deepEqual(
        open.map((line) => [line.kind, line.type]),
        [["snapshot", "1.07 GB"]],
      );
    });

    it("lets later servers and rebuilds start from it", async () => {
      const source = await rig.runningServer("m-1");
      const { image } = await must(source.id, "create_image");
      assert.equal(image.description, "snapshot of m-1");
      const made = await rig.must("POST", "/servers", { ...serverOrder("m-2"), image: image.id });
      await settle();
      const server = await seen(made.server.id);
      assert.deepEqual([server.status, server.image?.id, server.image?.name], ["running", image.id, null]);
      assert.partialDeepStrictEqual(rig.backend.machines.get(server.id), {
        image: "debian-12",
        snapshot: "null-1",
      });
      await must(source.id, "rebuild", { image: String(image.id) });
      assert.equal(rig.backend.machines.get(source.id)?.snapshot, "null-1");
      await rig.must("DELETE", `/images/${image.id}`);
      assert.equal(rig.backend.snapshots.size, 0);
      assert.equal((await seen(server.id)).image, null);
      const again = { ...serverOrder("m-3"), image: image.id };
      assertError(await rig.call("POST", "/servers", again), 422, "invalid_input", "image");
    });

    it("takes longer to create a server from", async () => {
      const source = await rig.runningServer("m-1");
      const { image } = await must(source.id, "create_image");
      const { action } = await rig.must("POST", "/servers", { ...serverOrder("m-2"), image: image.id });
      await rig.clock.advance(20_000);
      assert.equal((await actionOf(action.id)).status, "running");
    });

    it("does not fit a smaller disk", async () => {
      const source = await rig.runningServer("m-1", { server_type: "cx33" });
      const { image } = await must(source.id, "create_image");
      const order = { ...serverOrder("m-2"), image: image.id };
      assertError(await rig.call("POST", "/servers", order), 422, "invalid_input", "image");
    });

    it("is not available before it is made, nor when its data died with the backend", async () => {
      const source = await rig.runningServer("m-1");
      const { image } = await rig.must("POST", `/servers/${source.id}/actions/create_image`);
      const order = { ...serverOrder("m-2"), image: image.id };
      assertError(await rig.call("POST", "/servers", order), 422, "invalid_input", "image");
      await settle();
      await rig.restart();
      assert.equal((await rig.must("GET", `/images/${image.id}`)).image.status, "available");
      const { nullBackend } = await import("../machines/null.ts");
      await rig.restart(nullBackend());
      assert.equal((await rig.must("GET", `/images/${image.id}`)).image.status, "unavailable");
      await rig.must("DELETE", `/images/${image.id}`);
    });

    it("that fails leaves no image", async () => {
      const { id } = await rig.runningServer("m-1");
      rig.backend.snapshot = () => Promise.reject(new Error("no space left"));
      const { image, action } = await must(id, "create_image");
      assert.equal((await actionOf(action.id)).error?.message, "no space left");
      assertError(await rig.call("GET", `/images/${image.id}`), 404, "not_found");
      assertError(await act(id, "create_image", { type: "system" }), 422, "invalid_input", "type");
      assertError(await act(id, "create_image", { labels: { "-": "" } }), 422, "invalid_input", "labels");
    });
  });

  describe("backups", () => {
    it("cost a fifth of the server and are made only while they are enabled", async () => {
      const { id } = await rig.runningServer("m-1");
      const order = { type: "backup" };
      assertError(await act(id, "create_image", order), 422, "invalid_input", "type");
      await must(id, "enable_backup");
      assert.match((await seen(id)).backup_window ?? "", /^\d\d-\d\d$/);
      const [server, backup] = rig.hetzner.bill().lines.filter((line) => line.id === id);
      assert.equal(backup?.kind, "backup");
      assert.ok(Math.abs((backup?.owedPerHour ?? 0) / (server?.owedPerHour ?? 1) - 0.2) < 0.01);
      const { image } = await must(id, "create_image", order);
      assert.equal(image.bound_to, id);
      assert.deepEqual(
        (await rig.must("GET", `/images?bound_to=${id}`)).images.map((each) => each.id),
        [image.id],
      );
      await must(id, "disable_backup");
      assert.equal((await seen(id)).backup_window, null);
      assertError(await rig.call("GET", `/images/${image.id}`), 404, "not_found");
      assert.equal(rig.hetzner.bill().lines.filter((line) => line.ended === null).length, 2);
    });

    it("are seven at most, and go with their server unless they became snapshots", async () => {
      const { id } = await rig.runningServer("m-1");
      await must(id, "enable_backup");
      const made: number[] = [];
      for (let index = 0; index < 8; index++) {
        made.push((await must(id, "create_image", { type: "backup" })).image.id);
      }
      const bound = (await rig.must("GET", `/images?bound_to=${id}`)).images.map((each) => each.id);
      assert.deepEqual(bound, made.slice(1));
      const kept = bound[0];
      await rig.must("PUT", `/images/${kept}`, { type: "snapshot" });
      await rig.must("DELETE", `/servers/${id}`);
      await settle();
      const { images } = await rig.must("GET", "/images?type=snapshot&type=backup");
      assert.deepEqual(
        images.map((each) => [each.id, each.type, each.bound_to]),
        [[kept, "snapshot", null]],
      );
      assert.equal(rig.backend.snapshots.size, 1);
    });

    it("enabled or disabled twice are the same as once", async () => {
      const { id } = await rig.runningServer("m-1");
      await must(id, "enable_backup");
      const { action } = await rig.must("POST", `/servers/${id}/actions/enable_backup`);
      assert.equal(action.status, "success");
      await must(id, "disable_backup");
      await must(id, "disable_backup");
      assert.equal(rig.hetzner.bill().lines.filter((line) => line.kind === "backup").length, 1);
    });
  });
});
