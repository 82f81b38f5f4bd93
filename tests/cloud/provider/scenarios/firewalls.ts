import type { Scenario } from "../scenarios.ts";
import { again, chain, destroy, ref, server } from "./config.ts";

const ssh = {
  direction: "in",
  protocol: "tcp",
  port: "22",
  source_ips: ["10.0.0.0/8", "2001:db8::/64"],
  description: "ssh",
};
/** Addresses as people write them. */
const oddly = { ...ssh, source_ips: ["10.0.0.1", "2001:DB8:0::/64"] };
const ping = { direction: "in", protocol: "icmp", source_ips: ["0.0.0.0/0"] };
const out = { direction: "out", protocol: "udp", port: "any", destination_ips: ["0.0.0.0/0", "::/0"] };
const alone = (more: object) =>
  chain({
    "hcloud_server.a": server("a", { labels: { role: "web" } }),
    "hcloud_firewall.f": { name: "f", ...more },
  });
const apart = { ignore_remote_firewall_ids: true };
const attached = (more: object) =>
  chain({
    "hcloud_firewall.f": { name: "f", rule: [ping] },
    "hcloud_server.a": server("a", apart),
    "hcloud_server.b": server("b", apart),
    "hcloud_firewall_attachment.t": { firewall_id: ref("hcloud_firewall.f.id"), ...more },
  });
const idOf = (name: string) => ref(`hcloud_server.${name}.id`);

export const firewallScenarios: readonly Scenario[] = [
  {
    name: "a firewall",
    steps: [
      {
        name: "create, applied to a server",
        config: alone({ rule: [ssh, out], labels: { a: "1" }, apply_to: [{ server: idOf("a") }] }),
        state: ["hcloud_firewall.f"],
      },
      again,
      {
        name: "applied to a label",
        config: alone({ rule: [ssh, out], apply_to: [{ label_selector: "role=web" }] }),
      },
      {
        name: "rename, other rules, other labels",
        config: alone({ name: "g", rule: [ping], labels: { b: "2" } }),
      },
      { name: "addresses that are written oddly", config: alone({ name: "g", rule: [oddly, out] }) },
      again,
      { name: "and one rule more", config: alone({ name: "g", rule: [oddly, out, ping] }) },
      { name: "without any rule", config: alone({ name: "g" }) },
      destroy,
    ],
  },
  {
    name: "a firewall that is attached apart",
    steps: [
      {
        name: "attach to one server",
        config: attached({ server_ids: [idOf("a")] }),
        state: ["hcloud_firewall_attachment.t"],
      },
      {
        name: "to two and a label",
        config: attached({ server_ids: [idOf("a"), idOf("b")], label_selectors: ["role=web"] }),
      },
      again,
      {
        name: "to the other server alone",
        config: attached({ server_ids: [idOf("b")] }),
        state: ["hcloud_firewall_attachment.t"],
      },
      { name: "to nothing", config: attached({}) },
      destroy,
    ],
  },
];
