import type { Scenario, Step } from "../scenarios.ts";
import { chain, key, network, ref, server, subnet } from "./config.ts";

const world = {
  "hcloud_ssh_key.k": key,
  "hcloud_placement_group.g": { name: "g", type: "spread" },
  "hcloud_network.n": network,
  "hcloud_network_subnet.s": subnet(),
  "hcloud_primary_ip.p": { name: "p", type: "ipv4", location: "fsn1" },
  "hcloud_server.a": server("a", {
    ssh_keys: [ref("hcloud_ssh_key.k.id")],
    user_data: "#cloud-config\n{}\n",
  }),
  "hcloud_server_network.j": {
    server_id: ref("hcloud_server.a.id"),
    subnet_id: ref("hcloud_network_subnet.s.id"),
  },
  "hcloud_firewall.f": { name: "f" },
  "hcloud_firewall_attachment.t": { firewall_id: ref("hcloud_firewall.f.id"), label_selectors: ["a=1"] },
  "hcloud_volume.v": { name: "v", size: 10, server_id: ref("hcloud_server.a.id") },
  "hcloud_snapshot.s": { server_id: ref("hcloud_server.a.id"), description: "d" },
};

const steps: Step[] = Object.keys(world).map((address) => ({
  name: `import ${address}`,
  does: ["import", address],
  state: [address],
}));

export const importScenarios: readonly Scenario[] = [
  {
    name: "imports",
    steps: [
      { name: "create one of each", config: chain(world) },
      { name: "forget all", does: ["forget"] },
      ...steps,
      { name: "plan after the imports", does: ["plan"] },
    ],
  },
];
