import assert from "node:assert/strict";
import { nullBackend } from "../machines/null.ts";
import { assertError, type Rig, serverOrder, startRig } from "./rig.ts";

describe("Hetzner emulator: primary IPs", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  const settle = () => rig.clock.advance(60_000);
  const bought = async (name: string, other: Record<string, unknown> = {}) =>
    (await rig.must("POST", "/primary_ips", { name, type: "ipv4", location: "fsn1", ...other })).primary_ip;
  const seen = async (id: number) => (await rig.must("GET", `/primary_ips/${id}`)).primary_ip;
  const act = (id: number, name: string, body?: unknown) =>
    rig.call("POST", `/primary_ips/${id}/actions/${name}`, body);
  const must = async (id: number, name: string, body?: unknown) => {
    await rig.must("POST", `/primary_ips/${id}/actions/${name}`, body);
    await settle();
  };
  const to = (server: number) => ({ assignee_type: "server", assignee_id: server });
  /** Off, without an IPv4 address. */
  const bareServer = async (name: string) => {
    const { server } = await rig.must("POST", "/servers", {
      ...serverOrder(name),
      location: "fsn1",
      start_after_create: false,
      public_net: { enable_ipv4: false },
    });
    await settle();
    return server.id;
  };

  it("are bought alone, in a location", async () => {
    const { primary_ip: address, action } = await rig.must("POST", "/primary_ips", {
      name: "a",
      type: "ipv4",
      location: "fsn1",
      labels: { use: "web" },
    });
    assert.equal(action, null);
    assert.ok(rig.backend.addresses.has(address.ip));
    assert.deepEqual(
      [address.assignee_id, address.assignee_type, address.auto_delete, address.location.name],
      [null, "server", false, "fsn1"],
    );
    assert.match(address.dns_ptr[0]?.dns_ptr ?? "", /^static\..*\.clients\.your-server\.de$/);
    const ipv6 = await bought("b", { type: "ipv6" });
    assert.match(ipv6.ip, /^2001:db8:.*::\/64$/);
    assert.deepEqual(ipv6.dns_ptr, []);
  });

  it("say 'unassigned' when they are told to", async () => {
    await rig.close();
    rig = await startRig({ unassignedType: "unassigned" });
    // The description announces the value in words and does not list it: no validation of this answer.
    const answer = await fetch(`${rig.hetzner.endpoint}/primary_ips`, {
      method: "POST",
      headers: { Authorization: `Bearer ${rig.hetzner.token}` },
      body: JSON.stringify({ name: "a", type: "ipv6", location: "fsn1" }),
    });
    const body = (await answer.json()) as { primary_ip: { assignee_type: string } };
    assert.equal(body.primary_ip.assignee_type, "unassigned");
  });

  it("are assigned to servers that are off, one of each type", async () => {
    const [a, b] = [await bought("a"), await bought("b")];
    const server = await bareServer("m-1");
    await must(a.id, "assign", to(server));
    assert.equal((await seen(a.id)).assignee_id, server);
    const shown = (await rig.must("GET", `/servers/${server}`)).server.public_net.ipv4;
    assert.deepEqual([shown?.id, shown?.ip], [a.id, a.ip]);
    assert.equal(rig.backend.machines.get(server)?.ipv4, a.ip);
    assertError(await act(a.id, "assign", to(server)), 422, "primary_ip_already_assigned");
    assertError(await act(b.id, "assign", to(server)), 422, "server_has_ipv4");
    await rig.must("POST", `/servers/${server}/actions/poweron`);
    await settle();
    assertError(await act(a.id, "unassign"), 422, "server_not_stopped");
    const other = await bareServer("m-2");
    await rig.must("POST", `/servers/${other}/actions/poweron`);
    await settle();
    assertError(await act(b.id, "assign", to(other)), 422, "server_not_stopped");
  });

  it("stay in their location", async () => {
    const address = await bought("a", { location: "hel1" });
    const server = await bareServer("m-1");
    assertError(await act(address.id, "assign", to(server)), 422, "primary_ip_datacenter_mismatch");
    const elsewhere = { name: "b", type: "ipv4", location: "hel1", ...to(server) };
    assertError(await rig.call("POST", "/primary_ips", elsewhere), 422, "invalid_input", "location");
  });

  it("are bought for a server and move to another one", async () => {
    const [first, second] = [await bareServer("m-1"), await bareServer("m-2")];
    const { primary_ip: address, action } = await rig.must("POST", "/primary_ips", {
      name: "a",
      type: "ipv4",
      ...to(first),
    });
    assert.deepEqual(
      [action.command, address.assignee_id, address.location.name],
      ["assign_primary_ip", first, "fsn1"],
    );
    await settle();
    await must(address.id, "unassign");
    assert.equal(rig.backend.machines.get(first)?.ipv4, null);
    assert.equal((await rig.must("GET", `/servers/${first}`)).server.public_net.ipv4, null);
    assertError(await act(address.id, "unassign"), 422, "unsupported_error");
    await must(address.id, "assign", to(second));
    assert.equal(rig.backend.machines.get(second)?.ipv4, address.ip);
  });

  it("outlive the server unless they are to go with it", async () => {
    const kept = await bought("kept");
    const going = await bought("going", { type: "ipv6", auto_delete: true });
    const order = { ...serverOrder("m-1"), location: "fsn1", public_net: { ipv4: kept.id, ipv6: going.id } };
    const { server } = await rig.must("POST", "/servers", order);
    await settle();
    assert.deepEqual(
      [server.public_net.ipv4?.ip, server.public_net.ipv6?.ip, rig.backend.machines.get(server.id)?.ipv4],
      [kept.ip, going.ip, kept.ip],
    );
    await rig.must("DELETE", `/servers/${server.id}`);
    await settle();
    assert.equal((await seen(kept.id)).assignee_id, null);
    assert.ok(rig.backend.addresses.has(kept.ip), "nobody else gets it");
    assertError(await rig.call("GET", `/primary_ips/${going.id}`), 404, "not_found");
    const again = { ...serverOrder("m-2"), location: "fsn1", public_net: { ipv4: kept.id } };
    assert.equal((await rig.must("POST", "/servers", again)).server.public_net.ipv4?.ip, kept.ip);
  });

  it("are not deleted while they are assigned or protected; then the address is free", async () => {
    const address = await bought("a");
    const server = await bareServer("m-1");
    await must(address.id, "assign", to(server));
    assertError(await rig.call("DELETE", `/primary_ips/${address.id}`), 422, "must_be_unassigned");
    await must(address.id, "unassign");
    await must(address.id, "change_protection", { delete: true });
    assertError(await rig.call("DELETE", `/primary_ips/${address.id}`), 423, "protected");
    const path = `/primary_ips/${address.id}`;
    assertError(await rig.call("PUT", path, { auto_delete: true }), 422, "invalid_input", "auto_delete");
    await must(address.id, "change_protection", { delete: false });
    await rig.must("PUT", path, { auto_delete: true, name: "b", labels: { a: "b" } });
    assertError(await act(address.id, "change_protection", { delete: true }), 422, "invalid_input", "delete");
    await rig.must("DELETE", path);
    assert.ok(!rig.backend.addresses.has(address.ip));
  });

  it("are billed assigned or not; IPv6 is free", async () => {
    const { id } = await bought("a");
    await bought("b", { type: "ipv6" });
    const lines = () => rig.hetzner.bill().lines.map((line) => [line.kind, line.type, line.ended !== null]);
    assert.deepEqual(lines(), [["primary_ip", "ipv4", false]]);
    await rig.must("DELETE", `/primary_ips/${id}`);
    assert.deepEqual(lines(), [["primary_ip", "ipv4", true]]);
  });

  it("leave a server whose machine is lost", async () => {
    const address = await bought("a");
    const server = await bareServer("m-1");
    await must(address.id, "assign", to(server));
    await rig.restart(nullBackend());
    await must(address.id, "unassign");
    assert.equal((await seen(address.id)).assignee_id, null);
    await rig.must("DELETE", `/servers/${server}`);
    await settle();
    await rig.must("DELETE", `/primary_ips/${address.id}`);
  });

  it("leave no address behind when they cannot be bought", async () => {
    await bought("a");
    const before = rig.backend.addresses.size;
    const [one, two] = await Promise.all(
      [0, 1].map(() => rig.call("POST", "/primary_ips", { name: "b", type: "ipv4", location: "fsn1" })),
    );
    assert.deepEqual([one?.status, two?.status].sort(), [201, 409]);
    assert.equal(rig.backend.addresses.size, before + 1);
    rig.backend.reserveAddress = async () => {
      throw new Error("all addresses are in use");
    };
    const reply = await rig.call("POST", "/primary_ips", { name: "c", type: "ipv4", location: "fsn1" });
    assertError(reply, 503, "unavailable");
  });

  describe("reverse names", () => {
    it("of IPv4 have a default", async () => {
      const { id, ip } = await bought("a");
      await must(id, "change_dns_ptr", { ip, dns_ptr: "a.example.org" });
      assert.deepEqual((await seen(id)).dns_ptr, [{ ip, dns_ptr: "a.example.org" }]);
      await must(id, "change_dns_ptr", { ip, dns_ptr: null });
      assert.match((await seen(id)).dns_ptr[0]?.dns_ptr ?? "", /^static\./);
    });

    it("of IPv6 are there for each address that was named", async () => {
      const { id, ip } = await bought("a", { type: "ipv6" });
      const prefix = ip.replace("::/64", "");
      await must(id, "change_dns_ptr", { ip: `${prefix}::1`, dns_ptr: "one.example.org" });
      await must(id, "change_dns_ptr", { ip: `${prefix.toUpperCase()}:0:0:0:2`, dns_ptr: "two.example.org" });
      assert.deepEqual((await seen(id)).dns_ptr, [
        { ip: `${prefix}::1`, dns_ptr: "one.example.org" },
        { ip: `${prefix}::2`, dns_ptr: "two.example.org" },
      ]);
      await must(id, "change_dns_ptr", { ip: `${prefix}::1`, dns_ptr: null });
      assert.deepEqual(
        (await seen(id)).dns_ptr.map((entry) => entry.ip),
        [`${prefix}::2`],
      );
    });

    it("can be set for both addresses of a server at once", async () => {
      const { id, public_net: net } = await rig.runningServer("m-1");
      const path = `/servers/${id}/actions/change_dns_ptr`;
      await rig.must("POST", path, { ip: net.ipv4?.ip, dns_ptr: "four.example.org" });
      await rig.must("POST", path, { ip: net.ipv6?.ip.replace("/64", "1"), dns_ptr: "six.example.org" });
      await settle();
      const shown = (await rig.must("GET", `/servers/${id}`)).server.public_net;
      assert.equal(shown.ipv4?.dns_ptr, "four.example.org");
      assert.equal(shown.ipv6?.dns_ptr[0]?.dns_ptr, "six.example.org");
    });

    it("show on the server too", async () => {
      const server = await rig.runningServer("m-1");
      const { ipv4, ipv6 } = server.public_net;
      await must(ipv4?.id ?? 0, "change_dns_ptr", { ip: ipv4?.ip, dns_ptr: "four.example.org" });
      const first = `${ipv6?.ip.replace("/64", "")}1`;
      await must(ipv6?.id ?? 0, "change_dns_ptr", { ip: first, dns_ptr: "six.example.org" });
      const { public_net: net } = (await rig.must("GET", `/servers/${server.id}`)).server;
      assert.equal(net.ipv4?.dns_ptr, "four.example.org");
      assert.deepEqual(net.ipv6?.dns_ptr, [{ ip: first, dns_ptr: "six.example.org" }]);
    });

    for (const [ip, name, field] of [
      ["192.0.2.1", "a.example.org", "ip"],
      ["2001:db8::1", "a.example.org", "ip"],
      ["nonsense", "a.example.org", "ip"],
      ["own", "-a.example.org", "dns_ptr"],
      ["own", "a b", "dns_ptr"],
      ["own", "", "dns_ptr"],
    ] as const) {
      it(`are refused: '${name}' for ${ip}`, async () => {
        const address = await bought("a");
        const body = { ip: ip === "own" ? address.ip : ip, dns_ptr: name };
        assertError(await act(address.id, "change_dns_ptr", body), 422, "invalid_input", field);
      });
    }
  });

  const wrong: [string, Record<string, unknown>, string][] = [
    ["no location", { location: undefined }, "location"],
    ["a location that is none", { location: "mars" }, "location"],
    ["a type it does not know", { type: "ipv5" }, "type"],
    ["another kind of assignee", { assignee_type: "volume", assignee_id: 1 }, "assignee_type"],
    ["a server that is none", { assignee_type: "server", assignee_id: 1 }, "assignee_id"],
    ["no name", { name: undefined }, "name"],
  ];
  for (const [what, change, field] of wrong) {
    it(`are refused with ${what}`, async () => {
      const body = { name: "a", type: "ipv4", location: "fsn1", ...change };
      assertError(await rig.call("POST", "/primary_ips", body), 422, "invalid_input", field);
    });
  }

  it("are found by name, label and address in any spelling", async () => {
    const a = await bought("a", { labels: { use: "web" } });
    const b = await bought("b", { type: "ipv6" });
    const names = async (query: string) =>
      (await rig.must("GET", `/primary_ips?${query}`)).primary_ips.map((address) => address.name);
    assert.deepEqual(await names(`ip=${a.ip}`), ["a"]);
    const prefix = b.ip.replace("::/64", "");
    for (const ip of [`${prefix}::`, `${prefix.toUpperCase()}:0:0:0:0`, encodeURIComponent(b.ip)]) {
      assert.deepEqual(await names(`ip=${ip}`), ["b"], ip);
    }
    assert.deepEqual(await names("label_selector=use=web"), ["a"]);
    assert.deepEqual(await names("sort=id:desc"), ["b", "a"]);
    const again = { name: "a", type: "ipv6", location: "fsn1" };
    assertError(await rig.call("POST", "/primary_ips", again), 409, "uniqueness_error", "name");
  });
});
