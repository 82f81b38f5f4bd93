import assert from "node:assert/strict";
import { canonicalRange } from "./resources/firewall-rules.ts";
import { assertError, publicKey, type Rig, serverOrder, startRig } from "./rig.ts";

describe("Hetzner emulator: other resources", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  describe("SSH keys", () => {
    it("come back byte for byte, with the MD5 fingerprint", async () => {
      const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDAC9VU7APDnCCvX5QiSQ9WLytTvRbUo/soPk0znodl test\n";
      const { ssh_key } = await rig.must("POST", "/ssh_keys", { name: "k", public_key: key });
      assert.equal(ssh_key.public_key, key);
      assert.deepEqual(ssh_key.labels, {});
      assert.equal(ssh_key.fingerprint, "2f:11:99:b7:ed:63:58:a7:93:23:1f:8d:62:96:f4:67");
      const found = await rig.must("GET", `/ssh_keys?fingerprint=${ssh_key.fingerprint}`);
      assert.equal(found.ssh_keys.length, 1);
    });

    it("are unique by name and by fingerprint", async () => {
      await rig.must("POST", "/ssh_keys", { name: "k", public_key: publicKey("a") });
      const sameName = await rig.call("POST", "/ssh_keys", { name: "k", public_key: publicKey("b") });
      assertError(sameName, 409, "uniqueness_error", "name");
      const sameKey = await rig.call("POST", "/ssh_keys", { name: "l", public_key: publicKey("a") });
      assertError(sameKey, 409, "uniqueness_error", "public_key");
    });

    for (const text of ["", "nonsense", "ssh-ed25519 AAAA", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJDA"]) {
      it(`refuse '${text}'`, async () => {
        const reply = await rig.call("POST", "/ssh_keys", { name: "k", public_key: text });
        assertError(reply, 422, "invalid_input", "public_key");
      });
    }
  });

  describe("firewalls", () => {
    const rule = { direction: "in", protocol: "tcp", port: "22", source_ips: ["0.0.0.0/0"] };
    const server = (id: number) => ({ type: "server", server: { id } });

    it("are pending on a server until their action is done", async () => {
      const { id } = await rig.runningServer("m-1");
      const made = await rig.must("POST", "/firewalls", { name: "f", rules: [rule], apply_to: [server(id)] });
      assert.deepEqual(
        made.actions.map((action) => action.command),
        ["set_firewall_rules", "apply_firewall"],
      );
      const seen = async () => (await rig.must("GET", `/servers/${id}`)).server.public_net.firewalls;
      assert.deepEqual(await seen(), [{ id: made.firewall.id, status: "pending" }]);
      await rig.clock.advance(5_000);
      assert.deepEqual(await seen(), [{ id: made.firewall.id, status: "applied" }]);
    });

    it("reach servers by label as the labels change", async () => {
      const selector = { type: "label_selector", label_selector: { selector: "role=web" } };
      const { firewall } = await rig.must("POST", "/firewalls", { name: "f", apply_to: [selector] });
      const { id } = await rig.runningServer("m-1", { labels: { role: "web" } });
      const [target] = (await rig.must("GET", `/firewalls/${firewall.id}`)).firewall.applied_to;
      assert.deepEqual(target?.applied_to_resources, [server(id)]);
      const byHand = await rig.call("POST", `/firewalls/${firewall.id}/actions/remove_from_resources`, {
        remove_from: [server(id)],
      });
      assertError(byHand, 422, "firewall_managed_by_label_selector");
      await rig.must("PUT", `/servers/${id}`, { labels: {} });
      assert.deepEqual((await rig.must("GET", `/servers/${id}`)).server.public_net.firewalls, []);
    });

    it("cannot go while they are applied, and are free when the server is gone", async () => {
      const { firewall } = await rig.must("POST", "/firewalls", { name: "f" });
      const { id } = await rig.runningServer("m-1", { firewalls: [{ firewall: firewall.id }] });
      assertError(await rig.call("DELETE", `/firewalls/${firewall.id}`), 422, "resource_in_use");
      const again = { apply_to: [server(id)] };
      const path = `/firewalls/${firewall.id}/actions`;
      assertError(
        await rig.call("POST", `${path}/apply_to_resources`, again),
        422,
        "firewall_already_applied",
      );
      await rig.must("DELETE", `/servers/${id}`);
      await rig.clock.advance(10_000);
      assertError(
        await rig.call("POST", `${path}/remove_from_resources`, { remove_from: [server(id)] }),
        404,
        "firewall_resource_not_found",
      );
      await rig.must("DELETE", `/firewalls/${firewall.id}`);
    });

    it("write ranges in canonical form", async () => {
      const rules = [{ ...rule, source_ips: ["2001:DB8:0:0::/32", "10.0.0.0/8"] }];
      const { firewall } = await rig.must("POST", "/firewalls", { name: "f", rules });
      assert.deepEqual(firewall.rules[0]?.source_ips, ["2001:db8::/32", "10.0.0.0/8"]);
      for (const text of ["10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "1.2.3/8", ""]) {
        assert.equal(canonicalRange(text), null, text);
      }
    });

    it("take the port 'any' and give it back", async () => {
      const rules = [{ ...rule, port: "any" }];
      const { firewall } = await rig.must("POST", "/firewalls", { name: "f", rules });
      assert.equal(firewall.rules[0]?.port, "any");
    });

    it("have 500 effective rules and not 501", async () => {
      const ranges = Array.from({ length: 100 }, (_, index) => `10.0.${index}.0/24`);
      const full = Array.from({ length: 5 }, () => ({ ...rule, source_ips: ranges }));
      await rig.must("POST", "/firewalls", { name: "f", rules: full });
      const reply = await rig.call("POST", "/firewalls", { name: "g", rules: [...full, rule] });
      assertError(reply, 422, "invalid_input", "rules");
    });

    it("are not made for a server that is none", async () => {
      const body = { name: "f", apply_to: [server(1)] };
      assertError(await rig.call("POST", "/firewalls", body), 422, "firewall_resource_not_found");
      const { firewall } = await rig.must("POST", "/firewalls", { name: "f" });
      const path = `/firewalls/${firewall.id}/actions/apply_to_resources`;
      const reply = await rig.call("POST", path, { apply_to: [server(1)] });
      assertError(reply, 404, "firewall_resource_not_found");
    });

    const wrong: [string, Record<string, unknown>, string][] = [
      ["no port", { port: undefined }, "rules.0.port"],
      ["port 0", { port: "0" }, "rules.0.port"],
      ["port 65536", { port: "65536" }, "rules.0.port"],
      ["a range that runs backwards", { port: "90-80" }, "rules.0.port"],
      ["a port for icmp", { protocol: "icmp" }, "rules.0.port"],
      ["no source", { source_ips: [] }, "rules.0.source_ips"],
      ["a direction it does not know", { direction: "up" }, "rules.0.direction"],
      ["a range that is none", { source_ips: ["all"] }, "rules.0.source_ips.0"],
      ["a long description", { description: "x".repeat(256) }, "rules.0.description"],
    ];
    for (const [what, change, field] of wrong) {
      it(`refuse a rule with ${what}`, async () => {
        const reply = await rig.call("POST", "/firewalls", { name: "f", rules: [{ ...rule, ...change }] });
        assertError(reply, 422, "invalid_input", field);
      });
    }

    it("take 50 rules and not 51, and names up to 128", async () => {
      const many = (count: number) => ({ name: "f", rules: Array.from({ length: count }, () => rule) });
      assertError(await rig.call("POST", "/firewalls", many(51)), 422, "invalid_input", "rules");
      await rig.must("POST", "/firewalls", many(50));
      await rig.must("POST", "/firewalls", { name: "x".repeat(128) });
      const long = await rig.call("POST", "/firewalls", { name: "x".repeat(129) });
      assertError(long, 422, "invalid_input", "name");
    });
  });

  describe("placement groups", () => {
    it("spread ten servers and not eleven", async () => {
      const { placement_group: group } = await rig.must("POST", "/placement_groups", {
        name: "g",
        type: "spread",
      });
      for (let index = 0; index < 10; index++) {
        await rig.must("POST", "/servers", { ...serverOrder(`m-${index}`), placement_group: group.id });
      }
      const eleventh = { ...serverOrder("m-10"), placement_group: group.id };
      assertError(await rig.call("POST", "/servers", eleventh), 422, "placement_error");
      const seen = await rig.must("GET", `/placement_groups/${group.id}`);
      assert.equal(seen.placement_group.servers.length, 10);
    });

    it("take a stopped server, which runs afterwards", async () => {
      const { placement_group: group } = await rig.must("POST", "/placement_groups", {
        name: "g",
        type: "spread",
      });
      const { id } = await rig.runningServer("m-1");
      const path = `/servers/${id}/actions/add_to_placement_group`;
      assertError(await rig.call("POST", path, { placement_group: group.id }), 422, "server_not_stopped");
      await rig.must("POST", `/servers/${id}/actions/poweroff`);
      await rig.clock.advance(10_000);
      await rig.must("POST", path, { placement_group: group.id });
      await rig.clock.advance(10_000);
      const { server } = await rig.must("GET", `/servers/${id}`);
      assert.deepEqual([server.status, server.placement_group?.id], ["running", group.id]);
      assertError(
        await rig.call("POST", path, { placement_group: group.id }),
        422,
        "already_in_placement_group",
      );
    });
  });

  describe("networks", () => {
    const network = async (ranges: readonly string[]) =>
      (
        await rig.must("POST", "/networks", {
          name: "n",
          ip_range: "10.0.0.0/16",
          subnets: ranges.map((range) => ({ type: "cloud", network_zone: "eu-central", ip_range: range })),
        })
      ).network;

    it("give .2 in the first subnet and .1 in any other", async () => {
      const first = await network(["10.0.0.0/24"]);
      const server = await rig.runningServer("m-1", { networks: [first.id] });
      assert.equal(server.private_net[0]?.ip, "10.0.0.2");
      await rig.must("DELETE", `/networks/${first.id}`);
      assert.deepEqual((await rig.must("GET", `/servers/${server.id}`)).server.private_net, []);
      const second = await network(["10.0.1.0/24"]);
      await rig.must("POST", `/servers/${server.id}/actions/attach_to_network`, { network: second.id });
      const attached = (await rig.must("GET", `/servers/${server.id}`)).server;
      assert.deepEqual(
        [attached.private_net[0]?.ip, attached.private_net[0]?.network],
        ["10.0.1.1", second.id],
      );
    });

    it("know taken addresses, other zones and a second attachment", async () => {
      const { id } = await network(["10.0.0.0/29"]);
      await rig.runningServer("m-1", { networks: [id] });
      const server = (await rig.runningServer("m-2")).id;
      const attach = (body: Record<string, unknown>) =>
        rig.call("POST", `/servers/${server}/actions/attach_to_network`, { network: id, ...body });
      assertError(await attach({ ip: "10.0.0.2" }), 422, "ip_not_available");
      assertError(await attach({ ip: "10.0.9.9" }), 422, "ip_not_available");
      assertError(await attach({ ip: "x" }), 422, "invalid_input", "ip");
      assert.equal((await attach({ ip: "10.0.0.6" })).status, 201);
      await rig.clock.advance(5_000);
      assertError(await attach({}), 422, "server_already_attached");
      const american = { ...serverOrder("m-3"), server_type: "cpx21", location: "ash", networks: [id] };
      assertError(await rig.call("POST", "/servers", american), 422, "no_subnet_available");
      for (const name of ["m-4", "m-5", "m-6"]) {
        await rig.must("POST", "/servers", { ...serverOrder(name), networks: [id] });
      }
      const full = await rig.call("POST", "/servers", { ...serverOrder("m-7"), networks: [id] });
      assertError(full, 422, "no_subnet_available");
    });

    it("keep a subnet that has servers, and refuse two changes at once", async () => {
      const { id } = await network(["10.0.0.0/24"]);
      await rig.runningServer("m-1", { networks: [id] });
      const remove = () =>
        rig.call("POST", `/networks/${id}/actions/delete_subnet`, { ip_range: "10.0.0.0/24" });
      const reply = await remove();
      assertError(reply, 422, "service_error");
      assert.match(reply.body.error.message, /servers are attached/);
      const add = { type: "cloud", network_zone: "eu-central" };
      await rig.must("POST", `/networks/${id}/actions/add_subnet`, add);
      assertError(await rig.call("POST", `/networks/${id}/actions/add_subnet`, add), 409, "conflict");
      await rig.clock.advance(5_000);
      const subnets = (await rig.must("GET", `/networks/${id}`)).network.subnets;
      assert.deepEqual(
        subnets.map((subnet) => [subnet.ip_range, subnet.gateway]),
        [
          ["10.0.0.0/24", "10.0.0.1"],
          ["10.0.1.0/24", "10.0.0.1"],
        ],
      );
    });

    for (const range of ["8.8.8.0/24", "10.0.0.1/16", "10.0.0.0/30", "10.0.0.0", "x"]) {
      it(`refuse the range ${range}`, async () => {
        const reply = await rig.call("POST", "/networks", { name: "n", ip_range: range });
        assertError(reply, 422, "invalid_input", "ip_range");
      });
    }
  });

  it("finds an address by IP, a /64 by its prefix", async () => {
    const server = await rig.runningServer("m-1");
    const { ipv4, ipv6 } = server.public_net;
    const find = async (ip: string) => (await rig.must("GET", `/primary_ips?ip=${ip}`)).primary_ips;
    assert.deepEqual(
      (await find(ipv4?.ip ?? "")).map((address) => [address.id, address.assignee_id]),
      [[ipv4?.id, server.id]],
    );
    assert.equal((await find(ipv6?.ip.replace("/64", "") ?? ""))[0]?.id, ipv6?.id);
    const taken = { ...serverOrder("m-2"), public_net: { ipv4: ipv4?.id } };
    assertError(await rig.call("POST", "/servers", taken), 422, "primary_ip_assigned");
    const swapped = { ...serverOrder("m-2"), public_net: { ipv4: ipv6?.id } };
    assertError(await rig.call("POST", "/servers", swapped), 412, "primary_ip_version_mismatch");
  });
});
