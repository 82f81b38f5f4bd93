import type { Scenario } from "../scenarios.ts";
import { again, chain, destroy, ref, server } from "./config.ts";

const volume = (more: object = {}) =>
  chain({
    "hcloud_server.a": server("a"),
    "hcloud_server.b": server("b"),
    "hcloud_volume.v": { name: "v", size: 10, ...more },
  });
const lone = (more: object) => chain({ "hcloud_volume.v": { name: "v", size: 10, ...more } });
const on = (name: string) => ({ server_id: ref(`hcloud_server.${name}.id`) });
const snapshot = (more: object = {}, others: Readonly<Record<string, object>> = {}) =>
  chain({
    "hcloud_server.a": server("a"),
    "hcloud_snapshot.s": { server_id: ref("hcloud_server.a.id"), ...more },
    ...others,
  });

export const diskScenarios: readonly Scenario[] = [
  {
    name: "a volume",
    steps: [
      {
        name: "create on a server",
        config: volume({ ...on("a"), automount: true, format: "ext4", labels: { a: "1" } }),
        state: ["hcloud_volume.v"],
      },
      again,
      {
        name: "rename, label and enlarge",
        config: volume({
          ...on("a"),
          automount: true,
          format: "ext4",
          name: "w",
          size: 20,
          labels: { b: "2" },
        }),
      },
      { name: "move to another server", config: volume({ ...on("b"), name: "w", size: 20 }) },
      { name: "protect", config: volume({ ...on("b"), name: "w", size: 20, delete_protection: true }) },
      { name: "destroy a protected one", does: ["destroy", "-target=hcloud_volume.v"] },
      { name: "lift the protection", config: volume({ name: "w", size: 20 }), state: ["hcloud_volume.v"] },
      { name: "make it smaller", config: volume({ name: "w", size: 15 }) },
      destroy,
    ],
  },
  {
    name: "a volume on its own",
    steps: [
      { name: "create", config: lone({ location: "nbg1" }), state: ["hcloud_volume.v"] },
      { name: "replace by one elsewhere", config: lone({ location: "fsn1" }) },
      destroy,
    ],
  },
  {
    name: "a snapshot",
    steps: [
      {
        name: "create",
        config: snapshot({ description: "first", labels: { a: "1" } }),
        state: ["hcloud_snapshot.s"],
      },
      again,
      { name: "describe and label anew", config: snapshot({ description: "second" }) },
      {
        name: "a server from it",
        config: snapshot(
          { description: "second" },
          { "hcloud_server.b": server("b", { image: ref("hcloud_snapshot.s.id") }) },
        ),
        state: ["hcloud_server.b.image"],
      },
      again,
      destroy,
    ],
  },
];
