/** What this host lacks for nspawn machines. */
import { access, constants, open, readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { execa } from "execa";
import { cgroupMount } from "./cgroup.ts";

export interface MissingPart {
  readonly part: string;
  readonly remedy: string;
}

/** Program and the Debian package that brings it. */
const programs = {
  "systemd-nspawn": "systemd-container",
  debootstrap: "debootstrap",
  nft: "nftables",
  ip: "iproute2",
  unshare: "util-linux",
  nsenter: "util-linux",
  losetup: "mount",
  "mkfs.ext4": "e2fsprogs",
  "mkfs.xfs": "xfsprogs",
} as const;

type Program = keyof typeof programs;

/** Everything that is missing at once, so that a person has to come back only once. */
export async function missingParts(): Promise<readonly MissingPart[]> {
  if (process.platform !== "linux") {
    return [
      { part: "Linux", remedy: "nspawn machines are Linux containers; use the machines of kind process" },
    ];
  }
  const missing: MissingPart[] = [];
  if (process.getuid?.() !== 0) {
    missing.push({ part: "root", remedy: "run as root, or use the machines of kind process" });
  }
  for (const program of await missingPrograms()) {
    missing.push({ part: program, remedy: `apt-get install ${programs[program]}` });
  }
  if (!(await readable("/usr/share/keyrings/debian-archive-keyring.gpg"))) {
    missing.push({ part: "keys of the Debian archive", remedy: "apt-get install debian-archive-keyring" });
  }
  if (!(await isDevice("/dev/net/tun"))) {
    const remedy = "modprobe tun; mkdir -p /dev/net && mknod /dev/net/tun c 10 200";
    missing.push({ part: "/dev/net/tun", remedy });
  }
  if (!/\boverlay$/m.test(await readFile("/proc/filesystems", "utf8").catch(() => ""))) {
    missing.push({ part: "overlayfs", remedy: "modprobe overlay" });
  }
  if (!(await isDevice("/dev/loop-control"))) {
    missing.push({ part: "loop devices, for volumes", remedy: "modprobe loop" });
  }
  if (!(await cgroupMount())) {
    missing.push({
      part: "cgroup v2",
      remedy: "mount -t cgroup2 none /sys/fs/cgroup, or a kernel that has it",
    });
  }
  return missing;
}

/**
 * Installs the Debian packages that are missing, as root and without questions; says each on `onProgress`. What no
 * package brings is left for `missingParts` to name.
 *
 * @throws when apt-get fails, with the end of what it printed.
 */
export async function installMissing(onProgress: (text: string) => void): Promise<void> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return;
  const wanted = new Set<string>((await missingPrograms()).map((program) => programs[program]));
  if (!(await readable("/usr/share/keyrings/debian-archive-keyring.gpg")))
    wanted.add("debian-archive-keyring");
  if (wanted.size === 0 || !(await findProgram("apt-get"))) return;
  const packages = [...wanted];
  onProgress(`installing Debian packages for nspawn machines, as root: ${packages.join(" ")}`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const install = ["install", "-y", "--no-install-recommends", ...packages];
  const first = await execa("apt-get", install, { env, reject: false, stdin: "ignore", all: true });
  if (!first.failed) return;
  // A fresh host has no package lists.
  await execa("apt-get", ["update"], { env, reject: false, stdin: "ignore" });
  const second = await execa("apt-get", install, { env, reject: false, stdin: "ignore", all: true });
  if (second.failed) throw new Error(`apt-get install ${packages.join(" ")}: ${second.all?.slice(-800)}`);
}

async function missingPrograms(): Promise<readonly Program[]> {
  const found = await Promise.all(
    (Object.keys(programs) as Program[]).map(async (program) => ({
      program,
      there: await findProgram(program),
    })),
  );
  return found.filter(({ there }) => !there).map(({ program }) => program);
}

/** The administrator's folders are searched too: a root shell without a login may lack them in PATH. */
async function findProgram(name: string): Promise<boolean> {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  for (const folder of folders) {
    const found = await access(join(folder, name), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}

const readable = (path: string): Promise<boolean> =>
  access(path, constants.R_OK).then(
    () => true,
    () => false,
  );

async function isDevice(path: string): Promise<boolean> {
  // Present but without the module behind it, opening fails with ENODEV.
  const handle = await open(path, "r+").catch(() => undefined);
  await handle?.close();
  return handle !== undefined;
}
