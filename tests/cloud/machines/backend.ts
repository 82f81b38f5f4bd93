/**
 * What a server at the emulated Hetzner is made of. One contract suite (contract.ts) runs on both backends.
 *
 * Machines, addresses, snapshots and volumes live as long as the backend object. Every method rejects an id, address
 * or handle that it does not know, unless it says otherwise; calls for one machine take effect in the order in which
 * they were made.
 */
export interface MachineSpec {
  /** Hetzner's server id. */
  readonly id: number;
  readonly name: string;
  /** Name of a system image; also given with `snapshot`, as what that once came from. */
  readonly image: string;
  /** What `snapshot` returned: the disk begins as a copy of that one. First boot as with an image: a new instance. */
  readonly snapshot?: string;
  readonly userData: string;
  /** Public keys for root's authorized_keys, as Hetzner installs them. */
  readonly sshKeys: readonly string[];
  readonly location: string;
  readonly cores: number;
  readonly memoryGiB: number;
}

/** A disk begun anew; what is left out stays as it was. */
export interface RebuildSpec {
  readonly image: string;
  readonly snapshot?: string;
  readonly userData?: string;
}

/** How the next boot comes up in the rescue system: root's keys, or the password when there are none. */
export interface RescueSpec {
  readonly sshKeys: readonly string[];
  readonly password: string;
}

/** A private interface. The machine gets `ip`/32 and a route to `ipRange` through `gateway`, as Hetzner's DHCP says. */
export interface PrivateInterface {
  readonly network: number;
  readonly ip: string;
  readonly aliasIps: readonly string[];
  readonly macAddress: string;
  /** CIDR of the whole network. */
  readonly ipRange: string;
  readonly gateway: string;
}

export interface VolumeSpec {
  /** The machine sees it as /dev/disk/by-id/scsi-0HC_Volume_<id>. */
  readonly id: number;
  /** GB */
  readonly size: number;
  /** Null: no file system. */
  readonly format: "ext4" | "xfs" | null;
}

/**
 * What goes wrong at every boot from the next one on:
 * `never-boots`: switched on, and nothing ever answers; `no-network`: it boots and nothing reaches it;
 * `other-host-key`: sshd shows another host key than user_data demands.
 */
export type BootFault = "never-boots" | "no-network" | "other-host-key";

/** Counters since the machine was switched on. */
export interface MachineUsage {
  readonly cpuSeconds: number;
  readonly diskReadBytes: number;
  readonly diskReadOperations: number;
  readonly diskWrittenBytes: number;
  readonly diskWriteOperations: number;
  readonly networkInBytes: number;
  readonly networkInPackets: number;
  readonly networkOutBytes: number;
  readonly networkOutPackets: number;
}

/** Of a machine that did nothing yet, or that nobody can measure. */
export const noUsage: MachineUsage = {
  cpuSeconds: 0,
  diskReadBytes: 0,
  diskReadOperations: 0,
  diskWrittenBytes: 0,
  diskWriteOperations: 0,
  networkInBytes: 0,
  networkInPackets: 0,
  networkOutBytes: 0,
  networkOutPackets: 0,
};

/** What machines of this kind cannot do, whatever is tried: Hetzner's `unsupported_error`. */
export class UnsupportedByMachines extends Error {
  override readonly name = "UnsupportedByMachines";
}

export interface MachineBackend {
  readonly kind: "nspawn" | "process";
  /** What is missing on this host and how to get it; empty when the backend can run. */
  missing(): Promise<readonly { part: string; remedy: string }[]>;
  /** Removes what a dead local cloud left (mounts, interfaces, processes, rules), then sets up bridge or folders. */
  start(): Promise<void>;
  /** Reserves an address and takes it; the machine is off. */
  create(spec: MachineSpec): Promise<{ ipv4: string }>;
  /** Boots; resolves when the machine has been switched on (not when sshd answers). Nothing happens if it is on. */
  powerOn(id: number): Promise<void>;
  /** Pulls the plug. With powerOn after it this is Hetzner's `reset`. */
  powerOff(id: number): Promise<void>;
  /** ACPI: asks the machine to shut down; resolves when it was asked. */
  shutdown(id: number): Promise<void>;
  reboot(id: number): Promise<void>;
  /** False for an unknown id too. */
  isOn(id: number): boolean;
  /** Removes machine and disk; its address is free, its volumes are detached and live on. */
  destroy(id: number): Promise<void>;
  /** Stops everything; nothing of it is left on the host. */
  stop(): Promise<void>;

  /** Pulls the plug and begins the disk anew, with new host keys; address, volumes and private networks stay. Off. */
  rebuild(id: number, spec: RebuildSpec): Promise<void>;
  /**
   * Arms the rescue system for the next boot alone (null: disarms it). It has an SSH host key of its own and shows the
   * machine's own disk below /mnt; the boot after it is a usual one.
   */
  setRescue(id: number, rescue: RescueSpec | null): Promise<void>;
  /** Sets root's password on the running machine. */
  resetPassword(id: number, password: string): Promise<void>;
  /** Takes effect at the next boot. */
  resize(id: number, size: { readonly cores: number; readonly memoryGiB: number }): Promise<void>;
  /** Copies the disk of a machine that is on or off. `bytes`: what is used of it. */
  snapshot(id: number): Promise<{ handle: string; bytes: number }>;
  /** Machines made from it live on. */
  deleteSnapshot(handle: string): Promise<void>;
  /** Null when it is off or the host cannot tell. */
  usage(id: number): Promise<MachineUsage | null>;

  /** An address that no machine has until `setAddress`. */
  reserveAddress(): Promise<string>;
  /** Frees what was reserved; nothing happens for an unknown address. */
  releaseAddress(ipv4: string): Promise<void>;
  /** The machine is off. It takes a reserved address, or none; the one it had stays reserved. */
  setAddress(id: number, ipv4: string | null): Promise<void>;
  /** True: an address that is freed is the next to be given away. False, the default: it is the last. */
  reuseAddressesAtOnce(atOnce: boolean): void;

  /**
   * Machines in one network reach each other. On a running machine at once, else with the next boot. What it has in
   * that network already is replaced.
   */
  attachNetwork(id: number, network: PrivateInterface): Promise<void>;
  detachNetwork(id: number, network: number): Promise<void>;
  setAliasIps(id: number, network: number, aliasIps: readonly string[]): Promise<void>;
  /** All routes of a network, on its machines of now and later. */
  setRoutes(
    network: number,
    routes: readonly { readonly destination: string; readonly gateway: string }[],
  ): Promise<void>;

  createVolume(volume: VolumeSpec): Promise<void>;
  /** The device grows; its file system is the user's business. */
  resizeVolume(volume: number, size: number): Promise<void>;
  /** It is attached nowhere; its data is gone. */
  deleteVolume(volume: number): Promise<void>;
  /** `automount`: mounted at /mnt/HC_Volume_<id>, over reboots too. */
  attachVolume(id: number, volume: number, automount: boolean): Promise<void>;
  detachVolume(id: number, volume: number): Promise<void>;

  /** The whole list; before the first `powerOn` it holds from the first boot. */
  setBootFaults(id: number, faults: readonly BootFault[]): Promise<void>;
  /** The host is lost: the machine stops at once and its disk is gone. It cannot be switched on any more. */
  vanish(id: number): Promise<void>;
}
