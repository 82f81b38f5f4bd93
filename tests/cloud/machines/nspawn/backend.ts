/** Machines that are real Debian systems in systemd-nspawn: real init, sshd, users, firewall, tun device. */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { MachineBackend, MachineSpec } from "../backend.ts";
import { notYet } from "../not-yet.ts";
import { rigCgroup } from "./cgroup.ts";
import { type Container, startContainer } from "./container.ts";
import { type MachineFolders, machineFolders, makeDisk } from "./disk.ts";
import { aptProxyConfig, aptSourcesList, caFiles, resolvConf } from "./host.ts";
import { rootImage } from "./image.ts";
import { type MetadataService, serveMetadata } from "./metadata.ts";
import { installMissing, missingParts } from "./missing.ts";
import { gatewayOf, hostAddresses, networkNames, setUpBridge, setUpNetwork, subnetOf } from "./network.ts";
import {
  claimSubnet,
  containerPrefix,
  type Rig,
  register,
  removeDeadRigs,
  removeRig,
  thisProcess,
} from "./registry.ts";

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
  exec(id: number, argv: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }>;
  /** What the machine has written to its console since it was created. */
  consoleLog(id: number): Promise<string>;
}

interface Machine {
  readonly spec: MachineSpec;
  readonly ipv4: string;
  readonly containerName: string;
  readonly folders: MachineFolders;
  container: Container | null;
  /** Ends when the work that was asked for so far is done: switching on and off take their turns. */
  turn: Promise<unknown>;
}

interface Running {
  readonly rig: Rig;
  readonly image: string;
  readonly metadata: MetadataService;
  readonly hostFiles: Readonly<Record<string, string>>;
  readonly freeAddresses: string[];
}

export function createNspawnBackend(options: NspawnOptions): NspawnBackend {
  const id = options.id ?? randomBytes(3).toString("hex");
  if (!/^[0-9a-f]{6}$/.test(id))
    throw new Error(`the id of a local cloud is six hexadecimal digits, not ${id}`);
  const onProgress = options.onProgress ?? (() => {});
  const machines = new Map<number, Machine>();
  let running: Running | null = null;

  function started(): Running {
    if (!running) throw new Error("the nspawn backend is not started");
    return running;
  }

  function machine(serverId: number): Machine {
    const found = machines.get(serverId);
    if (!found) throw new Error(`no machine ${serverId}`);
    return found;
  }

  function inTurn<T>(target: Machine, work: () => Promise<T>): Promise<T> {
    const result = target.turn.then(work);
    target.turn = result.catch(() => {});
    return result;
  }

  async function switchOn(target: Machine): Promise<void> {
    const { rig, image } = started();
    const { spec, folders } = target;
    const container = await startContainer({
      name: target.containerName,
      hostname: spec.name,
      bridge: rig.network.bridge,
      cgroup: join(rigCgroup(rig.id), target.containerName),
      cores: spec.cores,
      memoryGiB: spec.memoryGiB,
      image,
      folders,
      mounts: options.mounts ?? {},
    });
    target.container = container;
    container.ended.then((end) => {
      if (target.container !== container) return;
      if (end === "off") target.container = null;
      else restart(target, container);
    });
  }

  /** A machine that rebooted itself stays switched on; unless somebody pulled the plug meanwhile. */
  function restart(target: Machine, ended: Container): void {
    inTurn(target, async () => {
      if (target.container === ended) await switchOn(target);
    }).catch((error) => {
      target.container = null;
      onProgress(`machine ${target.spec.name} did not come back from its reboot: ${error}`);
    });
  }

  async function switchOff(target: Machine): Promise<void> {
    const container = target.container;
    target.container = null;
    await container?.kill();
  }

  return {
    ...notYet,
    kind: "nspawn",
    missing: missingParts,
    installMissing: () => installMissing(onProgress),
    get gateway() {
      return gatewayOf(started().rig.network);
    },
    get subnet() {
      return subnetOf(started().rig.network);
    },

    async start() {
      if (running) throw new Error("the nspawn backend is started already");
      for (const dead of await removeDeadRigs()) onProgress(`removed what the dead local cloud ${dead} left`);
      const image = await rootImage(onProgress);
      const hostFiles = await filesOfHost(options.resolvConf);
      const owner = await thisProcess();
      const network = { ...networkNames(id), net: await claimSubnet(id, owner) };
      const dir = resolve(options.stateDir, `nspawn-${id}`);
      const rig: Rig = { id, owner, dir, network };
      await register(rig);
      try {
        await mkdir(dir, { recursive: true, mode: 0o700 });
        await setUpBridge(network);
        const byAddress = (ipv4: string) => [...machines.values()].find((each) => each.ipv4 === ipv4)?.spec;
        const metadata = await serveMetadata(gatewayOf(network), byAddress);
        running = { rig, image, metadata, hostFiles, freeAddresses: [...hostAddresses(network)] };
        await setUpNetwork(network, metadata.port);
      } catch (error) {
        await running?.metadata.close();
        running = null;
        await removeRig(rig);
        throw error;
      }
    },

    async create(spec) {
      const { rig, hostFiles, freeAddresses } = started();
      if (spec.image !== "debian-12")
        throw new Error(`nspawn machines run debian-12 only, not ${spec.image}`);
      if (machines.has(spec.id)) throw new Error(`machine ${spec.id} exists already`);
      const ipv4 = freeAddresses.shift();
      if (!ipv4) throw new Error(`all addresses of ${subnetOf(rig.network)} are in use`);
      const containerName = `${containerPrefix(id)}${ipv4.split(".")[3]}`;
      const folders = machineFolders(join(rig.dir, String(spec.id)));
      machines.set(spec.id, { spec, ipv4, containerName, folders, container: null, turn: Promise.resolve() });
      try {
        const gateway = gatewayOf(rig.network);
        await makeDisk(folders, spec, { ipv4, gateway, hostServices: options.hostServices ?? [], hostFiles });
      } catch (error) {
        machines.delete(spec.id);
        freeAddresses.unshift(ipv4);
        throw error;
      }
      return { ipv4 };
    },

    async powerOn(serverId) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        if (!target.container) await switchOn(target);
      });
    },
    async powerOff(serverId) {
      const target = machine(serverId);
      await inTurn(target, () => switchOff(target));
    },
    shutdown: async (serverId) => machine(serverId).container?.signal("poweroff"),
    reboot: async (serverId) => machine(serverId).container?.signal("reboot"),
    isOn: (serverId) => Boolean(machines.get(serverId)?.container),

    async destroy(serverId) {
      const target = machine(serverId);
      await inTurn(target, async () => {
        await switchOff(target);
        await rm(target.folders.dir, { recursive: true, force: true });
      });
      machines.delete(serverId);
      // First in, so that the next machine shows what the reuse of an address does.
      running?.freeAddresses.unshift(target.ipv4);
    },

    async stop() {
      if (!running) return;
      const { rig, metadata } = running;
      await Promise.all([...machines.values()].map((each) => inTurn(each, () => switchOff(each))));
      await removeRig(rig);
      await metadata.close();
      machines.clear();
      running = null;
    },

    exec(serverId, argv) {
      const container = machine(serverId).container;
      if (!container) throw new Error(`machine ${serverId} is off`);
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
