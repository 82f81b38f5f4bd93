import assert from "node:assert/strict";
import fc from "fast-check";
import type { MachineBackend } from "../machines/backend.ts";
import type { NullBackend } from "../machines/null.ts";
import { type Rig, serverOrder, startRig } from "./rig.ts";

/** What is there to act on; ids come from the lists that a client sees. */
interface Seen {
  readonly servers: readonly number[];
  readonly volumes: readonly number[];
  readonly addresses: readonly number[];
  readonly images: readonly number[];
  readonly network: number;
  readonly group: number;
}
type Request = readonly [method: string, path: string, body?: unknown];

const pick = <T>(from: readonly T[], nth: number): T | 7 => from[nth % Math.max(1, from.length)] ?? 7;

/** Each takes two numbers to choose by, and may well ask for what cannot be. */
const requests: Readonly<Record<string, (seen: Seen, a: number, b: number) => Request>> = {
  order: ({ network, images, group, volumes }, a, b) => [
    "POST",
    "/servers",
    {
      name: `m-${a}`,
      server_type: b % 3 === 0 ? "cx33" : "cx23",
      image: b % 4 === 0 ? pick(images, a) : "debian-12",
      location: "fsn1",
      networks: b % 2 === 0 ? [network] : [],
      start_after_create: b % 5 !== 0,
      ...(b % 7 === 0 ? { placement_group: group } : {}),
      ...(b % 6 === 0 ? { volumes: [pick(volumes, a)] } : {}),
    },
  ],
  orderWithAddress: ({ addresses }, a, b) => [
    "POST",
    "/servers",
    {
      name: `m-${a}`,
      server_type: "cx23",
      image: "debian-12",
      location: "fsn1",
      public_net: { ipv4: pick(addresses, b) },
    },
  ],
  delete: ({ servers }, a) => ["DELETE", `/servers/${pick(servers, a)}`],
  rename: ({ servers }, a, b) => ["PUT", `/servers/${pick(servers, a)}`, { name: `m-${b}` }],
  act: ({ servers, network, group, addresses }, a, b) => {
    const actions: readonly [string, unknown?][] = [
      ["poweron"],
      ["poweroff"],
      ["poweroff"],
      ["shutdown"],
      ["reboot"],
      ["reset"],
      ["rebuild", { image: "ubuntu-24.04" }],
      ["change_type", { server_type: "cx33", upgrade_disk: a % 2 === 0 }],
      ["change_type", { server_type: "cx43", upgrade_disk: a % 2 === 0 }],
      ["create_image"],
      ["create_image", { type: "backup" }],
      ["enable_rescue"],
      ["disable_rescue"],
      ["enable_backup"],
      ["disable_backup"],
      ["attach_iso", { iso: "8637" }],
      ["detach_iso"],
      ["change_protection", { delete: a % 2 === 0, rebuild: a % 2 === 0 }],
      ["change_protection", { delete: false, rebuild: false }],
      ["attach_to_network", { network }],
      ["detach_from_network", { network }],
      ["change_alias_ips", { network, alias_ips: [`10.0.0.${a % 256}`] }],
      ["add_to_placement_group", { placement_group: group }],
      ["remove_from_placement_group"],
      ["reset_password"],
      ["change_dns_ptr", { ip: `198.18.0.${pick(addresses, a)}`, dns_ptr: null }],
    ];
    const [name, body] = actions[b % actions.length] ?? ["poweron"];
    return ["POST", `/servers/${pick(servers, a)}/actions/${name}`, body];
  },
  buyAddress: ({ servers }, a, b) => [
    "POST",
    "/primary_ips",
    {
      name: `ip-${a}`,
      type: "ipv4",
      auto_delete: b % 2 === 0,
      ...(b % 3 === 0 ? { assignee_type: "server", assignee_id: pick(servers, a) } : { location: "fsn1" }),
    },
  ],
  assign: ({ addresses, servers }, a, b) => [
    "POST",
    `/primary_ips/${pick(addresses, a)}/actions/assign`,
    { assignee_type: "server", assignee_id: pick(servers, b) },
  ],
  unassign: ({ addresses }, a) => ["POST", `/primary_ips/${pick(addresses, a)}/actions/unassign`],
  deleteAddress: ({ addresses }, a) => ["DELETE", `/primary_ips/${pick(addresses, a)}`],
  buyVolume: (_seen, a) => ["POST", "/volumes", { name: `v-${a}`, size: 10, location: "fsn1" }],
  attach: ({ volumes, servers }, a, b) => [
    "POST",
    `/volumes/${pick(volumes, a)}/actions/attach`,
    { server: pick(servers, b) },
  ],
  detach: ({ volumes }, a) => ["POST", `/volumes/${pick(volumes, a)}/actions/detach`],
  deleteVolume: ({ volumes }, a) => ["DELETE", `/volumes/${pick(volumes, a)}`],
  deleteImage: ({ images }, a) => ["DELETE", `/images/${pick(images, a)}`],
  convertImage: ({ images }, a) => ["PUT", `/images/${pick(images, a)}`, { type: "snapshot" }],
};

const withoutIpv4 = { public_net: { enable_ipv4: false } };

const number = fc.nat({ max: 400 });
const step = fc.record({
  request: fc.oneof(
    { weight: 3, arbitrary: fc.constant("act") },
    { weight: 4, arbitrary: fc.constantFrom(...Object.keys(requests)) },
  ),
  a: number,
  b: number,
  /** Until the next request; often too little for an action to end. */
  pauseMs: fc.constantFrom(0, 2_000, 60_000, 600_000, 600_000),
});

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Carries the steps out and lets what they set going end. */
async function walk(rig: Rig, steps: readonly Step[], mayAnswer: (status: number) => boolean): Promise<void> {
  const { network } = await rig.must("POST", "/networks", {
    name: "n",
    ip_range: "10.0.0.0/16",
    subnets: [{ type: "cloud", network_zone: "eu-central", ip_range: "10.0.0.0/24" }],
  });
  const group = await rig.must("POST", "/placement_groups", { name: "g", type: "spread" });
  const fixed = { network: network.id, group: group.placement_group.id };
  for (const name of ["m-0", "m-1", "m-2"]) {
    await rig.call("POST", "/servers", {
      ...serverOrder(name),
      location: "fsn1",
      ...(name === "m-0" ? {} : withoutIpv4),
    });
  }
  await rig.clock.advance(60_000);
  for (const { request, a, b, pauseMs } of steps) {
    const make = requests[request] ?? assert.fail(`no request ${request}`);
    const [method, path, body] = make({ ...(await look(rig)), ...fixed }, a, b);
    const { status, json } = await rig.call(method, path, body);
    assert.ok(mayAnswer(status), `${method} ${path}: ${status} ${JSON.stringify(json)}`);
    await rig.clock.advance(pauseMs);
  }
  await rig.clock.advance(3_600_000);
}

/** Lets calls of the machines fail where `fails` says so. @returns what ends that */
function spoil(backend: NullBackend, fails: () => boolean): () => void {
  const whole = { ...backend };
  const spoiled: Partial<MachineBackend> = {
    create: (spec) => (fails() ? refuse() : whole.create(spec)),
    powerOn: (id) => (fails() ? refuse() : whole.powerOn(id)),
    powerOff: (id) => (fails() ? refuse() : whole.powerOff(id)),
    reboot: (id) => (fails() ? refuse() : whole.reboot(id)),
    destroy: (id) => (fails() ? refuse() : whole.destroy(id)),
    rebuild: (id, spec) => (fails() ? refuse() : whole.rebuild(id, spec)),
    resize: (id, size) => (fails() ? refuse() : whole.resize(id, size)),
    snapshot: (id) => (fails() ? refuse() : whole.snapshot(id)),
    deleteSnapshot: (handle) => (fails() ? refuse() : whole.deleteSnapshot(handle)),
    reserveAddress: () => (fails() ? refuse() : whole.reserveAddress()),
    setAddress: (id, ipv4) => (fails() ? refuse() : whole.setAddress(id, ipv4)),
    attachNetwork: (id, network) => (fails() ? refuse() : whole.attachNetwork(id, network)),
    detachNetwork: (id, network) => (fails() ? refuse() : whole.detachNetwork(id, network)),
    createVolume: (volume) => (fails() ? refuse() : whole.createVolume(volume)),
    attachVolume: (id, volume, mount) => (fails() ? refuse() : whole.attachVolume(id, volume, mount)),
    detachVolume: (id, volume) => (fails() ? refuse() : whole.detachVolume(id, volume)),
  };
  Object.assign(backend, spoiled);
  return () => Object.assign(backend, whole);
}

const refuse = () => Promise.reject(new Error("the host is unwell"));

describe("Hetzner emulator: whatever is asked in whatever order", function () {
  this.timeout(60_000);
  const steps = fc.array(step, { minLength: 60, maxLength: 80 });
  // Each run takes seconds: the first that fails is told as it is.
  const runs = { numRuns: 4, seed: 4711, endOnFailure: true };

  async function withRig(work: (rig: Rig) => Promise<void>): Promise<void> {
    const rig = await startRig({ requestsPerHour: 1_000_000 });
    await work(rig).finally(() => rig.close());
  }

  it("keeps API, machines and bill in step, and leaves nothing when all is deleted", async () => {
    const keepsStep = fc.asyncProperty(steps, (each) =>
      withRig(async (rig) => {
        await walk(rig, each, (status) => status < 500);
        await assertInStep(rig);
        await deleteAll(rig);
      }),
    );
    await fc.assert(keepsStep, runs);
  });

  it("lets all be deleted after a time in which one call of the machines in five failed", async () => {
    const recovers = fc.asyncProperty(steps, fc.infiniteStream(fc.nat({ max: 4 })), (each, luck) =>
      withRig(async (rig) => {
        const heal = spoil(rig.backend, () => luck.next().value === 0);
        await walk(rig, each, (status) => status < 500 || status === 503);
        heal();
        await deleteAll(rig);
      }),
    );
    await fc.assert(recovers, runs);
  });
});

async function look({ must }: Rig): Promise<Omit<Seen, "network" | "group">> {
  const ids = (list: readonly { readonly id: number }[]) => list.map((each) => each.id);
  return {
    servers: ids((await must("GET", "/servers?per_page=50")).servers),
    volumes: ids((await must("GET", "/volumes?per_page=50")).volumes),
    addresses: ids((await must("GET", "/primary_ips?per_page=50")).primary_ips),
    images: ids((await must("GET", "/images?type=snapshot&type=backup&per_page=50")).images),
  };
}

async function assertInStep({ must, backend, hetzner }: Rig): Promise<void> {
  const { servers } = await must("GET", "/servers?per_page=50");
  const { volumes } = await must("GET", "/volumes?per_page=50");
  const { primary_ips: addresses } = await must("GET", "/primary_ips?per_page=50");
  const { images } = await must("GET", "/images?type=snapshot&type=backup&per_page=50");
  assert.deepEqual(sorted(servers.map((server) => server.id)), sorted([...backend.machines.keys()]));
  for (const server of servers) {
    const machine = backend.machines.get(server.id);
    assert.equal(server.locked, false);
    assert.equal(server.status, backend.isOn(server.id) ? "running" : "off");
    assert.equal(server.public_net.ipv4?.ip ?? null, machine?.ipv4);
    assert.deepEqual(
      server.private_net.map((entry) => [entry.network, entry.ip, entry.alias_ips]),
      machine?.networks.map((entry) => [entry.network, entry.ip, entry.aliasIps]),
    );
    const own = [...backend.volumes.values()].filter((volume) => volume.machine === server.id);
    assert.deepEqual(sorted(server.volumes), sorted(own.map((volume) => volume.id)));
    assert.equal(machine?.cores, { cx23: 2, cx33: 4, cx43: 8 }[server.server_type.name]);
    const backups = images.filter((image) => image.bound_to === server.id);
    assert.ok(backups.length === 0 || server.backup_window !== null);
  }
  for (const address of addresses) {
    const holder = servers.find((server) => server.public_net.ipv4?.id === address.id);
    const six = servers.find((server) => server.public_net.ipv6?.id === address.id);
    assert.equal(address.assignee_id, (holder ?? six)?.id ?? null);
  }
  const ipv4 = addresses.map((address) => address.ip).filter((ip) => !ip.includes(":"));
  assert.deepEqual([...ipv4].sort(), [...backend.addresses].sort());
  assert.equal(images.length, backend.snapshots.size);
  assert.equal(volumes.length, backend.volumes.size);
  const open = hetzner.bill().lines.filter((line) => line.ended === null);
  const billed = (kind: string) => sorted(open.filter((line) => line.kind === kind).map((line) => line.id));
  const ids = (list: readonly { readonly id: number }[]) => sorted(list.map((each) => each.id));
  assert.deepEqual(billed("server"), ids(servers));
  assert.deepEqual(billed("backup"), ids(servers.filter((server) => server.backup_window !== null)));
  assert.deepEqual(billed("primary_ip"), ids(addresses.filter((address) => !address.ip.includes(":"))));
  assert.deepEqual(billed("volume"), ids(volumes));
  assert.deepEqual(billed("snapshot"), ids(images.filter((image) => image.type === "snapshot")));
}

const sorted = (ids: readonly number[]) => [...ids].sort((a, b) => a - b);

async function deleteAll({ must, clock, backend, hetzner }: Rig): Promise<void> {
  const settle = () => clock.advance(3_600_000);
  for (const { id, protection } of (await must("GET", "/servers?per_page=50")).servers) {
    if (protection.delete) {
      await must("POST", `/servers/${id}/actions/change_protection`, { delete: false, rebuild: false });
      await settle();
    }
    await must("DELETE", `/servers/${id}`);
  }
  await settle();
  for (const { id } of (await must("GET", "/volumes?per_page=50")).volumes)
    await must("DELETE", `/volumes/${id}`);
  for (const { id } of (await must("GET", "/primary_ips?per_page=50")).primary_ips) {
    await must("DELETE", `/primary_ips/${id}`);
  }
  const { images } = await must("GET", "/images?type=snapshot&type=backup&per_page=50");
  for (const { id } of images) await must("DELETE", `/images/${id}`);
  const left = (of: NullBackend) =>
    [of.machines, of.volumes, of.snapshots, of.addresses].map((each) => each.size);
  assert.deepEqual(left(backend), [0, 0, 0, 0]);
  assert.equal(hetzner.bill().owedPerHour, 0);
}
