/** One machine of the nspawn backend: what is known of it, and what happens when it is switched on and off. */
import { join } from "node:path";
import type { BootFault, MachineSpec, PrivateInterface, RescueSpec } from "../backend.ts";
import { rigCgroup } from "./cgroup.ts";
import { type Container, startContainer } from "./container.ts";
import { type MachineFolders, type Surroundings, showOtherHostKey } from "./disk.ts";
import { gatewayOf } from "./network.ts";
import type { PrivateNetworks } from "./private-networks.ts";
import type { Rig } from "./registry.ts";
import { makeRescueDisk, removeRescueDisk } from "./rescue.ts";
import { hide, type ShownVolume, show } from "./shown-volumes.ts";

export interface Machine {
  /** As the next boot will take it. */
  spec: MachineSpec;
  ipv4: string | null;
  /** Small and its own as long as the machine exists; the names of what it has on the host are made of it. */
  readonly slot: number;
  readonly containerName: string;
  readonly folders: MachineFolders;
  boot: Boot | null;
  /** Ends when the work that was asked for so far is done: switching on and off take their turns. */
  turn: Promise<unknown>;
  rescue: RescueSpec | null;
  faults: readonly BootFault[];
  vanished: boolean;
  readonly networks: PrivatePort[];
  readonly volumes: ShownVolume[];
}

export interface PrivatePort {
  own: PrivateInterface;
  /** As the machine calls it. */
  readonly device: string;
}

/** From switching on to switching off. */
export interface Boot {
  readonly container: Container;
  readonly kind: "usual" | "rescue" | "hung";
  /** No network reaches it. */
  readonly cutOff: boolean;
}

/** What all machines of a local cloud share. */
export interface Host {
  readonly rig: Rig;
  readonly image: string;
  readonly hostFiles: Readonly<Record<string, string>>;
  readonly hostServices: readonly string[];
  readonly mounts: Readonly<Record<string, string>>;
  readonly networks: PrivateNetworks;
  readonly onProgress: (text: string) => void;
}

export const surroundings = ({ rig, hostServices, hostFiles }: Host, ipv4: string | null): Surroundings => ({
  ipv4,
  gateway: gatewayOf(rig.network),
  hostServices,
  hostFiles,
});

export function inTurn<T>(machine: Machine, work: () => Promise<T>): Promise<T> {
  const result = machine.turn.then(work);
  machine.turn = result.catch(() => {});
  return result;
}

/** The container of a machine that has booted; null if it is off or hangs. */
export const live = ({ boot }: Machine): Container | null =>
  boot && boot.kind !== "hung" ? boot.container : null;

/** The host's end of the machine's public cable; null if it has none. */
export const publicPort = ({ boot, ipv4, containerName }: Machine): string | null =>
  boot && !boot.cutOff && ipv4 !== null ? `vb-${containerName}` : null;

/** Switches on a machine that is off. */
export async function switchOn(host: Host, machine: Machine): Promise<void> {
  const { spec, folders, rescue, faults } = machine;
  if (machine.vanished) throw new Error(`machine ${spec.id} has vanished`);
  machine.rescue = null;
  if (faults.includes("never-boots")) {
    machine.boot = { container: hungContainer(), kind: "hung", cutOff: true };
    return;
  }
  await showOtherHostKey(folders, faults.includes("other-host-key"));
  const rescueDisk = rescue && (await makeRescueDisk(folders, rescue, surroundings(host, machine.ipv4)));
  if (!rescue) await removeRescueDisk(folders);
  const cutOff = faults.includes("no-network");
  const container = await startContainer({
    name: machine.containerName,
    hostname: rescue ? "rescue" : spec.name,
    bridge: cutOff || machine.ipv4 === null ? null : host.rig.network.bridge,
    cgroup: join(rigCgroup(host.rig.id), machine.containerName),
    limits: { ...spec, slot: machine.slot },
    image: host.image,
    folders,
    rescue: rescueDisk,
    mounts: host.mounts,
    afterEnd: async () => {
      for (const volume of machine.volumes) await hide(volume, null);
    },
  });
  const boot: Boot = { container, kind: rescue ? "rescue" : "usual", cutOff };
  machine.boot = boot;
  container.ended.then((end) => {
    if (machine.boot !== boot) return;
    if (end === "off") machine.boot = null;
    else restart(host, machine, boot);
  });
  try {
    for (const volume of machine.volumes) await show(volume, boot);
    for (const port of machine.networks) await plug(host, machine, port);
    if (rescue && rescue.sshKeys.length === 0) await setRootPassword(container, rescue.password);
  } catch (error) {
    await switchOff(machine);
    throw error;
  }
}

/** A machine that rebooted itself stays switched on; unless somebody pulled the plug meanwhile. */
function restart(host: Host, machine: Machine, ended: Boot): void {
  inTurn(machine, async () => {
    if (machine.boot === ended) await switchOn(host, machine);
  }).catch((error) => {
    machine.boot = null;
    host.onProgress(`machine ${machine.spec.name} did not come back from its reboot: ${error}`);
  });
}

export async function switchOff(machine: Machine): Promise<void> {
  const boot = machine.boot;
  machine.boot = null;
  await boot?.container.kill();
}

/** Connects a machine that has booted to one of its private networks; nothing happens if no network reaches it. */
export async function plug(host: Host, machine: Machine, { own, device }: PrivatePort): Promise<void> {
  const container = live(machine);
  if (!container || machine.boot?.cutOff) return;
  await host.networks.plug({ pid: await container.init(), device, port: machine.containerName }, own);
}

/** By chpasswd's stdin, so that the password is in no argument list. @throws with what it wrote. */
export async function setRootPassword(container: Container, password: string): Promise<void> {
  const { code, stderr } = await container.exec(["chpasswd"], `root:${password}\n`);
  if (code !== 0) throw new Error(`chpasswd ended with ${code}: ${stderr.trim()}`);
}

/** A machine that was switched on and from which nothing comes: it takes no signal, and power is all it has. */
function hungContainer(): Container {
  let end: (how: "off") => void = () => {};
  const ended = new Promise<"off">((resolve) => {
    end = resolve;
  });
  const refuse = async () => {
    throw new Error("the machine does not boot");
  };
  return {
    ended,
    kill: async () => end("off"),
    signal: async () => {},
    init: refuse,
    cgroups: [],
    exec: refuse,
  };
}
