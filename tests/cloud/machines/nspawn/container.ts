/** One switched-on machine: a systemd-nspawn that runs the init of the machine's disk. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readdir, readFile, readlink, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import { killCgroup, type Limits, makeCgroup } from "./cgroup.ts";
import type { MachineFolders } from "./disk.ts";
import { removePort } from "./network.ts";

export interface ContainerSpec {
  /** At most 12 characters: the host's end of its network cable is called vb-<name>. */
  readonly name: string;
  readonly hostname: string;
  /** Null: no public network. "host": the host's own, of which it can change nothing. */
  readonly bridge: string | null | "host";
  /** Name of its own cgroup. */
  readonly cgroup: string;
  readonly limits: Limits;
  /** Shared Debian root. */
  readonly image: string;
  readonly folders: MachineFolders;
  /** The rescue system's disk: that one is booted, and shows the machine's own at `diskInRescue`. */
  readonly rescue: MachineFolders | null;
  /** Folders of the host, by the path where the machine sees a copy-on-write view of them. */
  readonly mounts: Readonly<Record<string, string>>;
  /** Folders and files of the host itself, by the path where the machine sees them. */
  readonly binds?: Readonly<Record<string, { readonly from: string; readonly writable: boolean }>>;
  /** Of the machine's init. */
  readonly initArguments?: readonly string[];
  /** Runs when nothing of the machine runs any more, before `ended` resolves. */
  readonly afterEnd: () => Promise<void>;
}

/** Where the rescue system shows the disk of the machine that it runs on. */
export const diskInRescue = "/mnt/disk";

export interface Container {
  /** Resolves when the machine is off or wants to be started again, and its processes are gone. */
  readonly ended: Promise<"off" | "reboot">;
  /** Pulls the plug; resolves when nothing of the machine runs. */
  kill(): Promise<void>;
  /** Sends a signal to the machine's init; nothing if it has none yet. */
  signal(signal: "poweroff" | "reboot"): Promise<void>;
  /** Process id of the machine's init on the host. @throws when there is none any more. */
  init(): Promise<number>;
  /** The machine's folder in each cgroup hierarchy. */
  readonly cgroups: readonly string[];
  exec(argv: readonly string[], input?: string): Promise<CommandResult>;
}

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** systemd(1), "Signals": SIGRTMIN+4 starts poweroff.target, SIGRTMIN+5 reboot.target. SIGRTMIN is 34 with glibc. */
const signals = { poweroff: 34 + 4, reboot: 34 + 5 };

/** With --keep-unit systemd-nspawn ends with this status when its machine asked for a reboot (systemd, nspawn.c). */
const rebootStatus = 133;

/**
 * Joins the machine's cgroups and mounts its layers in a mount name space of its own, then becomes systemd-nspawn.
 * So no mount is ever seen on the host, and all of it ends with the last process.
 */
const boot = `while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift
while [ "$1" != -- ]; do mount -t overlay overlay -o "$1" "$2"; shift 2; done; shift
exec systemd-nspawn "$@"`;

/**
 * Starts a machine; resolves when its init runs.
 *
 * @throws when it cannot be started, with the end of what it wrote.
 */
export async function startContainer(spec: ContainerSpec): Promise<Container> {
  const { folders, rescue } = spec;
  const cgroups = await makeCgroup(spec.cgroup, spec.limits);
  const overlays = [folders, ...(rescue ? [rescue] : [])].flatMap(({ upper, work, root }) => [
    `lowerdir=${spec.image},upperdir=${upper},workdir=${work}`,
    root,
  ]);
  const unshare = ["--mount", "--propagation", "slave", "--", "sh", "-ec", boot, "sh"];
  const argv = [...unshare, ...cgroups, "--", ...overlays, "--", ...nspawnArguments(spec)];
  for (const index of Object.values(spec.mounts).keys())
    await mkdir(mountUpper(folders, index), { recursive: true });
  const console = await open(folders.console, "a");
  try {
    const child = spawn("unshare", argv, {
      detached: true,
      stdio: ["ignore", console.fd, console.fd],
      // Its lock files would stay behind when the plug is pulled; a disk belongs to one machine by its path.
      env: { PATH: process.env.PATH, SYSTEMD_NSPAWN_LOCK: "0", LC_ALL: "C.UTF-8" },
    });
    await once(child, "spawn");
    const container = running(child, spec, cgroups);
    await hasInit(child, container, folders.console);
    return container;
  } finally {
    await console.close();
  }
}

/** Without this a machine whose disk or network cannot be set up would count as switched on. */
async function hasInit(child: ChildProcess, container: Container, console: string): Promise<void> {
  while (child.exitCode === null && child.signalCode === null) {
    if (await initOf(child.pid)) return;
    await delay(5);
  }
  await container.ended;
  throw new Error(`a machine did not start: ${(await readFile(console, "utf8")).slice(-500)}`);
}

function nspawnArguments(spec: ContainerSpec): readonly string[] {
  const mounts = Object.entries(spec.mounts).map(([target, source], index) => {
    return `--overlay=${[source, mountUpper(spec.folders, index), target].map(escapeColon).join(":")}`;
  });
  return [
    ...["--quiet", "--register=no", "--keep-unit", "--settings=no"],
    ...[`--directory=${(spec.rescue ?? spec.folders).root}`, `--machine=${spec.name}`],
    ...[`--hostname=${spec.hostname}`, "--resolv-conf=off", "--timezone=off", "--link-journal=no"],
    ...networkArguments(spec),
    ...mounts,
    ...Object.entries(spec.binds ?? {}).map(
      ([target, { from, writable }]) =>
        `--bind${writable ? "" : "-ro"}=${escapeColon(from)}:${escapeColon(target)}`,
    ),
    ...(spec.rescue ? [`--bind=${escapeColon(spec.folders.root)}:${diskInRescue}`] : []),
    ...["--console=read-only", "--boot", "--", ...(spec.initArguments ?? [])],
  ];
}

function networkArguments({ bridge }: ContainerSpec): readonly string[] {
  if (bridge === "host") return [];
  const cable = bridge ? `--network-bridge=${bridge}` : "--private-network";
  return [cable, "--capability=CAP_NET_ADMIN", "--bind=/dev/net/tun"];
}

const mountUpper = (folders: MachineFolders, index: number): string => join(folders.dir, `mount-${index}`);

const escapeColon = (path: string): string => path.replaceAll(":", "\\:");

function running(child: ChildProcess, spec: ContainerSpec, cgroups: readonly string[]): Container {
  const pid = child.pid;
  const init = async () => {
    const found = await initOf(pid);
    if (!found) throw new Error(`${spec.hostname} has no init`);
    return found;
  };
  const ended = once(child, "exit").then(async ([code]) => {
    await killCgroup(spec.cgroup);
    await removePort(spec.name);
    await removeTraces(new RegExp(`^${spec.name}$`));
    await spec.afterEnd();
    return code === rebootStatus ? "reboot" : "off";
  });
  return {
    ended: ended as Promise<"off" | "reboot">,
    async kill() {
      await killCgroup(spec.cgroup);
      await ended;
    },
    async signal(signal) {
      const found = await initOf(pid);
      if (found) process.kill(found, signals[signal]);
    },
    init,
    cgroups,
    async exec(argv, input) {
      const enter = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"];
      const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
      const result = await execa("nsenter", [`--target=${await init()}`, ...enter, ...argv], {
        reject: false,
        ...(input === undefined ? { stdin: "ignore" } : { input }),
        stripFinalNewline: false,
        extendEnv: false,
        env: { PATH: path, HOME: "/root", LC_ALL: "C.UTF-8" },
      });
      return { code: result.exitCode ?? null, stdout: result.stdout, stderr: result.stderr };
    },
  };
}

/**
 * systemd-nspawn keeps a folder for each machine on the host, for mounts that are made later, and removes it only
 * when it ends by itself.
 */
export async function removeTraces(machine: RegExp): Promise<void> {
  const folder = "/run/systemd/nspawn/propagate";
  for (const name of await readdir(folder).catch(() => [])) {
    if (machine.test(name)) await rm(join(folder, name), { recursive: true, force: true });
  }
}

/**
 * The machine's process 1 is the only child of systemd-nspawn once the latter has set everything up. Until it has
 * become the machine's own program it may still be in the host's name spaces.
 */
async function initOf(nspawn: number | undefined): Promise<number | undefined> {
  const children = await readFile(`/proc/${nspawn}/task/${nspawn}/children`, "utf8").catch(() => "");
  const init = Number(children.trim().split(" ")[0]);
  if (!init) return undefined;
  const inside = await readFile(`/proc/${init}/status`, "utf8").catch(() => "");
  if (!/^NSpid:\s+\d+\s+1$/m.test(inside)) return undefined;
  const program = await readlink(`/proc/${init}/exe`).catch(() => "systemd-nspawn");
  return basename(program) === "systemd-nspawn" ? undefined : init;
}
