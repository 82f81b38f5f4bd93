/**
 * A machine's disk: its own layer over the shared Debian root. The layer is filled before the first boot with what
 * a Hetzner server finds out from its hypervisor and metadata service, and with what this host's network needs.
 */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import type { MachineSpec } from "../backend.ts";

export interface MachineFolders {
  /** Everything of the machine; removed when it is destroyed. */
  readonly dir: string;
  readonly upper: string;
  readonly work: string;
  /** Where the layers are mounted, seen by the machine's own processes only. */
  readonly root: string;
  readonly console: string;
}

export const machineFolders = (dir: string): MachineFolders => ({
  dir,
  upper: join(dir, "upper"),
  work: join(dir, "work"),
  root: join(dir, "root"),
  console: join(dir, "console.log"),
});

export interface Surroundings {
  readonly ipv4: string;
  readonly gateway: string;
  /** Names under which machines reach services on the gateway address. */
  readonly hostServices: readonly string[];
  /** Files by path that make the host's package mirrors, certificates and resolver usable. */
  readonly hostFiles: Readonly<Record<string, string>>;
}

/** Makes the layer of a new machine. */
export async function makeDisk(
  folders: MachineFolders,
  spec: MachineSpec,
  around: Surroundings,
): Promise<void> {
  for (const path of [folders.upper, folders.work, folders.root]) await mkdir(path, { recursive: true });
  // A merged root directory takes its mode from the upper layer.
  await chmod(folders.upper, 0o755);
  const files: Record<string, string> = {
    ...around.hostFiles,
    "etc/hostname": `${spec.name}\n`,
    "etc/hosts": hosts(spec, around),
    "etc/machine-id": "",
    "etc/systemd/network/10-host0.network": networkFile(around),
    ...seed(spec),
  };
  for (const [path, text] of Object.entries(files)) {
    const target = join(folders.upper, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, text, { mode: modeOf(path) });
  }
}

function modeOf(path: string): number {
  if (path.startsWith("var/lib/cloud/seed/")) return 0o600;
  return path.startsWith("etc/sudoers.d/") ? 0o440 : 0o644;
}

function hosts(spec: MachineSpec, around: Surroundings): string {
  const services =
    around.hostServices.length > 0 ? `${around.gateway} ${around.hostServices.join(" ")}\n` : "";
  return `127.0.0.1 localhost\n127.0.1.1 ${spec.name}\n::1 localhost ip6-localhost ip6-loopback\n${services}`;
}

/** Sorts before 80-container-host0.network, which Debian brings and which asks for DHCP. */
function networkFile({ ipv4, gateway }: Surroundings): string {
  return `[Match]
Virtualization=container
Name=host0

[Network]
Address=${ipv4}/24
Gateway=${gateway}
DHCP=no
LinkLocalAddressing=no
IPv6AcceptRA=no
`;
}

/** cloud-init's NoCloud seed; the public keys become root's, as on Hetzner's images. */
function seed(spec: MachineSpec): Record<string, string> {
  const metaData = {
    "instance-id": String(spec.id),
    "local-hostname": spec.name,
    "public-keys": [...spec.sshKeys],
  };
  return {
    "var/lib/cloud/seed/nocloud/user-data": spec.userData,
    "var/lib/cloud/seed/nocloud/meta-data": stringify(metaData),
  };
}
