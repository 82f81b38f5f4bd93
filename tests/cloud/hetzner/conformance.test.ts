import assert from "node:assert/strict";
import {
  exerciseAddresses,
  exerciseLoadBalancers,
  exerciseNetworks,
  exerciseVolumes,
} from "./conformance-resources.ts";
import { exerciseServers } from "./conformance-servers.ts";
import { conforming, publicKey, type Rig, serverOrder, startRig } from "./rig.ts";
import { routes } from "./routes.ts";

describe("Hetzner emulator: every operation against Hetzner's API description", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
    conforming.clear();
  });
  after(() => rig.close());

  it("answers all of them in the described shape", async () => {
    const { must, clock } = rig;
    const settle = () => clock.advance(60_000);
    const key = (await must("POST", "/ssh_keys", { name: "k", public_key: publicKey("a") })).ssh_key.id;
    await must("PUT", `/ssh_keys/${key}`, { labels: { a: "b" } });
    const rules = [{ direction: "in", protocol: "tcp", port: "22", source_ips: ["0.0.0.0/0", "::/0"] }];
    const applyTo = [{ type: "label_selector", label_selector: { selector: "a==b" } }];
    const firewall = (await must("POST", "/firewalls", { name: "f", rules, apply_to: applyTo })).firewall.id;
    await must("PUT", `/firewalls/${firewall}`, { name: "f2" });
    const subnets = [{ type: "cloud", network_zone: "eu-central", ip_range: "10.0.0.0/24" }];
    const network = (await must("POST", "/networks", { name: "n", ip_range: "10.0.0.0/16", subnets })).network
      .id;
    await must("PUT", `/networks/${network}`, { name: "n2" });
    await must("POST", `/networks/${network}/actions/add_subnet`, {
      type: "cloud",
      network_zone: "us-east",
    });
    await settle();
    await must("POST", `/networks/${network}/actions/delete_subnet`, { ip_range: "10.0.1.0/24" });
    const group = (await must("POST", "/placement_groups", { name: "g", type: "spread" })).placement_group.id;
    await must("PUT", `/placement_groups/${group}`, { labels: { a: "b" } });
    await settle();

    const made = await must("POST", "/servers", {
      ...serverOrder("m-1"),
      ssh_keys: [key],
      firewalls: [{ firewall }],
      networks: [network],
      placement_group: group,
      labels: { a: "b" },
    });
    const server = made.server.id;
    await settle();
    await must("PUT", `/servers/${server}`, { name: "m-2" });
    const steps: [string, unknown?][] = [
      ["poweroff"],
      ["remove_from_placement_group"],
      ["add_to_placement_group", { placement_group: group }],
      ["reboot"],
      ["reset"],
      ["detach_from_network", { network }],
      ["attach_to_network", { network, ip: "10.0.0.9" }],
      ["shutdown"],
      ["poweron"],
      ["change_protection", { delete: false, rebuild: false }],
    ];
    for (const [name, body] of steps) {
      await must("POST", `/servers/${server}/actions/${name}`, body);
      await settle();
    }
    const target = [{ type: "server", server: { id: server } }];
    await must("POST", `/firewalls/${firewall}/actions/remove_from_resources`, { remove_from: target });
    await must("POST", `/firewalls/${firewall}/actions/apply_to_resources`, { apply_to: target });
    await must("POST", `/firewalls/${firewall}/actions/set_rules`, { rules: [] });

    const kinds: [string, number][] = [
      ["servers", server],
      ["firewalls", firewall],
      ["networks", network],
    ];
    for (const [collection, id] of kinds) {
      const { actions } = await must("GET", `/${collection}/${id}/actions`);
      const action = actions[0]?.id;
      await must("GET", `/${collection}/${id}/actions/${action}`);
      await must("GET", `/${collection}/actions`);
      await must("GET", `/${collection}/actions/${action}`);
    }
    const { ipv4 } = made.server.public_net;
    const readable = {
      servers: server,
      ssh_keys: key,
      firewalls: firewall,
      networks: network,
      placement_groups: group,
      primary_ips: ipv4?.id,
      images: 161547269,
      locations: 1,
      datacenters: 2,
      server_types: 1,
    };
    for (const [collection, id] of Object.entries(readable)) {
      await must("GET", `/${collection}`);
      await must("GET", `/${collection}/${id}`);
    }
    await must("GET", "/pricing");
    await must("GET", `/actions?id=${made.action.id}`);
    await must("GET", `/actions/${made.action.id}`);
    await must("DELETE", `/servers/${server}`);
    await settle();
    await must("POST", `/firewalls/${firewall}/actions/remove_from_resources`, { remove_from: applyTo });
    await must("DELETE", `/firewalls/${firewall}`);
    await must("DELETE", `/networks/${network}`);
    await must("DELETE", `/placement_groups/${group}`);
    await must("DELETE", `/ssh_keys/${key}`);

    await exerciseServers(rig);
    await exerciseVolumes(rig);
    await exerciseAddresses(rig);
    await exerciseNetworks(rig);
    await exerciseLoadBalancers(rig);

    const missing = routes
      .map((route) => `${route.method} ${route.path}`)
      .filter((operation) => !conforming.has(operation));
    assert.deepEqual(missing, []);
  });

  it("serves the catalogue that clients of Hetzner count on", async () => {
    const { locations } = await rig.must("GET", "/locations");
    assert.deepEqual(
      locations.map(({ id, name }) => `${id} ${name}`),
      ["1 fsn1", "2 nbg1", "3 hel1", "4 ash", "5 hil", "6 sin"],
    );
    assert.deepEqual(
      (await rig.must("GET", "/datacenters")).datacenters.map(({ id }) => id),
      [2, 3, 4, 5, 6, 7],
    );
    const { server_types } = await rig.must("GET", "/server_types");
    assert.deepEqual([server_types[0]?.id, server_types[0]?.description], [22, "CPX 11"]);
    assert.equal(server_types[1]?.id, 23);
    assert.ok(!server_types.some(({ name }) => name === "cx11"), "what is gone is not listed");
    assert.equal((await rig.must("GET", "/server_types/1")).server_type.deprecated, true);
    const [cpx22] = (await rig.must("GET", "/server_types?name=cpx22")).server_types;
    assert.deepEqual(
      [cpx22?.id, cpx22?.locations.map(({ name }) => name)],
      [109, ["fsn1", "nbg1", "hel1", "sin"]],
    );
    const fsn1 = server_types
      .find(({ name }) => name === "cpx21")
      ?.locations.find(({ name }) => name === "fsn1");
    assert.deepEqual(
      [fsn1?.available, fsn1?.deprecation?.unavailable_after],
      [false, "2025-12-31T23:59:00Z"],
      "a type can be gone in one location and sold in another",
    );
    const { images } = await rig.must(
      "GET",
      "/images?architecture=x86&include_deprecated=true&name=ubuntu-24.04",
    );
    assert.deepEqual(
      images.map(({ id, architecture }) => [id, architecture]),
      [[161547269, "x86"]],
    );
    assert.equal(
      (await rig.must("GET", "/images?name=ubuntu-24.04&sort=created:desc")).images[0]?.id,
      161547270,
    );
    assert.equal((await rig.must("GET", "/images?name=debian-11")).images.length, 0);
    assert.equal((await rig.must("GET", "/images?name=debian-11&include_deprecated=true")).images.length, 2);
    const { pricing } = await rig.must("GET", "/pricing");
    assert.ok(pricing.floating_ips.length >= pricing.primary_ips.length, "hcloud-go panics otherwise");
  });
});
