/**
 * What a server at the emulated Hetzner is made of. One contract suite (contract.ts) runs on both backends.
 */
export interface MachineSpec {
  /** Hetzner's server id. */
  readonly id: number;
  readonly name: string;
  readonly image: string;
  readonly userData: string;
  /** Public keys for root's authorized_keys, as Hetzner installs them. */
  readonly sshKeys: readonly string[];
  readonly location: string;
  readonly cores: number;
  readonly memoryGiB: number;
}

export interface MachineBackend {
  readonly kind: "nspawn" | "process";
  /** What is missing on this host and how to get it; empty when the backend can run. */
  missing(): Promise<readonly { part: string; remedy: string }[]>;
  /** Removes what a dead local cloud left (mounts, interfaces, processes, rules), then sets up bridge or folders. */
  start(): Promise<void>;
  /** Reserves an address; the machine is off. */
  create(spec: MachineSpec): Promise<{ ipv4: string }>;
  /** Boots; resolves when the machine has been switched on (not when sshd answers). */
  powerOn(id: number): Promise<void>;
  /** Pulls the plug. */
  powerOff(id: number): Promise<void>;
  /** ACPI: asks the machine to shut down; resolves when it was asked. */
  shutdown(id: number): Promise<void>;
  reboot(id: number): Promise<void>;
  isOn(id: number): boolean;
  /** Removes machine and disk; its address may be used again. */
  destroy(id: number): Promise<void>;
  /** Stops everything; nothing of it is left on the host. */
  stop(): Promise<void>;
}
