/** One folder machine: its root, and what runs while it is on: SSH server, gateway, tailscaled's stand-in. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { generateKeyPair, publicKeyOf } from "../../../../pool/ssh/keys.ts";
import type { MachineSpec } from "../backend.ts";
import { mergedKeys } from "./authorized-keys.ts";
import { type Sshd, startSshd } from "./sshd.ts";
import { newTailscaleState, startTailscaled, type Tailscaled } from "./tailscaled.ts";
import { bootData } from "./user-data.ts";

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

export interface FolderMachineOptions {
  /** Its own on this host; names its sockets. */
  readonly id: string;
  readonly root: string;
  readonly sshPort: number;
  /** Short: a Unix socket's path has at most 107 bytes. */
  readonly socketDir: string;
  readonly registerUrl?: string | undefined;
}

/** The order of calls is the caller's business: one at a time. */
export interface FolderMachine {
  readonly on: boolean;
  /** Makes the disk, as the image and the first boot would; in a folder that was copied, as cloud-init would. */
  create(spec: MachineSpec): Promise<void>;
  powerOn(boot: FolderBoot): Promise<void>;
  powerOff(): Promise<void>;
  /** One of its processes dies by itself; nobody starts it again. */
  crash(process: "gateway" | "tailscaled"): Promise<void>;
}

export interface FolderBoot {
  readonly name: string;
  /** Null: no network reaches it, and nothing runs that would listen. */
  readonly address: string | null;
  /** sshd shows another host key than its own. */
  readonly otherHostKey: boolean;
}

export function folderMachine(options: FolderMachineOptions): FolderMachine {
  const { id, root, socketDir } = options;
  const file = (...parts: string[]) => join(root, ...parts);
  const hostKeyFile = file("etc/ssh/ssh_host_ed25519_key");
  const bornKeyFile = file("etc/ssh/born_here");
  const stateDir = file("home/openclaw/.openclaw");
  const enabledFile = file("etc/gateway-enabled");
  const controlSocket = join(socketDir, `${id}.c`);
  const tailscaleSocket = join(socketDir, `${id}.t`);
  const tailscale = newTailscaleState();
  let on = false;
  let boot: FolderBoot | null = null;
  let sshd: Sshd | null = null;
  let tailscaled: Tailscaled | null = null;
  let control: Server | null = null;
  let gateway: ChildProcess | null = null;

  const write = async (path: string, text: string, mode = 0o600) => {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text, { mode });
    await chmod(path, mode);
  };

  const environment = (user: string): NodeJS.ProcessEnv => ({
    PATH: [
      file("usr/local/sbin"),
      file("usr/local/bin"),
      dirname(process.execPath),
      "/usr/local/bin",
      "/usr/bin",
      "/bin",
    ].join(delimiter),
    HOME: user === "root" ? file("root") : file("home", user),
    USER: user,
    LOGNAME: user,
    SHELL: "/bin/sh",
    LANG: "C.UTF-8",
    TMPDIR: file("tmp"),
    CLAWPOOL_MACHINE_FILE: file("etc/clawpool/machine.json"),
    MACHINE_CONTROL: controlSocket,
  });

  async function stopGateway(): Promise<void> {
    const child = gateway;
    gateway = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  async function startGateway(): Promise<void> {
    await stopGateway();
    const child = spawn(process.execPath, [here("gateway.ts"), boot?.address ?? "", stateDir], {
      cwd: file("home/openclaw"),
      // TMPDIR and the like of the machine; nothing of the host's environment.
      env: { ...environment("openclaw"), NODE_NO_WARNINGS: "1" },
      stdio: ["pipe", "ignore", "ignore"],
    });
    child.on("error", () => {});
    child.stdin?.on("error", () => {});
    gateway = child;
  }

  /** The host key that was born here; made when it is first asked for. */
  async function bornKey(): Promise<string> {
    const known = await readFile(bornKeyFile, "utf8").catch(() => null);
    if (known) return known;
    const key = generateKeyPair().privateKey.expose();
    await write(bornKeyFile, key);
    return key;
  }

  /** What machinectl.mjs may ask for. */
  const commands: Readonly<Record<string, () => Promise<string>>> = {
    describe: async () =>
      JSON.stringify({
        ...{ root, address: boot?.address, name: boot?.name },
        ...{ node: process.execPath, tailscaleSocket },
      }),
    "first-boot-make": async () => publicKeyOf(await bornKey()),
    "first-boot-install": async () => {
      const key = await bornKey();
      await write(hostKeyFile, key);
      sshd?.useHostKey(key);
      return "installed";
    },
    restart: async () => {
      await write(enabledFile, "");
      await startGateway();
      return "started";
    },
    "is-active": async () => {
      if (!gateway) return "inactive";
      return gateway.exitCode === null && gateway.signalCode === null ? "active" : "failed";
    },
    "restart-tailscaled": async () => {
      await tailscaled?.close();
      tailscaled = await startTailscaled(tailscaleSocket, tailscale, options.registerUrl);
      return "started";
    },
    "is-tailscaled-active": async () => (tailscaled ? "active" : "failed"),
    "end-sessions": async () => {
      sshd?.endSessions("clawpool");
      return "ended";
    },
  };

  async function startControl(): Promise<Server> {
    await rm(controlSocket, { force: true });
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      let asked = "";
      socket.on("error", () => {});
      socket.setEncoding("utf8").on("data", (text) => {
        asked += text;
      });
      socket.on("end", async () => {
        const command = commands[asked.trim()];
        const answer = await (command?.() ?? Promise.reject(new Error(`unknown command ${asked}`))).then(
          (text) => ({ ok: true, text }),
          (error: Error) => ({ ok: false, text: error.message }),
        );
        socket.end(JSON.stringify(answer));
      });
    });
    server.listen(controlSocket);
    await once(server, "listening");
    return server;
  }

  return {
    get on() {
      return on;
    },
    async create(spec) {
      const { hostKey, users } = bootData(spec.userData);
      for (const folder of [
        "root/.ssh",
        "tmp",
        "etc/sudoers.d",
        "etc/clawpool",
        "var/lib/clawpool",
        "home/openclaw",
      ]) {
        await mkdir(file(folder), { recursive: true });
      }
      await write(hostKeyFile, hostKey ?? generateKeyPair().privateKey.expose());
      const authorize = async (path: string, keys: readonly string[]) =>
        write(path, mergedKeys(await readFile(path, "utf8").catch(() => ""), keys));
      await authorize(file("root/.ssh/authorized_keys"), spec.sshKeys);
      for (const user of users) {
        await authorize(file("home", user.name, ".ssh/authorized_keys"), user.keys);
        if (user.sudo)
          await write(file("etc/sudoers.d", "90-cloud-init-users"), `${user.name} ${user.sudo}\n`, 0o440);
      }
      const script = (name: string, text: string) => write(file(name), `#!/bin/sh\n${text}\n`, 0o755);
      // There is one user only behind all of them: sudo drops its options and, for the machine's own programs, finds
      // them in the folder.
      await script(
        "usr/local/bin/sudo",
        `while [ $# -gt 0 ]; do case "$1" in -u|-p|-g) shift 2;; --) shift; break;; -*) shift;; *) break;; esac; done
case "$1" in /usr/local/sbin/*) p="${root}$1"; shift; exec "$p" "$@";; *) exec "$@";; esac`,
      );
      await script(
        "usr/local/sbin/machinectl",
        `exec "${process.execPath}" "${here("machinectl.mjs")}" "$@"`,
      );
      // Not user_data's own script: that one would work on the host's files.
      await script("usr/local/sbin/clawpool-first-boot", 'exec machinectl "first-boot-$1"');
    },
    async powerOn(wanted) {
      if (on) return;
      boot = wanted;
      const { address, otherHostKey } = wanted;
      if (address === null) {
        on = true;
        return;
      }
      const hostKey = otherHostKey
        ? generateKeyPair().privateKey.expose()
        : await readFile(hostKeyFile, "utf8");
      control = await startControl();
      tailscaled = await startTailscaled(tailscaleSocket, tailscale, options.registerUrl);
      sshd = await startSshd({ root, address, port: options.sshPort, hostKey, environment });
      const enabled = await readFile(enabledFile).then(
        () => true,
        () => false,
      );
      if (enabled) await startGateway();
      on = true;
    },
    async crash(process) {
      if (process === "tailscaled") {
        await tailscaled?.close();
        tailscaled = null;
        return;
      }
      const child = gateway;
      await stopGateway();
      // As systemd knows a unit whose process was killed.
      gateway = child;
    },
    async powerOff() {
      on = false;
      boot = null;
      await sshd?.close();
      await stopGateway();
      await tailscaled?.close();
      await new Promise<void>((resolve) => (control ? control.close(() => resolve()) : resolve()));
      sshd = null;
      tailscaled = null;
      control = null;
    },
  };
}
