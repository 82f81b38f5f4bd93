import type { Scenario } from "../scenarios.ts";
import { again, chain, destroy, ref, server } from "./config.ts";
import { switchOff } from "./others.ts";

const address = (more: object = {}) => ({ name: "p", type: "ipv4", location: "fsn1", ...more });
const idOfAddress = ref("hcloud_primary_ip.p.id");
const alone = (more: object = {}) => chain({ "hcloud_primary_ip.p": address(more) });
const withServer = (publicNet: object | null) =>
  chain({
    "hcloud_primary_ip.p": address(),
    "hcloud_server.a": server("a", publicNet ? { public_net: [publicNet] } : {}),
  });
const onlyIPv6 = server("a", { public_net: [{ ipv4_enabled: false, ipv6_enabled: true }] });
const held = (more: object = {}) =>
  chain({
    "hcloud_server.a": onlyIPv6,
    "hcloud_primary_ip.p": {
      name: "p",
      type: "ipv4",
      assignee_id: ref("hcloud_server.a.id"),
      assignee_type: "server",
      ...more,
    },
  });

export const addressScenarios: readonly Scenario[] = [
  {
    name: "a primary address on its own",
    steps: [
      {
        name: "create protected",
        config: alone({ delete_protection: true }),
        state: ["hcloud_primary_ip.p"],
      },
      again,
      { name: "destroy a protected one", does: ["destroy"] },
      {
        name: "lift the protection, rename, label, let it die with a server",
        config: alone({ name: "q", labels: { a: "1" }, auto_delete: true }),
        state: ["hcloud_primary_ip.p"],
      },
      {
        name: "remove the labels",
        config: alone({ name: "q", auto_delete: true }),
      },
      {
        name: "replace by an IPv6",
        config: alone({ name: "q", type: "ipv6" }),
        state: ["hcloud_primary_ip.p.ip_address", "hcloud_primary_ip.p.ip_network"],
      },
      destroy,
    ],
  },
  {
    name: "a primary address that a server holds",
    steps: [
      { name: "a server without IPv4", config: chain({ "hcloud_server.a": onlyIPv6 }) },
      { name: "for a server that runs", config: held() },
      {
        name: "for a server that is off",
        meanwhile: switchOff("a"),
        state: ["hcloud_primary_ip.p", "hcloud_server.a.ipv4_address"],
      },
      again,
      { name: "destroy the address alone", does: ["destroy", "-target=hcloud_primary_ip.p"] },
      destroy,
    ],
  },
  {
    name: "public_net, changed in place",
    steps: [
      { name: "create without a block", config: withServer(null), state: ["hcloud_server.a.public_net"] },
      { name: "name an address", config: withServer({ ipv4: idOfAddress }) },
      again,
      { name: "no IPv4 any more", config: withServer({ ipv4_enabled: false }) },
      { name: "IPv4 again", config: withServer({ ipv4_enabled: true }) },
      { name: "name it again, without IPv6", config: withServer({ ipv4: idOfAddress, ipv6_enabled: false }) },
      { name: "another IPv4 than the named", config: withServer({ ipv6_enabled: false }) },
      {
        name: "an address that must not be used",
        config: withServer({ ipv4_enabled: false, ipv4: idOfAddress }),
      },
      { name: "name it a third time", config: withServer({ ipv4: idOfAddress, ipv6_enabled: true }) },
      { name: "remove the block", config: withServer(null), state: ["hcloud_server.a.public_net"] },
      destroy,
    ],
  },
];
