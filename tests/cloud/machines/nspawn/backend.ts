/** Machines that are real Debian systems in systemd-nspawn: real init, sshd, users, firewall, tun device. */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type AddressPool, addressPool } from "../addresses.ts";
import type { MachineBackend } from "../backend.ts";
import { type Attaching, networkVerbs, volumeShelf } from "./attachments.ts";
import { freezeCgroup, rigCgroup } from "./cgroup.ts";
import type { CommandResult } from "./container.ts";
import { changeAddress, machineFolders, makeDisk } from "./disk.ts";
import { aptProxyConfig, aptSourcesList, caFiles, resolvConf } from "./host.ts";
import { rootImage } from "./image.ts";
import {
  type Host,
  inTurn,
  live,
  type Machine,
  publicPort,
  setRootPassword,
  surroundings,
  switchOff,
  switchOn,
} from "./machine.ts";
import { type MetadataService, serveMetadata } from "./metadata.ts";
import { installMissing, missingParts } from "./missing.ts";
import { gatewayOf, hostAddresses, networkNames, setUpBridge, setUpNetwork, subnetOf } from "./network.ts";
import { privateNetworks } from "./private-networks.ts";
import {
  claimSubnet,
  containerPrefix,
  type Rig,
  register,
  removeDeadRigs,
  removeRig,
  thisProcess,
} from "./registry.ts";
import { bytesUsed, copyLayer } from "./snapshots.ts";
import { memoryOf, usageOf } from "./usage.ts";

export interface NspawnOptions {
  /** Where disks and consoles are kept while the local cloud runs; on a file system that overlayfs can write to. */
  readonly stateDir: string;
  /** Six hexadecimal digits; random if not given. */
  readonly id?: string;
  /** Folders of the host by their path on the machines, each machine with a writable view of its own. */
  readonly mounts?: Readonly<Record<string, string>>;
  /** Host names that lead the machines to the gateway address, for services that the rig binds there. */
  readonly hostServices?: readonly string[];
  /** Text of the machines' resolv.conf; the host's name servers if not given. */
  readonly resolvConf?: string;
  /** Told what takes long: the building of the Debian root, packages that are installed, dead clouds removed. */
  readonly onProgress?: (text: string) => void;
}

export interface NspawnBackend extends MachineBackend {
  readonly kind: "nspawn";
  /** Installs what Debian packages can bring, if root. */
  installMissing(): Promise<void>;
  /** The host's address on the bridge: services bound to it are reached by machines. Known after `start`. */
  readonly gateway: string;
  /** CIDR. Known after `start`. */
  readonly subnet: string;
  /** Runs a command as root inside a running machine, past SSH. */
  exec(id: number, argv: readonly string[]): Promise<CommandResult>;
  /** Bytes that a running machine holds, its disk's cache left out. @throws where the host does not count it. */
  memory(id: number): Promise<number>;
  /** What the machine has written to its console since it was created. */
  consoleLog(id: number): Promise<string>;
}

interface Running {
  readonly host: Host;
  readonly metadata: MetadataService;
  readonly addresses: AddressPool;
}

export function createNspawnBackend(options: NspawnOptions): NspawnBackend {
  const id = options.id ?? randomBytes(3).toString("hex");
  if (!/^[0-9a-f]{6}$/.test(id))
    throw new Error(`the id of a local cloud is six hexadecimal digits, not ${id}`);
  const onProgress = options.onProgress ?? (() => {});
  const machines = new Map<number, Machine>();
  /** Folders of snapshots by their handles. */
  const snapshots = new Map<string, string>();
  let snapshotsMade = 0;
  let running: Running | null = null;

  function started(): Running {
    if (!running) throw new Error("the nspawn backend is not started");
    return running;
  }
  const dir = () => started().host.rig.dir;
  const context: Attaching = { machine, machines, host: () => started().host };
  const volumes = volumeShelf(context);

  function machine(serverId: number): Machine {
    const found = machines.get(serverId);
    if (!found) throw new Error(`no machine ${serverId}`);
    return found;
  }
  function snapshot(handle: string): string {
    const found = snapshots.get(handle);
    if (!found) throw new Error(`no snapshot ${handle}`);
    return found;
  }
  function freeSlot(): number {
    const taken = new Set([...machines.values()].map(({ slot }) => slot));
    let slot = 1;
    while (taken.has(slot)) slot++;
    return slot;
  }
  async function newDisk(target: Machine): Promise<void> {
    const { spec, folders } = target;
    if (spec.image !== "debian-12") onProgress(`${spec.name}: Debian 12 stands for ${spec.image}`);
    const from = spec.snapshot === undefined ? undefined : snapshot(spec.snapshot);
    await makeDisk(folders, spec, surroundings(started().host, target.ipv4), from);
  }

  return {
    kind: "nspawn",
    missing: missingParts,
    installMissing: () => installMissing(onProgress),
    get gateway() {
      return gatewayOf(started().host.rig.network);
    },
    get subnet() {
      return subnetOf(started().host.rig.network);
    },

    async start() {
      if (running) throw new Error("the nspawn backend is started already");
      for (const dead of await removeDeadRigs()) onProgress(`removed what the dead local cloud ${dead} left`);
      const image = await rootImage(onProgress);
      const hostFiles = await filesOfHost(options.resolvConf);
      const owner = await thisProcess();
      const network = { ...networkNames(id), net: await claimSubnet(id, owner) };
      const rig: Rig = { id, owner, dir: resolve(options.stateDir, `nspawn-${id}`), network };
      await register(rig);
      try {
        await mkdir(rig.dir, { recursive: true, mode: 0o700 });
        await setUpBridge(network);
        const byAddress = (ipv4: string) => [...machines.values()].find((each) => each.ipv4 === ipv4);
        const metadata = await serveMetadata(gatewayOf(network), byAddress);
        const host: Host = {
          ...{ rig, image, hostFiles, onProgress, networks: privateNetworks(id) },
          hostServices: options.hostServices ?? [],
          mounts: options.mounts ?? {},
        };
        running = { host, metadata, addresses: addressPool(hostAddresses(network)) };
        await setUpNetwork(network, metadata.port);
      } catch (error) {
        await running?.metadata.close();
        running = null;
        await removeRig(rig);
        throw error;
      }
    },

    async create(spec) {
      const { addresses } = started();
      if (machines.has(spec.id)) throw new Error(`machine ${spec.id} exists already`);
      if (spec.snapshot !== undefined) snapshot(spec.snapshot);
      const ipv4 = addresses.take();
      const slot = freeSlot();
      const created: Machine = {
        ...{ spec, ipv4, slot, containerName: `${containerPrefix(id)}${slot}` },
        folders: machineFolders(join(dir(), String(spec.id))),
        ...{ boot: null, rescue: null, faults: [], vanished: false, networks: [], volumes: [] },
        turn: Promise.resolve(),
      };
      machines.set(spec.id, created);
      try {
        await inTurn(created, () => newDisk(created));
      } catch (error) {
        machines.delete(spec.id);
        addresses.free(ipv4);
        throw error;
      }
      return { ipv4 };
    },

    async powerOn(serverId) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        if (!target.boot) await switchOn(started().host, target);
      });
    },
    async powerOff(serverId) {
      const target = machine(serverId);
      await inTurn(target, () => switchOff(target));
    },
    async shutdown(serverId) {
      const target = machine(serverId);
      await inTurn(target, async () => target.boot?.container.signal("poweroff"));
    },
    async reboot(serverId) {
      const target = machine(serverId);
      await inTurn(target, async () => target.boot?.container.signal("reboot"));
    },
    isOn: (serverId) => Boolean(machines.get(serverId)?.boot),

    async destroy(serverId) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        await switchOff(target);
        for (const { own } of target.networks)
          await started().host.networks.unplug({ port: target.containerName }, own);
        volumes.letGo(target);
        await rm(target.folders.dir, { recursive: true, force: true });
      });
      machines.delete(serverId);
      if (target.ipv4 !== null) started().addresses.free(target.ipv4);
    },

    async stop() {
      if (!running) return;
      const { host, metadata } = running;
      await Promise.all([...machines.values()].map((each) => inTurn(each, () => switchOff(each))));
      await host.networks.stop();
      await removeRig(host.rig);
      await metadata.close();
      for (const held of [machines, volumes, snapshots]) held.clear();
      running = null;
    },

    async rebuild(serverId, { image, snapshot: handle, userData }) {
      const target = machine(serverId);
      if (handle !== undefined) snapshot(handle);
      await inTurn(target, async () => {
        await switchOff(target);
        const { snapshot: _before, ...spec } = target.spec;
        target.spec = {
          ...{ ...spec, image, userData: userData ?? spec.userData },
          ...(handle === undefined ? {} : { snapshot: handle }),
        };
        await rm(target.folders.dir, { recursive: true, force: true });
        target.vanished = false;
        await newDisk(target);
      });
    },
    async setRescue(serverId, rescue) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        target.rescue = rescue;
      });
    },
    async resetPassword(serverId, password) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        const container = live(target);
        if (!container) throw new Error(`machine ${serverId} does not run`);
        await setRootPassword(container, password);
      });
    },
    async resize(serverId, { cores, memoryGiB }) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        target.spec = { ...target.spec, cores, memoryGiB };
      });
    },

    async snapshot(serverId) {
      const target = machine(serverId);
      const { rig, image } = started().host;
      return inTurn(target, async () => {
        const handle = `snapshot-${++snapshotsMade}`;
        const folder = join(dir(), handle);
        const cgroup = join(rigCgroup(rig.id), target.containerName);
        // A disk that changes while it is copied would be the copy of no moment.
        await freezeCgroup(cgroup, true);
        try {
          await copyLayer(target.folders.upper, folder);
        } finally {
          await freezeCgroup(cgroup, false);
        }
        snapshots.set(handle, folder);
        return { handle, bytes: (await bytesUsed(image)) + (await bytesUsed(folder)) };
      });
    },
    async deleteSnapshot(handle) {
      const folder = snapshot(handle);
      snapshots.delete(handle);
      await rm(folder, { recursive: true, force: true });
    },
    async usage(serverId) {
      const target = machine(serverId);
      const container = live(target);
      return container ? usageOf(container.cgroups, publicPort(target)) : null;
    },

    reserveAddress: async () => started().addresses.take(),
    releaseAddress: async (ipv4) => started().addresses.free(ipv4),
    async setAddress(serverId, ipv4) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        if (target.boot) throw new Error(`machine ${serverId} is on`);
        const holder = [...machines.values()].find((each) => ipv4 !== null && each.ipv4 === ipv4);
        if (ipv4 !== null && (!started().addresses.isTaken(ipv4) || (holder && holder !== target)))
          throw new Error(`${ipv4} is not reserved`);
        target.ipv4 = ipv4;
        if (!target.vanished) await changeAddress(target.folders, surroundings(started().host, ipv4));
      });
    },
    reuseAddressesAtOnce(atOnce) {
      started().addresses.reuseAtOnce = atOnce;
    },

    ...networkVerbs(context),
    ...volumes.verbs,

    async setBootFaults(serverId, faults) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        target.faults = [...faults];
      });
    },
    async vanish(serverId) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        await switchOff(target);
        target.vanished = true;
        await rm(target.folders.dir, { recursive: true, force: true });
      });
    },

    async memory(serverId) {
      const bytes = await memoryOf(live(machine(serverId))?.cgroups ?? []);
      if (bytes === null) throw new Error(`nothing counts the memory of machine ${serverId}`);
      return bytes;
    },
    exec(serverId, argv) {
      const container = live(machine(serverId));
      if (!container) throw new Error(`machine ${serverId} does not run`);
      return container.exec(argv);
    },
    consoleLog: (serverId) => readFile(machine(serverId).folders.console, "utf8"),
  };
}

async function filesOfHost(resolvConfText: string | undefined): Promise<Record<string, string>> {
  const proxy = await aptProxyConfig();
  return {
    ...(await caFiles()),
    "etc/apt/sources.list": await aptSourcesList(),
    ...(proxy ? { "etc/apt/apt.conf.d/80host-proxy": proxy } : {}),
    "etc/resolv.conf": resolvConfText ?? (await resolvConf()),
  };
}
