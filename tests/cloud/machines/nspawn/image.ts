/**
 * The root file system that all nspawn machines share as the lower layer of their disks: Debian 12 by debootstrap,
 * built once into the user's cache. It is the same on every host; what belongs to the host (CA certificates,
 * resolver, package mirror) is written into each machine's own layer by disk.ts.
 */
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { cached, cacheRoot, recipeKey } from "../../../../pool/setup/cache.ts";
import { hostMirror } from "./host.ts";

const suite = "bookworm";

/**
 * debootstrap resolves no virtual packages: python3-cryptography, which cloud-init needs, depends on one that
 * python3-cffi-backend provides, so it is named here. The last line spares each machine apt work.
 */
const packages = [
  ...["systemd", "systemd-sysv", "dbus", "libpam-systemd", "dbus-user-session", "procps", "kmod"],
  ...["openssh-server", "sudo", "ufw", "iptables", "iproute2", "netbase", "ca-certificates", "curl", "gnupg"],
  ...["python3", "python3-apt", "python3-cffi-backend", "cloud-init"],
  ...["git", "jq", "rsync", "acl", "unzip", "tar", "xz-utils"],
];

/**
 * - wait-online: nothing here takes its network from DHCP, it would only wait.
 * - apt-daily*, e2scrub*, fstrim: background work that would blur measurements.
 * - console-getty: nobody logs in on the console file.
 */
const masked = [
  "systemd-networkd-wait-online.service",
  ...[
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
  ],
  ...["console-getty.service", "getty@tty1.service"],
];

/**
 * As Hetzner's images are set up, root is the login user. One data source means that cloud-init looks for no other.
 * Modules that handle disks, boot loaders and time zones have nothing to do in a container and cost boot time.
 */
const cloudConfig = `datasource_list: [NoCloud]
network: {config: disabled}
disable_root: false
users: []
apt: {preserve_sources_list: true}
cloud_init_modules: [bootcmd, write-files, set_hostname, update_hostname, ca-certs, users-groups, ssh]
cloud_config_modules: [apt-configure, runcmd]
cloud_final_modules: [package-update-upgrade-install, scripts-user, phone-home, final-message]
`;

/** systemd-networkd must not set up the machine's interface by the file that Debian brings for containers. */
const files: Record<string, string> = {
  "etc/cloud/cloud.cfg.d/99-machine.cfg": cloudConfig,
  "etc/machine-id": "",
  "etc/fstab": "",
};

const recipe = JSON.stringify({ version: 1, suite, packages, masked, files });

/**
 * The folder with the root file system; built when the cache has none (1-2 minutes, 73 MB of packages, 450 MB on
 * disk). Needs root and debootstrap.
 *
 * @throws when debootstrap fails, with the end of its log.
 */
export async function rootImage(onProgress: (text: string) => void = () => {}): Promise<string> {
  const entry = await cached(
    "debian-root",
    recipeKey(recipe),
    (dir) => build(dir, onProgress),
    (dir) => onProgress(`waiting for another process that builds the Debian root ${dir}`),
  );
  return join(entry.dir, "root");
}

async function build(dir: string, onProgress: (text: string) => void): Promise<void> {
  const root = join(dir, "root");
  const archives = join(cacheRoot(), "debian-archives");
  await mkdir(archives, { recursive: true });
  const mirror = await hostMirror();
  onProgress(
    `building the Debian 12 root for machines by debootstrap (${packages.length} packages named, 1-2 minutes)`,
  );
  // In name spaces of its own, so that nothing debootstrap mounts or starts outlives it, even after a SIGKILL.
  const debootstrap = execa(
    "unshare",
    [
      ...["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"],
      ...["debootstrap", "--variant=minbase", `--cache-dir=${archives}`, `--include=${packages.join(",")}`],
      ...[suite, root, ...(mirror ? [mirror] : [])],
    ],
    {
      stdin: "ignore",
      all: true,
      reject: false,
      env: { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" },
    },
  );
  let lines = 0;
  for await (const line of debootstrap.iterable({ from: "all" })) {
    // "I: Retrieving", "Validating", "Extracting", "Unpacking", "Configuring" come once for each package.
    if (++lines % 100 === 0) onProgress(String(line).replace(/^I: /, "debootstrap: "));
  }
  const result = await debootstrap;
  if (result.failed) {
    throw new Error(`debootstrap failed (exit ${result.exitCode}): ${(result.all ?? "").slice(-1500)}`);
  }
  onProgress("finishing the Debian root");
  await finish(root);
}

async function finish(root: string): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(root, path, ".."), { recursive: true });
    await writeFile(join(root, path), text);
  }
  const systemctl = (...args: string[]) => execa("systemctl", [`--root=${root}`, ...args]);
  await systemctl("enable", "systemd-networkd.service", "ssh.service");
  await systemctl("mask", ...masked);
  for (const name of await readdir(join(root, "etc/ssh"))) {
    if (name.startsWith("ssh_host_")) await rm(join(root, "etc/ssh", name));
  }
  for (const path of [
    "var/cache/apt/archives",
    "var/lib/apt/lists",
    "var/log/journal",
    "var/lib/dbus/machine-id",
  ]) {
    await rm(join(root, path), { recursive: true, force: true });
  }
  for (const path of ["var/cache/apt/archives/partial", "var/lib/apt/lists/partial"]) {
    await mkdir(join(root, path), { recursive: true });
  }
}
