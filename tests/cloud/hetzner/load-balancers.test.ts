import assert from "node:assert/strict";
import { assertError, type Rig, startRig } from "./rig.ts";

describe("Hetzner emulator: load balancers, as far as they go", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  const order = { name: "front", load_balancer_type: "lb11", location: "hel1" };
  const made = async (other: Record<string, unknown> = {}) => {
    const { load_balancer: balancer } = await rig.must("POST", "/load_balancers", { ...order, ...other });
    await rig.clock.advance(20_000);
    return balancer;
  };
  const must = async (id: number, name: string, body?: unknown) => {
    await rig.must("POST", `/load_balancers/${id}/actions/${name}`, body);
    await rig.clock.advance(20_000);
  };

  it("are two addresses with names, billed until they are deleted", async () => {
    const { id, public_net: net } = await made();
    assert.ok(rig.backend.addresses.has(net.ipv4.ip));
    assert.match(net.ipv4.dns_ptr ?? "", /^static\./);
    assert.equal(net.ipv6.dns_ptr, null);
    await must(id, "change_dns_ptr", { ip: net.ipv4.ip, dns_ptr: "four.example.org" });
    await must(id, "change_dns_ptr", { ip: net.ipv6.ip, dns_ptr: "six.example.org" });
    const seen = (await rig.must("GET", `/load_balancers/${id}`)).load_balancer.public_net;
    assert.deepEqual([seen.ipv4.dns_ptr, seen.ipv6.dns_ptr], ["four.example.org", "six.example.org"]);
    const other = { ip: "192.0.2.1", dns_ptr: "a.example.org" };
    const path = `/load_balancers/${id}/actions/change_dns_ptr`;
    assertError(await rig.call("POST", path, other), 422, "invalid_input", "ip");
    await must(id, "change_type", { load_balancer_type: "lb31" });
    await rig.must("DELETE", `/load_balancers/${id}`);
    assert.ok(!rig.backend.addresses.has(net.ipv4.ip));
    const { lines, owedPerHour } = rig.hetzner.bill();
    assert.deepEqual([...lines.map((line) => line.type), owedPerHour], ["lb11", "lb31", 0]);
  });

  it("are protected from deletion", async () => {
    const { id } = await made({ network_zone: "us-west", location: undefined });
    await must(id, "change_protection", { delete: true });
    assertError(await rig.call("DELETE", `/load_balancers/${id}`), 423, "protected");
    assert.equal((await rig.must("GET", `/load_balancers/${id}`)).load_balancer.location.name, "hil");
  });

  const wrong: [string, Record<string, unknown>, string][] = [
    ["services", { services: [{ protocol: "tcp" }] }, "services"],
    ["targets", { targets: [{ type: "server" }] }, "targets"],
    ["a private network", { network: 1 }, "network"],
    ["no public interface", { public_interface: false }, "public_interface"],
    ["a type that is none", { load_balancer_type: "lb99" }, "load_balancer_type"],
    ["a location that is none", { location: "mars" }, "location"],
    ["a zone that is none", { location: undefined, network_zone: "mars" }, "network_zone"],
    ["neither location nor zone", { location: undefined }, "location"],
  ];
  for (const [what, change, field] of wrong) {
    it(`are refused with ${what}`, async () => {
      const reply = await rig.call("POST", "/load_balancers", { ...order, ...change });
      assertError(reply, 422, "invalid_input", field);
    });
  }
});
