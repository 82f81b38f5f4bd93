import type { Scenario } from "../scenarios.ts";
import { again, chain, destroy, network, ref, server, subnet } from "./config.ts";

const joined = (more: object, ofNetwork: object = {}) =>
  chain({
    "hcloud_network.n": { ...network, ...ofNetwork },
    "hcloud_network_subnet.s": subnet(),
    "hcloud_server.a": server("a"),
    "hcloud_server_network.j": {
      server_id: ref("hcloud_server.a.id"),
      subnet_id: ref("hcloud_network_subnet.s.id"),
      ...more,
    },
  });
const inside = (blocks: readonly object[], more: object = {}) =>
  chain({
    "hcloud_network.n": network,
    "hcloud_network_subnet.s": subnet(),
    "hcloud_server.a": server("a", { network: blocks, ...more }),
  });
const block = (more: object = {}) => ({ network_id: ref("hcloud_network.n.id"), ...more });
const isolated = { public_net: [{ ipv4_enabled: false, ipv6_enabled: false }] };

export const networkScenarios: readonly Scenario[] = [
  {
    name: "a network, a subnet and a server in it",
    steps: [
      {
        name: "create",
        config: joined({ ip: "10.0.1.5", alias_ips: ["10.0.1.7", "10.0.1.6"] }),
        state: ["hcloud_network.n", "hcloud_network_subnet.s", "hcloud_server_network.j"],
      },
      again,
      { name: "other aliases", config: joined({ ip: "10.0.1.5", alias_ips: ["10.0.1.8"] }) },
      { name: "no aliases", config: joined({ ip: "10.0.1.5" }) },
      { name: "another address", config: joined({ ip: "10.0.1.9" }) },
      {
        name: "rename, label, expose and protect the network",
        config: joined(
          { ip: "10.0.1.9" },
          { name: "m", labels: { a: "1" }, expose_routes_to_vswitch: true, delete_protection: true },
        ),
      },
      { name: "lift the protection", config: joined({ ip: "10.0.1.9" }, { name: "m" }) },
      destroy,
    ],
  },
  {
    name: "a server with network blocks",
    steps: [
      {
        name: "create without public addresses",
        config: inside([block({ ip: "10.0.1.5", alias_ips: ["10.0.1.6"] })], isolated),
        state: ["hcloud_server.a"],
      },
      again,
      {
        name: "other aliases",
        config: inside([block({ ip: "10.0.1.5", alias_ips: ["10.0.1.7"] })], isolated),
      },
      { name: "another address", config: inside([block({ ip: "10.0.1.8", alias_ips: [] })], isolated) },
      {
        name: "by the subnet",
        config: inside([{ subnet_id: ref("hcloud_network_subnet.s.id"), ip: "10.0.1.8" }], isolated),
      },
      { name: "a block with neither", config: inside([{ ip: "10.0.1.8" }], isolated) },
      {
        name: "an address outside",
        config: inside([{ subnet_id: "1-10.0.1.0/24", ip: "10.9.9.9" }], isolated),
      },
      {
        name: "the same network twice",
        config: inside([block({ ip: "10.0.1.8" }), block({ ip: "10.0.1.9" })], isolated),
      },
      { name: "without the block", config: inside([], isolated) },
      destroy,
    ],
  },
];
