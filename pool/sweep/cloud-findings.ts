/** What the cloud's lists say that the rows do not, and the reverse. Decisions alone: nothing is asked or written. */
import type { CloudServer } from "../cloud/cloud.ts";
import type { CloudResource, OwnedKind, ResourceKind } from "../cloud/resources.ts";
import { ownLabels } from "../machine/labels.ts";
import { isLive, type Machine, type MachineName, type MachineState } from "../machine/machine.ts";
import type { SeenResource, Store } from "../store/store.ts";
import type { PlatformIds } from "../terraform/terraform.ts";

/** States in which a machine may be without a server; in all others it must have one. */
const mayLackServer: readonly MachineState[] = [
  "planned",
  "creating",
  "releasing",
  "retiring",
  "failed",
  "destroyed",
];

/** States in which the server must be switched on. */
const switchedOn: readonly MachineState[] = [
  "preparing",
  "proving",
  "ready",
  "claimed",
  "handing-over",
  "serving",
];

export const mustHaveServer = (store: Pick<Store, "machines">): Machine[] =>
  store
    .machines({ live: true })
    .filter(({ state, serverId }) => serverId !== null && !mayLackServer.includes(state));

/**
 * Why a list of our servers is not to be believed, in words; null when it is. One server may have gone; several at once,
 * or all of them, are rather a fault of the list, or of a token of another project.
 */
export function disbelief(
  expected: readonly Machine[],
  listed: ReadonlySet<number>,
  vanishShare: number,
): string | null {
  const missing = expected.filter(({ serverId }) => !listed.has(serverId ?? 0)).length;
  if (missing === 0) return null;
  const counts = `the list of servers lacks ${missing} of the ${expected.length} that must exist`;
  if (missing === expected.length && listed.size === 0) return `${counts}: it is empty`;
  return missing >= 2 && missing > expected.length * vanishShare ? counts : null;
}

/** Of a list of servers, ours, as the bill wants them. An API that did not know the selector would give all there are. */
export const seenServers = (servers: readonly CloudServer[], instance: string): SeenResource[] =>
  servers
    .filter(({ labels }) =>
      Object.entries(ownLabels(instance)).every(([label, value]) => labels[label] === value),
    )
    .map(({ id, name, serverType: type, location, createdAt, ipv4 }) => ({
      kind: "server",
      hasIpv4: ipv4 !== null,
      ...{ id, name, type, location, createdAt },
    }));

/** Addresses of ours that belong to no server: one that does is billed beside it. */
export const seenAddresses = (addresses: readonly CloudResource[]): SeenResource[] =>
  addresses
    .filter(({ kind, type, server }) => kind === "primary_ip" && type === "ipv4" && server === null)
    .map(({ id, name, location, createdAt }) => ({
      kind: "primary_ip",
      type: "ipv4",
      hasIpv4: false,
      location: location ?? "unknown",
      ...{ id, name, createdAt },
    }));

/** Something with our labels that no row and no stack knows. */
export interface Stray {
  readonly kind: OwnedKind;
  readonly id: number;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: number;
  /** Why it is never deleted without a person, in words; null when it may go. */
  readonly held: string | null;
  /** Everything that is known of it, for the audit. */
  readonly facts: Readonly<Record<string, unknown>>;
}

type Known = Pick<Store, "machine" | "machineByServerId" | "order">;

function isKnown(server: Pick<CloudServer, "id" | "name">, store: Known): boolean {
  const owners = [store.machineByServerId(server.id), store.machine(server.name as MachineName)];
  return owners.some(isLive);
}

/** @param since when this database first compared (epoch ms): it cannot know the story of what is older */
export function strayServers(servers: readonly CloudServer[], store: Known, since: number): Stray[] {
  return servers
    .filter((server) => !isKnown(server, store))
    .map((server) => ({
      kind: "server",
      id: server.id,
      name: server.name,
      labels: server.labels,
      createdAt: server.createdAt,
      held: holdServer(server, store, since),
      facts: server as unknown as Record<string, unknown>,
    }));
}

function holdServer(server: CloudServer, store: Known, since: number): string | null {
  const id = server.labels["clawpool-order"];
  if (id !== undefined) {
    const order = store.order(id as never);
    if (!order) return `its label says that it serves order ${id}, which this database does not know`;
    if (order.endedAt === null) return `its label says that it serves order ${id}, which goes on`;
  }
  return held(server, since);
}

function held(
  { createdAt, isProtected }: Pick<Stray, "createdAt"> & { isProtected: boolean },
  since: number,
) {
  if (isProtected) return "somebody has protected it";
  // A database that was lost or made anew: whose it is, nobody here can know.
  return createdAt < since ? "it is older than this database" : null;
}

const stackKinds: readonly ResourceKind[] = ["ssh_key", "firewall", "network", "placement_group"];

/** Ids that the platform's stack made, by kind. */
function platformOf(ids: PlatformIds, kind: ResourceKind): readonly number[] {
  switch (kind) {
    case "ssh_key":
      return [ids.sshKey];
    case "firewall":
      return [ids.firewall];
    case "network":
      return [ids.network];
    case "placement_group":
      return ids.placementGroups;
    default:
      return [];
  }
}

/**
 * Of one kind: what no row and no stack knows. What is attached to a server is that server's matter, and a volume or
 * snapshot whose label names a live machine is that machine's.
 */
export function strayResources(
  resources: readonly CloudResource[],
  ids: PlatformIds,
  store: Known,
  since: number,
): (CloudResource & { readonly held: string | null })[] {
  return resources
    .filter(({ kind, id, server, labels }) => {
      if (platformOf(ids, kind).includes(id) || server !== null) return false;
      const machine = labels["clawpool-machine"];
      const row = machine === undefined ? null : store.machine(machine as MachineName);
      return !isLive(row);
    })
    .map((resource) => ({ ...resource, held: held(resource, since) }));
}

/** Resources of the platform's stack that a list of their kind lacks. */
export function platformGaps(
  kind: ResourceKind,
  resources: readonly CloudResource[],
  ids: PlatformIds,
): number[] {
  if (!stackKinds.includes(kind)) return [];
  const listed = new Set(resources.map(({ id }) => id));
  return platformOf(ids, kind).filter((id) => !listed.has(id));
}

/** A server that is not what its row says. */
export interface Mismatch {
  readonly machine: Machine;
  readonly kind: "server-mismatch" | "server-off";
  readonly text: string;
}

export function mismatches(servers: readonly CloudServer[], expected: readonly Machine[]): Mismatch[] {
  const byId = new Map(servers.map((server) => [server.id, server]));
  return expected.flatMap((machine): Mismatch[] => {
    const server = byId.get(machine.serverId ?? 0);
    if (!server) return [];
    const differences = (
      [
        ["name", machine.name, server.name],
        ["type", machine.serverType, server.serverType],
        ["location", machine.location, server.location],
      ] as const
    ).filter(([, ours, theirs]) => ours !== theirs);
    if (differences.length > 0) {
      const words = differences.map(([what, ours, theirs]) => `${what} ${theirs} instead of ${ours}`);
      const text = `server ${server.id} of ${machine.name} has ${words.join(", ")}`;
      return [{ machine, kind: "server-mismatch", text }];
    }
    if (server.status !== "off" || !switchedOn.includes(machine.state)) return [];
    const text = `server ${server.id} of ${machine.name} (${machine.state}) is switched off`;
    return [{ machine, kind: "server-off", text }];
  });
}
