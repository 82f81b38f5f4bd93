import type { Scenario } from "../scenarios.ts";
import { chain, dataChain, key, network, ref, server, subnet } from "./config.ts";

const made = chain({
  "hcloud_ssh_key.k": { ...key, labels: { a: "1" } },
  "hcloud_network.n": network,
  "hcloud_network_subnet.s": subnet(),
  "hcloud_server.a": server("a", {
    labels: { a: "1" },
    network: [{ network_id: ref("hcloud_network.n.id"), ip: "10.0.1.5" }],
  }),
});

const found = {
  "hcloud_image.name": { name: "debian-12", most_recent: true },
  "hcloud_image.arm": { name: "debian-12", with_architecture: "arm", include_deprecated: true },
  "hcloud_image.id": { id: 161547269 },
  "hcloud_location.name": { name: "hel1" },
  "hcloud_location.id": { id: 1 },
  "hcloud_server_type.name": { name: "cpx22" },
  "hcloud_server_type.unavailable": { id: 1 },
  "hcloud_server.name": { name: "a" },
  "hcloud_server.selector": { with_selector: "a=1", with_status: ["running", "off"] },
  "hcloud_ssh_key.name": { name: "key" },
  "hcloud_ssh_key.fingerprint": { fingerprint: ref("hcloud_ssh_key.k.fingerprint") },
  "hcloud_ssh_key.selector": { with_selector: "a=1" },
};

/** Each fails on its own; nothing waits for another. */
const missing = {
  hcloud_image: { selector: { with_selector: "a=1", with_status: ["available", "creating"] }, id: { id: 1 } },
  hcloud_location: { name: { name: "fsn9" } },
  hcloud_server_type: { name: { name: "cx1" } },
  hcloud_server: { selector: { with_selector: "a=2" }, name: { name: "b" }, id: { id: 1 }, nothing: {} },
  hcloud_ssh_key: { name: { name: "none" }, selector: { selector: "a=2" } },
};
const wrong = { hcloud_location: { both: { name: "fsn1", id: 1 } }, hcloud_image: { nothing: {} } };

export const lookupScenarios: readonly Scenario[] = [
  {
    name: "data sources",
    steps: [
      { name: "create what is looked for", config: made },
      {
        name: "find",
        config: { ...made, ...dataChain(found) },
        does: ["apply", "-refresh=false"],
        state: Object.keys(found).map((address) => `data.${address}`),
      },
      {
        name: "find nothing",
        config: { ...made, data: missing },
        does: ["plan", "-refresh=false"],
        anyOrder: true,
      },
      {
        name: "ask for too much or nothing",
        config: { ...made, data: wrong },
        does: ["plan", "-refresh=false"],
      },
    ],
  },
];
