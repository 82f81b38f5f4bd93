import assert from "node:assert/strict";
import { assertError, publicKey, type Rig, serverOrder, startRig } from "./rig.ts";

describe("Hetzner emulator: servers", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig({ serverLimit: 12 });
  });
  afterEach(() => rig.close());

  const status = async (id: number) => (await rig.must("GET", `/servers/${id}`)).server.status;
  const act = (id: number, name: string, body?: unknown) =>
    rig.call("POST", `/servers/${id}/actions/${name}`, body);

  it("answers an order at once and brings the machine up over create_server and start_server", async () => {
    const key = (await rig.must("POST", "/ssh_keys", { name: "k", public_key: publicKey("a") })).ssh_key;
    const made = await rig.must("POST", "/servers", {
      ...serverOrder("m-1"),
      location: "nbg1",
      ssh_keys: [key.id],
      user_data: "#cloud-config\n",
      labels: { pool: "small" },
    });
    const { id } = made.server;
    assert.equal(made.server.status, "initializing");
    assert.equal(made.server.locked, true);
    assert.equal(made.action.command, "create_server");
    assert.deepEqual(
      made.next_actions.map((action) => [action.command, action.status]),
      [["start_server", "running"]],
    );
    assert.equal(made.root_password, null);
    assert.equal(made.server.public_net.ipv4?.ip, "198.18.0.1");
    assert.match(
      made.server.public_net.ipv6?.ip ?? "",
      /^2001:db8:[1-9a-f][0-9a-f]*:[1-9a-f][0-9a-f]*::\/64$/,
    );
    assert.partialDeepStrictEqual(rig.backend.machines.get(id), {
      id,
      name: "m-1",
      image: "debian-12",
      userData: "#cloud-config\n",
      sshKeys: [key.public_key],
      location: "nbg1",
      cores: 2,
      memoryGiB: 4,
    });
    assert.equal(rig.backend.isOn(id), false);

    await rig.clock.advance(14_000);
    assert.equal(await status(id), "starting");
    assert.equal(rig.backend.isOn(id), true);
    await rig.clock.advance(5_000);
    const { server } = await rig.must("GET", `/servers/${id}`);
    assert.equal(server.status, "running");
    assert.equal(server.locked, false);
  });

  it("leaves the machine off when the order says start_after_create: false", async () => {
    const made = await rig.must("POST", "/servers", { ...serverOrder("m-1"), start_after_create: false });
    assert.deepEqual(made.next_actions, []);
    await rig.clock.advance(60_000);
    assert.equal(await status(made.server.id), "off");
    assert.equal(rig.backend.isOn(made.server.id), false);
  });

  it("gives a password only to an order without keys, and the machine has it when it boots", async () => {
    const made = await rig.must("POST", "/servers", { ...serverOrder("m-1"), start_after_create: false });
    assert.match(made.root_password ?? "", /^.{20}$/);
    await rig.clock.advance(60_000);
    const rootPassword = () => rig.backend.machines.get(made.server.id)?.rootPassword;
    assert.equal(rootPassword(), null);
    await act(made.server.id, "poweron");
    await rig.clock.advance(60_000);
    assert.equal(rootPassword(), made.root_password);
    const again = await act(made.server.id, "rebuild", { image: "debian-12" });
    await rig.clock.advance(60_000);
    assert.equal(rootPassword(), again.body.root_password);
    assert.notEqual(again.body.root_password, made.root_password);
  });

  it("switches the machine by its power actions", async () => {
    const { id } = await rig.runningServer("m-1");
    const expected: [string, string, boolean][] = [
      ["poweroff", "off", false],
      ["poweron", "running", true],
      ["reboot", "running", true],
      ["reset", "running", true],
      ["shutdown", "off", false],
    ];
    for (const [name, after, on] of expected) {
      const { body } = await act(id, name);
      await rig.clock.advance(10_000);
      assert.equal(await status(id), after, name);
      assert.equal(rig.backend.isOn(id), on, name);
      assert.equal(
        (await rig.must("GET", `/servers/${id}/actions/${body.action.id}`)).action.status,
        "success",
      );
    }
    assertError(await act(id, "reboot"), 422, "unsupported_error");
  });

  it("shows a machine that went off by itself as off", async () => {
    const { id } = await rig.runningServer("m-1");
    await rig.backend.shutdown(id);
    assert.equal(await status(id), "off");
    assert.deepEqual((await rig.must("GET", "/servers?status=off")).servers.length, 1);
    assert.deepEqual((await rig.must("GET", "/servers?status=running")).servers.length, 0);
  });

  it("refuses changes with 423 while an action runs", async () => {
    const { id } = (await rig.must("POST", "/servers", serverOrder("m-1"))).server;
    assertError(await act(id, "poweroff"), 423, "locked");
    assertError(await rig.call("DELETE", `/servers/${id}`), 423, "locked");
    await rig.clock.advance(60_000);
    assert.equal((await act(id, "poweroff")).status, 201);
    assertError(await act(id, "poweron"), 423, "locked");
  });

  it("deletes machine, addresses and name, and keeps the action readable", async () => {
    const { id } = await rig.runningServer("m-1");
    const { action } = await rig.must("DELETE", `/servers/${id}`);
    assert.equal(action.command, "delete_server");
    assert.equal(await status(id), "deleting");
    await rig.clock.advance(10_000);
    assertError(await rig.call("GET", `/servers/${id}`), 404, "not_found");
    assertError(await rig.call("DELETE", `/servers/${id}`), 404, "not_found");
    assert.equal((await rig.must("GET", `/actions/${action.id}`)).action.status, "success");
    assert.deepEqual((await rig.must("GET", "/primary_ips")).primary_ips, []);
    assert.equal(rig.backend.machines.size, 0);
    assert.equal(
      (await rig.must("POST", "/servers", serverOrder("m-1"))).server.public_net.ipv4?.ip,
      "198.18.0.2",
    );
  });

  it("does not delete what is protected", async () => {
    const { id } = await rig.runningServer("m-1");
    assertError(await act(id, "change_protection", { delete: true }), 422, "invalid_input", "rebuild");
    await act(id, "change_protection", { delete: true, rebuild: true });
    await rig.clock.advance(1_000);
    assertError(await rig.call("DELETE", `/servers/${id}`), 423, "protected");
    await act(id, "change_protection", { delete: false, rebuild: false });
    await rig.clock.advance(1_000);
    await rig.must("DELETE", `/servers/${id}`);
  });

  it("renames and relabels without an action, labels as a whole", async () => {
    const { id } = await rig.runningServer("m-1", { labels: { a: "1", b: "2" } });
    await rig.must("PUT", `/servers/${id}`, { name: "m-2" });
    const { server } = await rig.must("PUT", `/servers/${id}`, { labels: { "example.com/c": "" } });
    assert.equal(server.name, "m-2");
    assert.deepEqual(server.labels, { "example.com/c": "" });
    assert.equal((await rig.must("GET", `/servers/${id}/actions`)).actions.length, 2);
  });

  it("gives a name once in a project, to one of two orders at once", async () => {
    const replies = await Promise.all([1, 2].map(() => rig.call("POST", "/servers", serverOrder("m-1"))));
    const refused = replies.find((reply) => reply.status !== 201);
    assert.equal(replies.filter((reply) => reply.status === 201).length, 1);
    assert.ok(refused);
    assertError(refused, 409, "uniqueness_error", "name");
    assert.equal(rig.backend.machines.size, 1);
    assert.equal((await rig.call("POST", "/servers", serverOrder("m-1"), "B".repeat(64))).status, 201);
    const other = (await rig.must("POST", "/servers", serverOrder("m-2"))).server;
    assertError(
      await rig.call("PUT", `/servers/${other.id}`, { name: "m-1" }),
      409,
      "uniqueness_error",
      "name",
    );
  });

  it("holds the limit of the account over all projects", async () => {
    for (let index = 0; index < 12; index++) {
      const token = (index % 2 ? "A" : "B").repeat(64);
      assert.equal((await rig.call("POST", "/servers", serverOrder(`m-${index}`), token)).status, 201);
    }
    const reply = await rig.call("POST", "/servers", serverOrder("m-12"));
    assertError(reply, 403, "resource_limit_exceeded");
    assert.deepEqual(reply.body.error.details, { limits: [{ name: "server_limit" }] });
  });

  it("says that a type is sold out before anything is made", async () => {
    const order = { ...serverOrder("m-1"), server_type: "cax11", location: "fsn1" };
    assertError(await rig.call("POST", "/servers", order), 412, "resource_unavailable");
    assert.equal(rig.backend.machines.size, 0);
  });

  it("frees the name when the machine cannot be made", async () => {
    const { create } = rig.backend;
    rig.backend.create = () => Promise.reject(new Error("no space left"));
    assertError(await rig.call("POST", "/servers", serverOrder("m-1")), 503, "unavailable");
    rig.backend.create = create;
    assert.equal((await rig.call("POST", "/servers", serverOrder("m-1"))).status, 201);
    assert.equal(rig.hetzner.bill().lines.length, 2);
  });

  it("ends both actions in error when the machine does not start", async () => {
    rig.backend.powerOn = () => Promise.reject(new Error("no boot"));
    const made = await rig.must("POST", "/servers", serverOrder("m-1"));
    await rig.clock.advance(60_000);
    for (const { id } of [made.action, ...made.next_actions]) {
      const { action } = await rig.must("GET", `/actions/${id}`);
      assert.equal(action.status, "error");
      assert.deepEqual(action.error, { code: "action_failed", message: "no boot" });
    }
    assert.equal(await status(made.server.id), "off");
  });

  const wrong: [string, Record<string, unknown>, string][] = [
    ["an empty name", { name: "" }, "name"],
    ["a name with an underscore", { name: "a_b" }, "name"],
    ["a name with a newline", { name: "a\n" }, "name"],
    ["a name with a label of 64", { name: "a".repeat(64) }, "name"],
    ["a name of 257", { name: `${"abcdefg.".repeat(32)}a` }, "name"],
    ["a name that is a number", { name: 5 }, "name"],
    ["no type", { server_type: undefined }, "server_type"],
    ["an unknown type", { server_type: "cx99" }, "server_type"],
    ["a type that is gone", { server_type: "cx11" }, "server_type"],
    ["an unknown image", { image: "windows" }, "image"],
    ["an image of the other architecture", { image: 161547270 }, "image"],
    ["an unknown location", { location: "lon1" }, "location"],
    ["a location that does not sell the type", { location: "ash" }, "location"],
    ["an unknown key", { ssh_keys: [1] }, "ssh_keys"],
    ["an unknown firewall", { firewalls: [{ firewall: 1 }] }, "firewalls"],
    ["a firewall without id", { firewalls: [{}] }, "firewalls.0.firewall"],
    ["an unknown network", { networks: [1] }, "networks"],
    ["an unknown group", { placement_group: 1 }, "placement_group"],
    ["an unknown address", { public_net: { ipv4: 1 } }, "public_net.ipv4"],
    ["no network at all", { public_net: { enable_ipv4: false, enable_ipv6: false } }, "public_net"],
    ["an unknown volume", { volumes: [1] }, "volumes"],
    ["an address that it does not want", { public_net: { enable_ipv6: false, ipv6: 1 } }, "public_net.ipv6"],
    ["too much user_data", { user_data: "ä".repeat(16 * 1024 + 1) }, "user_data"],
    ["labels with a colon", { labels: { at: "12:00" } }, "labels"],
    ["labels with a reserved prefix", { labels: { "hetzner.cloud/x": "1" } }, "labels"],
    ["labels with a long value", { labels: { a: "x".repeat(64) } }, "labels"],
    ["labels with a long key", { labels: { ["k".repeat(64)]: "" } }, "labels"],
    ["labels that are null", { labels: null }, "labels"],
    ["start_after_create as text", { start_after_create: "no" }, "start_after_create"],
  ];
  for (const [what, change, field] of wrong) {
    it(`refuses ${what}, naming ${field}`, async () => {
      const reply = await rig.call("POST", "/servers", { ...serverOrder("m-1"), ...change });
      assertError(reply, 422, "invalid_input", field);
      assert.equal(rig.backend.machines.size, 0);
    });
  }

  it("takes user_data of exactly 32 KiB", async () => {
    await rig.must("POST", "/servers", { ...serverOrder("m-1"), user_data: "x".repeat(32 * 1024) });
  });

  it("names every wrong field at once", async () => {
    const reply = await rig.call("POST", "/servers", { name: "_", labels: { "-": "" } });
    assertError(reply, 422, "invalid_input", "name", "labels", "server_type", "image");
  });
});
