/**
 * What else is in the project: things of other people that must never be touched, and things with our labels that no row
 * knows, as a create leaves that was carried out after everybody had forgotten it.
 */
import type { ResourceKind } from "../../pool/cloud/resources.ts";
import { ownLabels } from "../../pool/machine/labels.ts";
import { type SimDevice, type SimServer, untouched, type World } from "./world.ts";

const minute = 60_000;
/** The example configuration's. */
const instance = "test";

export interface SimResource {
  readonly id: number;
  readonly kind: ResourceKind;
  readonly name: string;
  labels: Record<string, string>;
  readonly createdAt: number;
}

const isOurs = ({ labels }: { readonly labels: Readonly<Record<string, string>> }): boolean =>
  Object.entries(ownLabels(instance)).every(([label, value]) => labels[label] === value);

/** Servers that are this installation's by their labels. */
export const ourServers = (world: World): SimServer[] => [...world.servers.values()].filter(isOurs);

function place(world: World, name: string, labels: Record<string, string>): SimServer {
  const now = world.clock.now();
  const server: SimServer = {
    id: world.id(),
    name,
    labels,
    location: "fsn1",
    serverType: "cx23",
    ipv4: world.freeAddress(),
    createdAt: now,
    bootedAt: now,
    off: false,
    lockedUntil: 0,
    deleting: false,
    machine: { ...untouched, hostKey: "ssh-ed25519 AAAAother", admin: false },
  };
  world.servers.set(server.id, server);
  return server;
}

/** Somebody else's: no labels, another program's, another installation's, and names that look like ours. */
export function settleNeighbours(world: World): void {
  place(world, "database", {});
  place(world, "claw-test-aaaaaaaaaa", {});
  place(world, "web-1", { "managed-by": "terraform" });
  place(world, "claw-test-b-aaaaaaaaaa", ownLabels("test-b"));
  for (const [kind, name, labels] of [
    ["volume", "data", {}],
    ["snapshot", "golden", ownLabels("test-b")],
    ["ssh_key", "ada", { "managed-by": "clawpool" }],
  ] as const) {
    const resource = { id: world.id(), kind, name, labels: { ...labels }, createdAt: world.clock.now() };
    world.resources.set(resource.id, resource);
  }
  for (const [node, hostname, tags] of [
    ["n-laptop", "laptop", []],
    ["n-other", "claw-test-b-aaaaaaaaaa", ["tag:claw-vm"]],
    ["n-db", "database", ["tag:claw-vm"]],
    ["n-alike", "claw-test-aaaaaaaaaa", ["tag:server"]],
  ] as const)
    world.devices.set(node, deviceOf(world, hostname, tags));
  const createdAt = world.clock.now();
  world.authKeys.set("tskey-auth-other", {
    id: "k-other",
    description: "clawpool test-b hand-over",
    used: false,
    revoked: false,
    tags: [],
    ephemeral: false,
    createdAt,
    expiresAt: Number.POSITIVE_INFINITY,
  });
  world.neighbours = neighbours(world);
}

const deviceOf = (world: World, hostname: string, tags: readonly string[]): SimDevice => ({
  hostname,
  name: hostname,
  addresses: [],
  tags,
  ephemeral: false,
  online: true,
  createdAt: world.clock.now(),
});

/** As text, to be compared; what is ours left out. */
const neighbours = (world: World): string[] => [
  ...[...world.servers.values()]
    .filter((server) => !isOurs(server))
    .map(({ id, name, labels, deleting }) => JSON.stringify(["server", id, name, labels, deleting])),
  ...[...world.resources.values()]
    .filter((resource) => !isOurs(resource))
    .map(({ id, kind, name, labels }) => JSON.stringify([kind, id, name, labels])),
  ...[...world.devices].filter(([node]) => node.startsWith("n-")).map((device) => JSON.stringify(device)),
  ...[...world.authKeys.values()].filter(({ id }) => id.startsWith("k-")).map((key) => JSON.stringify(key)),
];

/** Host names of the devices that are not somebody else's. */
export const ourDevices = (world: World): string[] =>
  [...world.devices].filter(([node]) => !node.startsWith("n-")).map(([, { hostname }]) => hostname);

/** Words about things of others that are gone or changed. */
export function touchedNeighbours(world: World): string[] {
  const now = new Set(neighbours(world));
  return world.neighbours.filter((one) => !now.has(one)).map((one) => `${one} of somebody else was touched`);
}

/** Things that cost money and that nobody remembers turn up. */
export async function leaveBehind(world: World, count: number, lasts: number): Promise<void> {
  // What is older than the daemon's database is told, and never deleted.
  do await world.clock.delay(5_000);
  while (!world.isComparing());
  for (let left = count; left > 0; left--) {
    await world.clock.delay(world.chance.between(0, lasts / count));
    const [name, now] = [`claw-test-strayaaaa${"abcdef"[left]}`, world.clock.now()];
    if (world.chance.happens(0.5)) forget(world, name);
    else if (world.chance.happens(0.4)) {
      world.devices.set(`node-${left}`, deviceOf(world, name, ["tag:claw-vm"]));
      world.states.set(name, {
        lineage: name,
        serverId: world.id(),
        tainted: false,
        shared: null,
        serial: 1,
      });
      world.strays.set(`device node-${left}`, now);
      world.strays.set(`folder ${name}`, now);
      world.note(`device and folder of ${name} turn up`);
    } else {
      const kind = world.chance.pick(["volume", "snapshot", "primary_ip", "ssh_key"] as const);
      const createdAt = world.clock.now();
      const resource = {
        id: world.id(),
        kind,
        name: `stray-${left}`,
        labels: ownLabels(instance),
        createdAt,
      };
      world.resources.set(resource.id, resource);
      world.strays.set(`${kind} ${resource.id}`, createdAt);
      world.note(`${kind} ${resource.id} turns up`);
    }
  }
}

/** A server with our labels of which no row tells. */
export function forget(world: World, name: string): void {
  const server = place(world, name, { ...ownLabels(instance), "clawpool-machine": name });
  world.strays.set(`server ${server.id}`, server.createdAt);
  world.note(`server ${server.id} ${name} turns up`);
}

/**
 * An order whose answer was lost is carried out late. Hetzner refuses it when the name is taken by then; when somebody
 * still remembers the machine it is found by its name; else nobody knows of it.
 */
export async function carryOutLate(world: World, make: () => SimServer | null): Promise<void> {
  await world.clock.delay(world.chance.between(5_000, 10 * minute));
  const server = make();
  if (!server || world.isRemembered(server.name)) return;
  world.strays.set(`server ${server.id}`, server.createdAt);
  world.note(`server ${server.id} ${server.name} is made after it was forgotten`);
}

/** What turned up and is still there. */
export function strays(world: World): string[] {
  const left = new Set([
    ...[...world.servers.keys()].map((id) => `server ${id}`),
    ...[...world.resources.values()].map(({ kind, id }) => `${kind} ${id}`),
    ...[...world.devices.keys()].map((node) => `device ${node}`),
    ...[...world.states.keys()].map((name) => `folder ${name}`),
  ]);
  return [...world.strays.keys()].filter((what) => left.has(what));
}
