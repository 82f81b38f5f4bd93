/**
 * A host that runs the daemon as docs/systemd.md says: Debian 12 with systemd as its init (in systemd-nspawn), the checkout
 * at /opt/clawpool, the unit file as it is, its user, its folders, its sandbox. Its network is this host's own, so that
 * the local cloud and its machines are where they always are.
 */
import { chmod, chown, cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { parse, stringify } from "yaml";
import { rigCgroup } from "../../cloud/machines/nspawn/cgroup.ts";
import { type Container, startContainer } from "../../cloud/machines/nspawn/container.ts";
import { machineFolders } from "../../cloud/machines/nspawn/disk.ts";
import { rootImage } from "../../cloud/machines/nspawn/image.ts";
import { networkNames } from "../../cloud/machines/nspawn/network.ts";
import { claimSubnet, register, removeRig, thisProcess } from "../../cloud/machines/nspawn/registry.ts";
import { ensureProviderMirror } from "../../cloud/provider/mirror.ts";

const checkout = fileURLToPath(new URL("../../../", import.meta.url)).replace(/\/$/, "");
/** Of the user that the unit names; any that Debian's image has not given away. */
const uid = 947;
const paths = {
  product: "/opt/clawpool",
  etc: "/etc/clawpool",
  state: "/var/lib/clawpool",
  cache: "/var/cache/clawpool",
  mirror: "/usr/local/share/terraform-mirror",
} as const;

export interface UnitHost {
  systemctl(...args: string[]): Promise<string>;
  /** The daemon's own process, as systemd knows it; 0 while there is none. */
  mainPid(): Promise<number>;
  /** The daemon's own process gets the signal. */
  signal(name: "SIGKILL" | "SIGSTOP"): Promise<void>;
  /** What the unit wrote, and what systemd says of it. */
  journal(): Promise<string>;
  stop(): Promise<void>;
}

/**
 * Boots it; the unit is started when the promise resolves, and so the daemon serves.
 *
 * @param options.dir where its disk is kept
 * @param options.configFile as the local cloud wrote it for this host; its paths are translated
 * @throws Error with the journal's end when the unit does not start
 */
export async function startUnitHost(options: {
  readonly dir: string;
  readonly configFile: string;
  readonly stateDir: string;
}): Promise<UnitHost> {
  const { dir, configFile, stateDir } = options;
  const id = [...crypto.getRandomValues(new Uint8Array(3))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
  const owner = await thisProcess();
  const folders = machineFolders(join(dir, "unit-host"));
  for (const path of [folders.upper, folders.work, folders.root, stateDir])
    await mkdir(path, { recursive: true });
  await chmod(folders.upper, 0o755);
  const { mirror } = await ensureProviderMirror();
  const cache = join(dir, "unit-cache");
  await makeCache(cache);
  await install(folders.upper, configFile);
  // So that whoever comes after a killed benchmark removes it.
  const rig = {
    id,
    owner,
    dir: folders.dir,
    network: { ...networkNames(id), net: await claimSubnet(id, owner) },
  };
  await register(rig);
  try {
    const { stdout: terraform } = await execa("sh", ["-c", "readlink -f $(command -v terraform)"]);
    const container = await startContainer({
      name: `c${id}-1`,
      hostname: "clawpool",
      bridge: "host",
      cgroup: join(rigCgroup(id), "unit"),
      limits: { cores: 64, memoryGiB: 8, slot: 0 },
      image: await rootImage(),
      folders,
      rescue: null,
      mounts: {},
      binds: {
        [paths.product]: { from: checkout, writable: false },
        [paths.mirror]: { from: mirror, writable: false },
        "/usr/local/bin/terraform": { from: terraform, writable: false },
        [paths.state]: { from: stateDir, writable: true },
        [paths.cache]: { from: cache, writable: true },
      },
      // Not the image's usual services: sshd and networkd have nothing to do on this host's network.
      initArguments: ["--unit=clawpool-host.target"],
      afterEnd: async () => {},
    });
    const host = unitHost(container, async () => {
      await container.kill();
      await removeRig(rig);
    });
    await started(host);
    return host;
  } catch (error) {
    await removeRig(rig);
    throw error;
  }
}

function unitHost(container: Container, stop: () => Promise<void>): UnitHost {
  const run = async (...argv: string[]): Promise<string> => {
    const { code, stdout, stderr } = await container.exec(argv);
    if (code !== 0) throw new Error(`${argv.join(" ")}: ${stderr || stdout}`);
    return stdout.trim();
  };
  const journal = async () =>
    (await container.exec(["journalctl", "-u", "clawpool", "-o", "short-precise", "--no-pager"])).stdout;
  return {
    systemctl: (...args) => run("systemctl", ...args),
    mainPid: async () => Number(await run("systemctl", "show", "-p", "MainPID", "--value", "clawpool")),
    signal: async (name) => {
      await run("systemctl", "kill", "--kill-whom=main", `--signal=${name}`, "clawpool");
    },
    journal,
    stop,
  };
}

/** As `systemctl start` waits: until the daemon has said that it is ready. */
async function started(host: UnitHost): Promise<void> {
  for (;;) {
    // Until systemd itself listens.
    const reached = await host.systemctl("is-system-running").catch((error: Error) => error.message);
    if (!/connect|bus/i.test(reached)) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await host.systemctl("start", "clawpool").catch(async (error: Error) => {
    throw new Error(`${error.message}\n${(await host.journal()).slice(-4_000)}`);
  });
}

/** docs/systemd.md, step by step, into the layer that is the host's own. */
async function install(upper: string, configFile: string): Promise<void> {
  const write = async (path: string, text: string, mode = 0o644) => {
    const file = join(upper, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text, { mode });
    return file;
  };
  await write("etc/sysusers.d/clawpool.conf", `u clawpool ${uid} "clawpool" ${paths.state}\n`);
  const unit = await readFile(join(checkout, "deploy/clawpool.service"), "utf8");
  await write("etc/systemd/system/clawpool.service", unit);
  await write(
    "etc/systemd/system/clawpool-host.target",
    "[Unit]\nDescription=What the daemon needs of a host\nRequires=basic.target\nAfter=basic.target\nWants=dbus.service\n",
  );
  const tfrc = `provider_installation {\n  filesystem_mirror { path = "${paths.mirror}" }\n}\n`;
  await write(`${paths.etc.slice(1)}/terraform.tfrc`, tfrc);
  await cp(join(dirname(configFile), "secrets"), join(upper, paths.etc, "secrets"), { recursive: true });
  const config = parse(translated(await readFile(configFile, "utf8"), dirname(configFile)));
  config.state_dir = paths.state;
  config.terraform.cli_config = `${paths.etc}/terraform.tfrc`;
  await write(`${paths.etc.slice(1)}/clawpool.yaml`, stringify(config), 0o640);
  await execa("chown", ["-R", `${uid}:${uid}`, join(upper, paths.etc)]);
}

const translated = (text: string, dir: string): string =>
  text
    .replaceAll(join(dir, "secrets"), `${paths.etc}/secrets`)
    .replaceAll(`${checkout}/`, `${paths.product}/`);

/**
 * Ansible's environment, made ahead by the same code under the same path (in a mount name space of our own), so that the
 * first start does not need a package index. Its Python is the one of Debian 12, which this host must be too.
 */
async function makeCache(cache: string): Promise<void> {
  await mkdir(cache, { recursive: true });
  const program = `import("${checkout}/pool/setup/venv.ts").then(({ ensureAnsible }) => ensureAnsible({ onProgress: console.log }))`;
  const script = `mount -t tmpfs tmpfs /var/cache; mkdir -p ${paths.cache}; mount --bind "$0" ${paths.cache}; exec "$@"`;
  await execa(
    "unshare",
    [
      "--mount",
      "--propagation",
      "private",
      "--",
      "sh",
      "-ec",
      script,
      cache,
      process.execPath,
      "-e",
      program,
    ],
    {
      env: { CLAWPOOL_CACHE: paths.cache, CLAWPOOL_PYTHON: "/usr/bin/python3", NODE_NO_WARNINGS: "1" },
      stdin: "ignore",
    },
  );
  await chown(cache, uid, uid);
}
