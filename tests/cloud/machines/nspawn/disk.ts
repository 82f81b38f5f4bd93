/**
 * A machine's disk: its own layer over the shared Debian root. The layer is filled before the first boot with what
 * a Hetzner server finds out from its hypervisor and metadata service, and with what this host's network needs.
 */
import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { generateKeyPair } from "../../../../pool/ssh/keys.ts";
import type { MachineSpec } from "../backend.ts";
import { copyLayer } from "./snapshots.ts";

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
  /** Null: no public network. */
  readonly ipv4: string | null;
  readonly gateway: string;
  /** Names under which machines reach services on the gateway address. */
  readonly hostServices: readonly string[];
  /** Files by path that make the host's package mirrors, certificates and resolver usable. */
  readonly hostFiles: Readonly<Record<string, string>>;
}

/**
 * Makes the layer of a new machine. One that begins as a copy of a snapshot keeps what it brings, and gets what tells
 * cloud-init that it is a new instance.
 *
 * @param snapshot folder of the layer to begin from
 */
export async function makeDisk(
  folders: MachineFolders,
  spec: MachineSpec,
  around: Surroundings,
  snapshot?: string,
): Promise<void> {
  for (const path of [folders.upper, folders.work, folders.root]) await mkdir(path, { recursive: true });
  if (snapshot) await copyLayer(snapshot, folders.upper);
  // A merged root directory takes its mode from the upper layer.
  await chmod(folders.upper, 0o755);
  await writeFiles(folders, {
    ...(snapshot ? {} : { ...around.hostFiles, ...loginFiles, "etc/machine-id": "" }),
    ...addressFiles(spec.name, around),
    ...seed(spec),
  });
}

/** As on Hetzner's images root may come in with its password, if it has one. */
export const loginFiles = { "etc/ssh/sshd_config.d/50-root-login.conf": "PermitRootLogin yes\n" };

/** Files that say what a system is called and which address it has. */
export const addressFiles = (hostname: string, around: Surroundings): Readonly<Record<string, string>> => ({
  "etc/hostname": `${hostname}\n`,
  "etc/hosts": hosts(hostname, around),
  [networkFilePath]: networkFile(around),
});

/** Gives the disk of a machine that is off another public address, or none. */
export function changeAddress(folders: MachineFolders, around: Surroundings): Promise<void> {
  return writeFiles(folders, { [networkFilePath]: networkFile(around) });
}

const otherKey = "etc/ssh/other_host_key";
const otherKeyConfig = "etc/ssh/sshd_config.d/00-other-host-key.conf";

/** Makes sshd show a host key that nobody asked for, or its own again. The machine is off. */
export async function showOtherHostKey(folders: MachineFolders, other: boolean): Promise<void> {
  if (other) {
    const key = generateKeyPair().privateKey.expose();
    await writeFiles(folders, { [otherKey]: key, [otherKeyConfig]: `HostKey /${otherKey}\n` });
  } else {
    for (const path of [otherKey, otherKeyConfig]) await rm(join(folders.upper, path), { force: true });
  }
}

/** Writes files by their path into a layer that is mounted nowhere. */
export async function writeFiles(
  folders: MachineFolders,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    const target = join(folders.upper, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, text, { mode: modeOf(path) });
    await chmod(target, modeOf(path));
  }
}

const secret = /^(var\/lib\/cloud\/seed\/|root\/\.ssh\/|etc\/ssh\/\w+_key$)/;

function modeOf(path: string): number {
  if (secret.test(path)) return 0o600;
  return path.startsWith("etc/sudoers.d/") ? 0o440 : 0o644;
}

function hosts(hostname: string, around: Surroundings): string {
  const services =
    around.hostServices.length > 0 ? `${around.gateway} ${around.hostServices.join(" ")}\n` : "";
  return `127.0.0.1 localhost\n127.0.1.1 ${hostname}\n::1 localhost ip6-localhost ip6-loopback\n${services}`;
}

const networkFilePath = "etc/systemd/network/10-host0.network";

/** Sorts before 80-container-host0.network, which Debian brings and which asks for DHCP. */
function networkFile({ ipv4, gateway }: Surroundings): string {
  return `[Match]
Virtualization=container
Name=host0

[Network]
${ipv4 ? `Address=${ipv4}/24\nGateway=${gateway}\n` : ""}DHCP=no
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
