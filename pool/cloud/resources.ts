/** What a Hetzner project holds beside servers, as far as it costs money or belongs to the platform stack. */
import { z } from "zod";

/** What may be left over, and is deleted then. */
export const ownedKinds = ["server", "primary_ip", "ssh_key", "volume", "snapshot"] as const;
export type OwnedKind = (typeof ownedKinds)[number];

export const resourceKinds = [
  "primary_ip",
  "ssh_key",
  "volume",
  "snapshot",
  "firewall",
  "network",
  "placement_group",
] as const;
export type ResourceKind = (typeof resourceKinds)[number];

/** False for what belongs to the platform alone. */
export const isOwned = (kind: ResourceKind): kind is ResourceKind & OwnedKind =>
  (ownedKinds as readonly string[]).includes(kind);

export interface CloudResource {
  readonly kind: ResourceKind;
  readonly id: number;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Epoch ms. */
  readonly createdAt: number;
  /** The server that an address or a volume is attached to. */
  readonly server: number | null;
  /** Somebody has forbidden to delete it. */
  readonly isProtected: boolean;
  readonly location: string | null;
  /** `ipv4` or `ipv6` of an address, else the kind. */
  readonly type: string;
  /** Of a volume or a snapshot, else 0. */
  readonly gigabytes: number;
  /** Of an SSH key, else null. */
  readonly publicKey: string | null;
}

interface Collection {
  /** Below the endpoint, and the key of a list in its answer. */
  readonly path: string;
  /** Of a single one in its answer. */
  readonly key: string;
  readonly query: Readonly<Record<string, string>>;
}

const collections: Readonly<Record<ResourceKind | "server", Collection>> = {
  server: { path: "servers", key: "server", query: {} },
  primary_ip: { path: "primary_ips", key: "primary_ip", query: {} },
  ssh_key: { path: "ssh_keys", key: "ssh_key", query: {} },
  volume: { path: "volumes", key: "volume", query: {} },
  // Backups are their server's and go with it; snapshots outlive it.
  snapshot: { path: "images", key: "image", query: { type: "snapshot" } },
  firewall: { path: "firewalls", key: "firewall", query: {} },
  network: { path: "networks", key: "network", query: {} },
  placement_group: { path: "placement_groups", key: "placement_group", query: {} },
};

export const collectionOf = (kind: ResourceKind | "server"): Collection => collections[kind];

const location = z.object({ name: z.string() }).nullish().catch(null);

export const resourceShape = z.object({
  id: z.number().int().positive(),
  name: z
    .string()
    .nullish()
    .transform((name) => name ?? ""),
  description: z.string().nullish().catch(null),
  created: z.string(),
  // Without its labels nothing is known to be ours: what is not shaped so must not be taken for "no labels".
  labels: z.record(z.string(), z.string()),
  protection: z.object({ delete: z.boolean() }).nullish().catch(null),
  location,
  assignee_id: z.number().nullish().catch(null),
  server: z.number().nullish().catch(null),
  type: z.string().nullish().catch(null),
  size: z.number().nullish().catch(null),
  image_size: z.number().nullish().catch(null),
  public_key: z.string().nullish().catch(null),
});

export function cloudResource(kind: ResourceKind, shown: z.infer<typeof resourceShape>): CloudResource {
  return {
    kind,
    id: shown.id,
    name: shown.name || (shown.description ?? ""),
    labels: shown.labels,
    createdAt: Date.parse(shown.created),
    server: shown.assignee_id ?? shown.server ?? null,
    isProtected: shown.protection?.delete ?? false,
    location: shown.location?.name ?? null,
    type: kind === "primary_ip" ? (shown.type ?? kind) : kind,
    gigabytes: shown.size ?? shown.image_size ?? 0,
    publicKey: shown.public_key ?? null,
  };
}
