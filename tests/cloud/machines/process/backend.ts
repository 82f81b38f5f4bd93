/**
 * Machines that are folders: an SSH server each on a loopback address of its own, the real hand-over program, and
 * stand-ins for the gateway and tailscaled. Needs no root and no container; it shows that the parts fit together,
 * not that a Debian system boots. A folder has no cores and no memory of its own, so a size is noted and limits
 * nothing; a volume is a folder without a file system and without a limit; private networks it cannot have.
 */
import { cp, mkdir, readdir, rm, stat, symlink } from "node:fs/promises";
import type { Server } from "node:net";
import { dirname, join, resolve } from "node:path";
import { type AddressPool, addressPool } from "../addresses.ts";
import {
  type BootFault,
  type MachineBackend,
  type MachineSpec,
  type RescueSpec,
  UnsupportedByMachines,
  type VolumeSpec,
} from "../backend.ts";
import { claimSubnet, close, listen, makeSocketDir, sweep } from "./claims.ts";
import { type FolderMachine, folderMachine } from "./machine.ts";
import { setRootPassword } from "./root-password.ts";

export interface ProcessOptions {
  /** Where the machines' folders are kept while the local cloud runs. */
  readonly stateDir: string;
  /** Port of the machines' SSH servers, the same on all. Default 2222. */
  readonly sshPort?: number;
  /** Where tailscaled's stand-ins register; default: at the control URL that a join names. */
  readonly registerUrl?: string;
}

export interface ProcessBackend extends MachineBackend {
  readonly kind: "process";
  readonly sshPort: number;
  /** The folder that stands for a machine's root. */
  rootOf(id: number): string;
  /** A process of a machine that is on dies by itself; nobody starts it again. */
  crash(id: number, process: "gateway" | "tailscaled"): Promise<void>;
}

interface Entry {
  spec: MachineSpec;
  ipv4: string | null;
  readonly root: string;
  readonly machine: FolderMachine;
  /** Runs from a folder of its own, on the same address. */
  readonly rescueSystem: FolderMachine;
  rescue: RescueSpec | null;
  faults: readonly BootFault[];
  vanished: boolean;
  /** Switched on, and nothing comes of it. */
  hung: boolean;
  /** Ends when what was asked for so far is done: switching on and off take their turns. */
  turn: Promise<unknown>;
}

interface Volume extends VolumeSpec {
  readonly machine: number | null;
  readonly automount: boolean;
}

interface Running {
  readonly addresses: AddressPool;
  readonly claim: Server;
  readonly socketDir: string;
}

export function createProcessBackend(options: ProcessOptions): ProcessBackend {
  const sshPort = options.sshPort ?? 2222;
  const stateDir = resolve(options.stateDir);
  const machines = new Map<number, Entry>();
  const volumes = new Map<number, Volume>();
  const snapshots = new Set<string>();
  let snapshotsMade = 0;
  let running: Running | null = null;

  const started = (): Running => {
    if (!running) throw new Error("the backend was not started");
    return running;
  };
  const entry = (id: number): Entry => {
    const found = machines.get(id);
    if (!found) throw new Error(`no machine ${id}`);
    return found;
  };
  const volume = (id: number): Volume => {
    const found = volumes.get(id);
    if (!found) throw new Error(`no volume ${id}`);
    return found;
  };
  const knownSnapshot = (handle: string): string => {
    if (!snapshots.has(handle)) throw new Error(`no snapshot ${handle}`);
    return join(stateDir, handle);
  };
  const volumeDir = (id: number) => join(stateDir, `volume-${id}`);
  const rescueRoot = (root: string) => `${root}-rescue`;
  const isOn = ({ machine, rescueSystem, hung }: Entry) => machine.on || rescueSystem.on || hung;
  const inTurn = <T>(id: number, work: (entry: Entry) => Promise<T>): Promise<T> => {
    const found = entry(id);
    const turn = found.turn.catch(() => {}).then(() => work(found));
    found.turn = turn;
    return turn;
  };

  async function newDisk({ spec, root, machine }: Entry): Promise<void> {
    await rm(root, { recursive: true, force: true });
    if (spec.snapshot !== undefined) await copyFolder(knownSnapshot(spec.snapshot), root);
    await machine.create(spec);
  }

  async function switchOn(target: Entry): Promise<void> {
    const { spec, root, machine, rescueSystem, faults, rescue } = target;
    if (isOn(target)) return;
    if (target.vanished) throw new Error(`machine ${spec.id} has vanished`);
    target.rescue = null;
    if (faults.includes("never-boots")) {
      target.hung = true;
      return;
    }
    const address = faults.includes("no-network") ? null : target.ipv4;
    const otherHostKey = faults.includes("other-host-key");
    try {
      if (rescue) {
        await makeRescueRoot(target, rescue);
        await rescueSystem.powerOn({ name: "rescue", address, otherHostKey: false });
      } else {
        for (const each of volumes.values()) if (each.machine === spec.id) await show(each, root);
        await machine.powerOn({ name: spec.name, address, otherHostKey });
      }
    } catch (error) {
      await switchOff(target);
      throw error;
    }
  }

  async function switchOff(target: Entry): Promise<void> {
    target.hung = false;
    await target.machine.powerOff();
    await target.rescueSystem.powerOff();
    await rm(rescueRoot(target.root), { recursive: true, force: true });
  }

  async function makeRescueRoot({ spec, root, rescueSystem }: Entry, rescue: RescueSpec): Promise<void> {
    const own = rescueRoot(root);
    await rescueSystem.create({ ...spec, userData: "", sshKeys: rescue.sshKeys });
    if (rescue.sshKeys.length === 0) await setRootPassword(own, rescue.password);
    await mkdir(join(own, "mnt"), { recursive: true });
    await symlink(root, join(own, "mnt/disk"));
  }

  const namesOf = (root: string, { id, format, automount }: Volume) => [
    join(root, "dev/disk/by-id", `scsi-0HC_Volume_${id}`),
    ...(automount && format !== null ? [join(root, "mnt", `HC_Volume_${id}`)] : []),
  ];
  async function show(shown: Volume, root: string): Promise<void> {
    await hide(shown, root);
    for (const path of namesOf(root, shown)) {
      await mkdir(dirname(path), { recursive: true });
      await symlink(volumeDir(shown.id), path);
    }
  }
  async function hide(shown: Volume, root: string): Promise<void> {
    for (const path of namesOf(root, shown)) await rm(path, { force: true });
  }

  const unsupported = async () => {
    throw new UnsupportedByMachines("machines of kind process cannot be in private networks");
  };

  return {
    kind: "process",
    sshPort,
    rootOf: (id) => entry(id).root,
    crash: (id, process) => inTurn(id, ({ machine }) => machine.crash(process)),
    async missing() {
      const claim = await listen("127.86.13.1", 0).catch(() => null);
      await close(claim);
      if (claim) return [];
      const remedy =
        "use Linux, where all of 127.0.0.0/8 is there, or add the addresses to the loopback interface";
      return [{ part: "loopback addresses other than 127.0.0.1", remedy }];
    },
    async start() {
      if (running) return;
      const { prefix, claim } = await claimSubnet(sshPort);
      await sweep();
      const socketDir = await makeSocketDir(stateDir);
      const addresses = addressPool(Array.from({ length: 253 }, (_, i) => `${prefix}.${i + 2}`));
      running = { addresses, claim, socketDir };
      await mkdir(stateDir, { recursive: true, mode: 0o700 });
    },
    async create(spec) {
      const { addresses, socketDir } = started();
      if (machines.has(spec.id)) throw new Error(`machine ${spec.id} exists`);
      if (spec.snapshot !== undefined) knownSnapshot(spec.snapshot);
      const ipv4 = addresses.take();
      const root = join(stateDir, String(spec.id));
      const shared = { sshPort, socketDir, registerUrl: options.registerUrl };
      machines.set(spec.id, {
        ...{ spec, ipv4, root, rescue: null, faults: [], vanished: false, hung: false },
        machine: folderMachine({ ...shared, root, id: String(spec.id) }),
        rescueSystem: folderMachine({ ...shared, root: rescueRoot(root), id: `${spec.id}r` }),
        turn: Promise.resolve(),
      });
      await inTurn(spec.id, newDisk);
      return { ipv4 };
    },
    powerOn: async (id) => inTurn(id, switchOn),
    powerOff: async (id) => inTurn(id, switchOff),
    async shutdown(id) {
      entry(id);
      // Asked, not done: the caller sees isOn become false later. What hangs does not listen.
      setImmediate(() => {
        if (!machines.has(id)) return;
        inTurn(id, async (target) => (target.hung ? undefined : switchOff(target))).catch(() => {});
      });
    },
    reboot: async (id) =>
      inTurn(id, async (target) => {
        if (target.hung || !isOn(target)) return;
        await switchOff(target);
        await switchOn(target);
      }),
    isOn(id) {
      const found = machines.get(id);
      return found !== undefined && isOn(found);
    },
    async destroy(id) {
      const { ipv4 } = await inTurn(id, async (target) => {
        await switchOff(target);
        await rm(target.root, { recursive: true, force: true });
        return target;
      });
      for (const each of volumes.values())
        if (each.machine === id) volumes.set(each.id, { ...each, machine: null });
      machines.delete(id);
      if (ipv4 !== null) started().addresses.free(ipv4);
    },
    async stop() {
      if (!running) return;
      for (const id of [...machines.keys()]) await this.destroy(id);
      for (const handle of [...snapshots]) await this.deleteSnapshot(handle);
      for (const id of [...volumes.keys()]) await this.deleteVolume(id);
      await close(running.claim);
      await rm(running.socketDir, { recursive: true, force: true });
      running = null;
    },

    async rebuild(id, { image, snapshot, userData }) {
      if (snapshot !== undefined) knownSnapshot(snapshot);
      await inTurn(id, async (target) => {
        await switchOff(target);
        const { snapshot: _before, ...spec } = target.spec;
        target.spec = {
          ...{ ...spec, image, userData: userData ?? spec.userData },
          ...(snapshot === undefined ? {} : { snapshot }),
        };
        target.vanished = false;
        await newDisk(target);
      });
    },
    setRescue: async (id, rescue) =>
      inTurn(id, async (target) => {
        target.rescue = rescue;
      }),
    resetPassword: async (id, password) =>
      inTurn(id, async (target) => {
        if (!target.machine.on) throw new Error(`machine ${id} does not run`);
        await setRootPassword(target.root, password);
      }),
    resize: async (id, size) =>
      inTurn(id, async (target) => {
        target.spec = { ...target.spec, ...size };
      }),
    snapshot: async (id) =>
      inTurn(id, async ({ root }) => {
        const handle = `snapshot-${++snapshotsMade}`;
        const copy = join(stateDir, handle);
        await copyFolder(root, copy);
        for (const each of volumes.values()) if (each.machine === id) await hide(each, copy);
        snapshots.add(handle);
        return { handle, bytes: await bytesIn(copy) };
      }),
    async deleteSnapshot(handle) {
      await rm(knownSnapshot(handle), { recursive: true, force: true });
      snapshots.delete(handle);
    },
    async usage(id) {
      entry(id);
      return null;
    },

    reserveAddress: async () => started().addresses.take(),
    releaseAddress: async (ipv4) => started().addresses.free(ipv4),
    setAddress: async (id, ipv4) =>
      inTurn(id, async (target) => {
        if (isOn(target)) throw new Error(`machine ${id} is on`);
        const holder = [...machines.values()].find((each) => ipv4 !== null && each.ipv4 === ipv4);
        if (ipv4 !== null && (!started().addresses.isTaken(ipv4) || (holder && holder !== target)))
          throw new Error(`${ipv4} is not reserved`);
        target.ipv4 = ipv4;
      }),
    reuseAddressesAtOnce(atOnce) {
      started().addresses.reuseAtOnce = atOnce;
    },

    attachNetwork: unsupported,
    detachNetwork: unsupported,
    setAliasIps: unsupported,
    // They would lead packets of machines that are in the network, and there are none.
    setRoutes: async () => {},

    async createVolume(spec) {
      if (volumes.has(spec.id)) throw new Error(`volume ${spec.id} exists`);
      await mkdir(volumeDir(spec.id));
      volumes.set(spec.id, { ...spec, machine: null, automount: false });
    },
    async resizeVolume(id, size) {
      volumes.set(id, { ...volume(id), size });
    },
    async deleteVolume(id) {
      if (volume(id).machine !== null) throw new Error(`volume ${id} is attached`);
      volumes.delete(id);
      await rm(volumeDir(id), { recursive: true, force: true });
    },
    attachVolume: async (id, volumeId, automount) =>
      inTurn(id, async (target) => {
        if (volume(volumeId).machine !== null) throw new Error(`volume ${volumeId} is attached`);
        const attached = { ...volume(volumeId), machine: id, automount };
        if (target.machine.on) await show(attached, target.root);
        volumes.set(volumeId, attached);
      }),
    detachVolume: async (id, volumeId) =>
      inTurn(id, async (target) => {
        const attached = volume(volumeId);
        if (attached.machine !== id) throw new Error(`volume ${volumeId} is not attached to machine ${id}`);
        await hide(attached, target.root);
        volumes.set(volumeId, { ...attached, machine: null, automount: false });
      }),

    setBootFaults: async (id, faults) =>
      inTurn(id, async (target) => {
        target.faults = [...faults];
      }),
    vanish: async (id) =>
      inTurn(id, async (target) => {
        await switchOff(target);
        target.vanished = true;
        await rm(target.root, { recursive: true, force: true });
      }),
  };
}

/** Links stay links: those to volumes must not become copies. */
async function copyFolder(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
}

async function bytesIn(folder: string): Promise<number> {
  let sum = 0;
  for (const each of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (each.isFile()) sum += (await stat(join(each.parentPath, each.name))).size;
  }
  return sum;
}
