import assert from "node:assert/strict";
import { assertError, type Rig, startRig } from "./rig.ts";

describe("Hetzner emulator: floating IPs", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  const bought = async (other: Record<string, unknown> = {}) =>
    (await rig.must("POST", "/floating_ips", { type: "ipv4", home_location: "fsn1", ...other })).floating_ip;
  const seen = async (id: number) => (await rig.must("GET", `/floating_ips/${id}`)).floating_ip;
  const act = (id: number, name: string, body?: unknown) =>
    rig.call("POST", `/floating_ips/${id}/actions/${name}`, body);
  const must = async (id: number, name: string, body?: unknown) => {
    await rig.must("POST", `/floating_ips/${id}/actions/${name}`, body);
    await rig.clock.advance(10_000);
  };

  it("are bought at home, with a name of their own if none is given", async () => {
    const reply = await rig.must("POST", "/floating_ips", {
      type: "ipv6",
      home_location: 2,
      description: "web",
    });
    assert.equal(reply.action, null);
    const address = reply.floating_ip;
    assert.deepEqual(
      [address.home_location.name, address.description, address.server],
      ["nbg1", "web", null],
    );
    assert.match(address.ip, /::\/64$/);
    assert.notEqual(address.name, "");
    const path = `/floating_ips/${address.id}`;
    await rig.must("PUT", path, { name: "front", description: null, labels: { a: "b" } });
    const changed = await seen(address.id);
    assert.deepEqual([changed.name, changed.description, changed.labels], ["front", null, { a: "b" }]);
  });

  it("move between running servers of any location", async () => {
    const first = await rig.runningServer("m-1", { location: "fsn1" });
    const second = await rig.runningServer("m-2", { location: "hel1" });
    const { floating_ip: address, action } = await rig.must("POST", "/floating_ips", {
      type: "ipv4",
      server: first.id,
    });
    assert.deepEqual(
      [action.command, address.server, address.home_location.name],
      ["assign_floating_ip", first.id, "fsn1"],
    );
    assertError(await act(address.id, "unassign"), 423, "locked");
    await rig.clock.advance(10_000);
    assert.deepEqual((await rig.must("GET", `/servers/${first.id}`)).server.public_net.floating_ips, [
      address.id,
    ]);
    assertError(await act(address.id, "assign", { server: first.id }), 422, "floating_ip_assigned");
    await must(address.id, "assign", { server: second.id });
    assert.equal((await seen(address.id)).server, second.id);
    await must(address.id, "unassign");
    assertError(await act(address.id, "unassign"), 422, "unsupported_error");
    await must(address.id, "assign", { server: second.id });
    await rig.must("DELETE", `/servers/${second.id}`);
    await rig.clock.advance(20_000);
    assert.equal((await seen(address.id)).server, null);
  });

  it("are not deleted while they are assigned or protected; then the address is free", async () => {
    const server = await rig.runningServer("m-1");
    const address = await bought({ server: server.id });
    await rig.clock.advance(10_000);
    assert.ok(rig.backend.addresses.has(address.ip));
    assertError(await rig.call("DELETE", `/floating_ips/${address.id}`), 422, "must_be_unassigned");
    await must(address.id, "unassign");
    await must(address.id, "change_protection", { delete: true });
    assertError(await rig.call("DELETE", `/floating_ips/${address.id}`), 423, "protected");
    await must(address.id, "change_protection", { delete: false });
    await rig.must("DELETE", `/floating_ips/${address.id}`);
    assert.ok(!rig.backend.addresses.has(address.ip));
  });

  it("have reverse names", async () => {
    const four = await bought();
    await must(four.id, "change_dns_ptr", { ip: four.ip, dns_ptr: "four.example.org" });
    assert.equal((await seen(four.id)).dns_ptr[0]?.dns_ptr, "four.example.org");
    const six = await bought({ type: "ipv6" });
    const ip = six.ip.replace("/64", "7");
    await must(six.id, "change_dns_ptr", { ip, dns_ptr: "six.example.org" });
    assert.deepEqual((await seen(six.id)).dns_ptr, [{ ip, dns_ptr: "six.example.org" }]);
  });

  it("cost their month from the first hour", async () => {
    const { id } = await bought({ name: "a" });
    await rig.must("DELETE", `/floating_ips/${id}`);
    const [line] = rig.hetzner.bill().lines;
    assert.deepEqual(
      [line?.kind, line?.type, line?.amount, line?.owedPerHour],
      ["floating_ip", "ipv4", 3, 0],
    );
  });

  const wrong: [string, Record<string, unknown>, string][] = [
    ["no home and no server", { home_location: undefined }, "home_location"],
    ["a home that is none", { home_location: "mars" }, "home_location"],
    ["a server that is none", { server: 1 }, "server"],
    ["a type it does not know", { type: "ipv5" }, "type"],
    ["no type", { type: undefined }, "type"],
  ];
  for (const [what, change, field] of wrong) {
    it(`are refused with ${what}`, async () => {
      const body = { type: "ipv4", home_location: "fsn1", ...change };
      assertError(await rig.call("POST", "/floating_ips", body), 422, "invalid_input", field);
    });
  }

  it("are found by name and label", async () => {
    await bought({ name: "a", labels: { use: "web" } });
    await bought({ name: "b" });
    const names = async (query: string) =>
      (await rig.must("GET", `/floating_ips?${query}`)).floating_ips.map((address) => address.name);
    assert.deepEqual(await names("name=b"), ["b"]);
    assert.deepEqual(await names("label_selector=!use"), ["b"]);
    assert.deepEqual(await names("sort=created:desc&sort=id:desc"), ["b", "a"]);
    const again = { name: "a", type: "ipv4", home_location: "fsn1" };
    assertError(await rig.call("POST", "/floating_ips", again), 409, "uniqueness_error", "name");
  });
});
