import type { Scenario } from "../scenarios.ts";
import { again, chain, destroy, key, ref, server } from "./config.ts";

const one = (more: object) =>
  chain({
    "hcloud_ssh_key.k": key,
    "hcloud_placement_group.g": { name: "g", type: "spread", labels: { a: "1" } },
    "hcloud_server.a": server("a", { ssh_keys: [ref("hcloud_ssh_key.k.id")], ...more }),
  });
const grouped = { placement_group_id: ref("hcloud_placement_group.g.id") };
const pair = (ofKey: object, ofGroup: object) =>
  chain({
    "hcloud_ssh_key.k": { ...key, ...ofKey },
    "hcloud_placement_group.g": { name: "g", type: "spread", ...ofGroup },
  });

const all = {
  backups: true,
  iso: "8637",
  rescue: "linux64",
  rebuild_protection: true,
  delete_protection: true,
};

export const serverScenarios: readonly Scenario[] = [
  {
    name: "a server's settings, all at once and taken back",
    steps: [
      { name: "create with all of them", config: one({ ...all, ...grouped }), state: ["hcloud_server.a"] },
      again,
      { name: "destroy a protected one", does: ["destroy", "-target=hcloud_server.a"] },
      { name: "take back", config: one(grouped), state: ["hcloud_server.a"] },
      { name: "leave the placement group while it runs", config: one({ shutdown_before_deletion: true }) },
      {
        name: "only what the state holds",
        config: one({ ...grouped, shutdown_before_deletion: true, keep_disk: true }),
      },
      { name: "destroy, and shut down before", does: ["destroy"] },
    ],
  },
  {
    name: "a server's settings, added later",
    steps: [
      { name: "create without any", config: one({}), state: ["hcloud_server.a"] },
      { name: "add all of them", config: one(all) },
      { name: "lift the protection, change the ISO", config: one({ iso: "8638", rescue: "linux64" }) },
      {
        name: "join a placement group while it runs",
        config: one({ iso: "8638", rescue: "linux64", ...grouped }),
      },
      { name: "an ISO that is none, after the rescue system", config: one({ iso: "no-such.iso" }) },
      destroy,
    ],
  },
  {
    name: "keys and placement groups",
    steps: [
      { name: "create", config: pair({}, {}), state: ["hcloud_ssh_key.k", "hcloud_placement_group.g"] },
      { name: "label the key", config: pair({ labels: { a: "1" } }, {}) },
      {
        name: "rename and label the group",
        config: pair({ labels: { a: "1" } }, { name: "h", labels: { b: "" } }),
      },
      {
        name: "rename the key and remove its labels",
        config: pair({ name: "other" }, { name: "h", labels: { b: "" } }),
      },
      again,
      destroy,
    ],
  },
];
