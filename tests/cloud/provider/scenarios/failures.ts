import type { FaultInput } from "../../hetzner/faults.ts";
import type { Scenario } from "../scenarios.ts";
import { chain, destroy, key, network, ref, server, subnet } from "./config.ts";

type Code = Extract<FaultInput["effect"], { kind: "error" }>["code"];

const fails = (method: FaultInput["method"], path: string, code: Code, more: object = {}): FaultInput => ({
  method,
  path,
  effect: { kind: "error", code },
  ...more,
});
/** The API description lists it for firewalls alone. */
const inUse = (path: string, times: number): FaultInput => ({
  method: "DELETE",
  path,
  times,
  effect: {
    kind: "answer",
    status: 422,
    error: { code: "resource_in_use", message: "firewall is still in use" },
  },
});
const invalid = (method: FaultInput["method"], path: string): FaultInput => ({
  method,
  path,
  effect: {
    kind: "answer",
    status: 422,
    error: {
      code: "invalid_input",
      message: "invalid input in fields",
      details: {
        fields: [
          { name: "name", messages: ["too odd", "too long"] },
          { name: "labels", messages: ["no"] },
        ],
      },
    },
  },
});
const actionFails = (command: string): FaultInput => ({ command, effect: { kind: "action_fails" } });

const hangs = (command: string): FaultInput => ({ command, effect: { kind: "action_hangs" } });

/** One resource of each half of the provider. */
const configured = (block: object) => ({
  ...chain({ "hcloud_ssh_key.k": key, "hcloud_placement_group.g": { name: "g", type: "spread" } }),
  provider: { hcloud: block },
});
const address = { "hcloud_primary_ip.p": { name: "p", type: "ipv4", location: "fsn1" } };
const group = (more: object = {}) => ({ "hcloud_placement_group.g": { name: "g", type: "spread", ...more } });
const net = { "hcloud_network.n": network, "hcloud_network_subnet.s": subnet() };
const inNet = {
  ...net,
  "hcloud_server.a": server("a"),
  "hcloud_server_network.j": {
    server_id: ref("hcloud_server.a.id"),
    subnet_id: ref("hcloud_network_subnet.s.id"),
  },
};
const walled = {
  "hcloud_firewall.f": { name: "f" },
  "hcloud_server.a": server("a", { firewall_ids: [ref("hcloud_firewall.f.id")] }),
};
const mounted = {
  "hcloud_server.a": server("a"),
  "hcloud_volume.v": { name: "v", size: 10, server_id: ref("hcloud_server.a.id") },
};

export const failureScenarios: readonly Scenario[] = [
  {
    name: "refused before anything is sent",
    steps: [
      {
        name: "a plan",
        config: {
          resource: {
            hcloud_server: {
              datacenter: server("a", { datacenter: "fsn1-dc14" }),
              key: server("b", { ssh_keys: [""] }),
              image: { name: "c", server_type: "cx23", image: "" },
              labels: server("d", { labels: { "a b": "c" } }),
            },
            hcloud_ssh_key: { labels: { ...key, labels: { a: "b c" } } },
            hcloud_primary_ip: {
              nowhere: { name: "a", type: "ipv4" },
              nothing: { name: "b", type: "ipv4", assignee_id: 1 },
              datacenter: {
                name: "c",
                type: "ipv4",
                location: "fsn1",
                datacenter: "fsn1-dc14",
                assignee_type: "server",
              },
            },
            hcloud_placement_group: { type: { name: "g", type: "near" } },
            hcloud_network: { range: { name: "n", ip_range: "10.0.0.0" } },
            hcloud_network_subnet: { type: { ...subnet(), network_id: 1, type: "sub" } },
            hcloud_server_network: {
              both: { server_id: 1, network_id: 1, subnet_id: "1-10.0.0.0/24", ip: "10.0.1" },
            },
            hcloud_firewall: {
              address: {
                name: "a",
                rule: [{ direction: "in", protocol: "icmp", source_ips: ["10.0.0.1/8", "no address"] }],
              },
              kind: { name: "b", rule: [{ direction: "up", protocol: "sctp" }] },
            },
          },
        },
        does: ["plan"],
      },
    ],
  },
  {
    name: "servers that cannot be ordered",
    steps: [
      {
        name: "one of each",
        anyOrder: true,
        config: {
          resource: {
            hcloud_server: {
              type: server("a", { server_type: "cx1" }),
              old: server("b", { server_type: "1" }),
              image: server("c", { image: "no-such" }),
              snapshot: server("d", { image: "1" }),
              key: server("e", { ssh_keys: ["none"] }),
              group: server("f", { placement_group_id: 1 }),
              place: server("g", { location: "fsn9" }),
            },
          },
        },
      },
    ],
  },
  {
    name: "a provider block",
    steps: [
      { name: "with a short token", config: configured({ token: "short" }), does: ["plan"] },
      {
        name: "with an interval that is none",
        config: configured({ poll_interval: "soon" }),
        does: ["plan"],
      },
      { name: "with an unknown function", config: configured({ poll_function: "linear" }), does: ["plan"] },
      {
        name: "with a token that the API does not know",
        config: configured({ token: "f".repeat(64) }),
        does: ["apply"],
      },
    ],
  },
  {
    name: "refused by the API",
    steps: [
      {
        name: "input of an SDK resource",
        config: chain(group()),
        faults: [invalid("POST", "/placement_groups")],
      },
      {
        name: "input of a framework resource",
        config: chain(address),
        faults: [invalid("POST", "/primary_ips")],
      },
      {
        name: "a conflict that passes",
        config: chain({ ...address, ...group() }),
        faults: [fails("POST", "/placement_groups", "conflict", { times: 2 })],
      },
      {
        name: "an update in the middle",
        config: chain({ ...address, ...group({ name: "h", labels: { a: "1" } }) }),
        faults: [fails("PUT", "/placement_groups/*", "locked", { skip: 1 })],
        state: ["hcloud_placement_group.g"],
      },
      {
        name: "a deletion that finds nothing, of a group",
        does: ["destroy", "-target=hcloud_placement_group.g"],
        faults: [fails("DELETE", "/placement_groups/*", "not_found")],
      },
      {
        name: "a deletion that finds nothing, of an address",
        does: ["destroy", "-target=hcloud_primary_ip.p"],
        faults: [fails("DELETE", "/primary_ips/*", "not_found")],
      },
    ],
  },
  {
    name: "repeated by the provider itself",
    steps: [
      {
        name: "join while the server is locked",
        config: chain(inNet),
        faults: [fails("POST", "/servers/*/actions/attach_to_network", "locked", { times: 2 })],
      },
      {
        name: "leave while it is locked",
        does: ["destroy", "-target=hcloud_server_network.j"],
        faults: [fails("POST", "/servers/*/actions/detach_from_network", "locked", { times: 2 })],
      },
      {
        name: "delete a subnet that is locked",
        does: ["destroy", "-target=hcloud_network_subnet.s"],
        faults: [fails("POST", "/networks/*/actions/delete_subnet", "locked", { times: 2 })],
      },
      destroy,
      { name: "create a firewall", config: chain(walled) },
      {
        name: "delete a firewall that is still in use",
        does: ["destroy"],
        faults: [inUse("/firewalls/*", 2)],
      },
      {
        name: "create a volume while its server is locked",
        config: chain(mounted),
        faults: [fails("POST", "/volumes", "locked", { times: 2 })],
      },
      {
        name: "detach and delete while it is locked",
        does: ["destroy"],
        faults: [
          fails("POST", "/volumes/*/actions/detach", "locked", { times: 1 }),
          fails("DELETE", "/volumes/*", "locked", { times: 1 }),
        ],
      },
    ],
  },
  {
    name: "actions that fail",
    steps: [
      {
        name: "of an SDK resource",
        config: chain(net),
        faults: [actionFails("add_subnet")],
        state: ["hcloud_network_subnet.s.(status)"],
      },
      {
        name: "of a framework resource",
        config: chain(inNet),
        faults: [actionFails("attach_to_network")],
      },
      { name: "once more", does: ["apply"] },
      destroy,
    ],
  },
  {
    name: "interrupted",
    steps: [
      {
        name: "while a server is ordered, which the cloud sells all the same",
        config: chain({ "hcloud_server.a": server("a") }),
        faults: [{ method: "POST", path: "/servers", effect: { kind: "delay", ms: 600_000, when: "after" } }],
        interrupt: ["POST", "/servers"],
      },
      { name: "once more", does: ["apply"] },
      {
        name: "while a server is made",
        config: chain({ "hcloud_server.b": server("b") }),
        // The poll's answer is on its way when the interrupt comes.
        faults: [
          hangs("create_server"),
          { method: "GET", path: "/actions", effect: { kind: "delay", ms: 600_000 } },
        ],
        interrupt: ["GET", "/actions"],
        state: ["hcloud_server.b.id", "hcloud_server.b.(status)"],
      },
      { name: "delete the tainted server", does: ["destroy"] },
      { name: "a server and a network", config: chain({ ...net, "hcloud_server.a": server("c") }) },
      {
        name: "while a framework resource waits",
        config: chain({ ...inNet, "hcloud_server.a": server("c") }),
        faults: [hangs("attach_to_network")],
        interrupt: ["GET", "/actions"],
        state: ["hcloud_server_network.j.id", "hcloud_server_network.j.(status)"],
      },
      destroy,
    ],
  },
];
