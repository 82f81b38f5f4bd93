import assert from "node:assert/strict";
import { assertError, publicKey, type Rig, serverOrder, startRig } from "./rig.ts";
import type { Kind } from "./store/documents.ts";

describe("Hetzner emulator: limits of the account", () => {
  const one = { name: "first" };
  const orders: [Exclude<Kind, "server" | "image">, string, Record<string, unknown>][] = [
    ["ssh_key", "/ssh_keys", { public_key: publicKey("a") }],
    ["firewall", "/firewalls", {}],
    ["placement_group", "/placement_groups", { type: "spread" }],
    ["network", "/networks", { ip_range: "10.0.0.0/16" }],
    ["primary_ip", "/primary_ips", { type: "ipv4", location: "fsn1" }],
    ["floating_ip", "/floating_ips", { type: "ipv4", home_location: "fsn1" }],
    ["volume", "/volumes", { size: 10, location: "fsn1" }],
    ["load_balancer", "/load_balancers", { load_balancer_type: "lb11", location: "fsn1" }],
  ];
  let rig: Rig;
  before(async () => {
    rig = await startRig({ limits: Object.fromEntries(orders.map(([kind]) => [kind, 1])) });
  });
  after(() => rig.close());

  for (const [kind, path, order] of orders) {
    it(`hold for each ${kind}, in every project`, async () => {
      await rig.must("POST", path, { ...order, ...one });
      for (const token of rig.hetzner.tokens) {
        const body = {
          ...order,
          name: "second",
          ...(kind === "ssh_key" ? { public_key: publicKey("b") } : {}),
        };
        const reply = await rig.call("POST", path, body, token);
        assertError(reply, 403, "resource_limit_exceeded");
        assert.deepEqual(reply.body.error.details, { limits: [{ name: `${kind}_limit` }] });
      }
    });
  }

  it("count the addresses that come with a server", async () => {
    assertError(await rig.call("POST", "/servers", serverOrder("m-1")), 403, "resource_limit_exceeded");
    assert.equal(rig.backend.machines.size, 0);
  });
});
