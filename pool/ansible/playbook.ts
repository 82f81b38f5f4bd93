/** Starts ansible-playbook, away from our own signals, environment and terminal. */
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { finished } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { BorderError } from "../errors.ts";
import type { Secret } from "../secrets/secret.ts";
import type { AnsibleOptions } from "./ansible.ts";
import type { RunFolder } from "./run-folder.ts";

const plugins = fileURLToPath(new URL("../../ansible", import.meta.url));

export interface PlaybookStart {
  readonly options: AnsibleOptions;
  readonly folder: RunFolder;
  readonly logFile: string;
  readonly secrets: readonly Secret[];
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onLine: (line: string) => void;
}

export interface PlaybookEnd {
  readonly code: number | null;
  readonly stderr: string;
  /** Why we ended it, if we did. */
  readonly stopped: "aborted" | "timeout" | null;
}

/** Runs to the end. All lines go through `scrub` before they reach the log or anybody else. */
export async function startPlaybook(start: PlaybookStart): Promise<PlaybookEnd> {
  const { options, folder } = start;
  const scrub = scrubber(start.secrets);
  const log = createWriteStream(start.logFile, { mode: 0o600 });
  const child = spawn(
    join(options.bin, "ansible-playbook"),
    ["--inventory", folder.inventory, "--extra-vars", `@${folder.vars}`, options.playbook],
    {
      cwd: dirname(options.playbook),
      env: environment(options, folder),
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    },
  );
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", (cause) =>
      reject(
        new BorderError(`ansible-playbook cannot be started: ${cause.message}`, {
          border: "ansible",
          kind: "permanent",
          code: "playbook",
          cause,
        }),
      ),
    );
    child.once("close", (code) => resolve(code));
  });
  // Until somebody awaits it, a failed start must not count as an unhandled rejection.
  ended.catch(() => {});
  let stopped: PlaybookEnd["stopped"] = null;
  let ending: Promise<void> | undefined;
  const stop = (reason: "aborted" | "timeout") => {
    stopped ??= reason;
    ending ??= folder.endProcesses();
    // Awaited below; it must not count as unhandled until then.
    ending.catch(() => {});
  };
  const timer = setTimeout(() => stop("timeout"), start.timeoutMs);
  const onAbort = () => stop("aborted");
  start.signal?.addEventListener("abort", onAbort, { once: true });
  if (start.signal?.aborted) onAbort();
  let stderr = "";
  createInterface(child.stdout).on("line", (line) => {
    const clean = scrub(line);
    log.write(`${clean}\n`);
    start.onLine(clean);
  });
  createInterface(child.stderr).on("line", (line) => {
    const clean = scrub(line);
    log.write(`${clean}\n`);
    stderr = `${stderr}${clean}\n`.slice(-8_000);
  });
  try {
    const code = await ended;
    await ending;
    return { code, stderr, stopped };
  } finally {
    clearTimeout(timer);
    start.signal?.removeEventListener("abort", onAbort);
    log.end();
    await finished(log);
  }
}

/** Nothing of the daemon's own environment reaches Ansible, and through it nothing reaches lookups or ssh. */
function environment(options: AnsibleOptions, folder: RunFolder): Record<string, string> {
  const home = join(folder.dir, "home");
  return {
    PATH: `${options.bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin`,
    HOME: home,
    LANG: "C.UTF-8",
    LC_ALL: "C.UTF-8",
    TMPDIR: folder.dir,
    // The plugins lie in our own source folder, which may belong to somebody else.
    PYTHONDONTWRITEBYTECODE: "1",
    ANSIBLE_HOME: join(home, ".ansible"),
    ANSIBLE_LOCAL_TEMP: join(home, "local"),
    ANSIBLE_COLLECTIONS_PATH: options.collectionsPath,
    ANSIBLE_LIBRARY: join(plugins, "library"),
    ANSIBLE_CALLBACK_PLUGINS: join(plugins, "callback_plugins"),
    ANSIBLE_STDOUT_CALLBACK: "clawpool_jsonl",
    ANSIBLE_NOCOLOR: "1",
    ANSIBLE_NOCOWS: "1",
    ANSIBLE_DEPRECATION_WARNINGS: "0",
    ANSIBLE_RETRY_FILES_ENABLED: "0",
    // The machine's journal would keep every module's arguments.
    ANSIBLE_NO_TARGET_SYSLOG: "1",
    ANSIBLE_HOST_KEY_CHECKING: "1",
    ANSIBLE_TIMEOUT: "15",
    // One module is one round trip instead of three, and nothing of it is written to the machine's disk.
    ANSIBLE_PIPELINING: "1",
    ANSIBLE_SSH_RETRIES: "2",
    ANSIBLE_SSH_ARGS: sshArguments(folder).join(" "),
    ANSIBLE_SSH_CONTROL_PATH: folder.controlPath,
    ANSIBLE_SSH_CONTROL_PATH_DIR: folder.dir,
  };
}

function sshArguments(folder: RunFolder): string[] {
  const options = {
    ControlMaster: "auto",
    ControlPersist: "60s",
    ControlPath: folder.controlPath,
    StrictHostKeyChecking: "yes",
    UserKnownHostsFile: folder.knownHosts,
    GlobalKnownHostsFile: "/dev/null",
    HostKeyAlgorithms: "ssh-ed25519",
    UpdateHostKeys: "no",
    IdentitiesOnly: "yes",
    IdentityAgent: "none",
    PasswordAuthentication: "no",
    KbdInteractiveAuthentication: "no",
    ServerAliveInterval: "15",
    ServerAliveCountMax: "4",
  };
  return [
    "-F",
    "/dev/null",
    ...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]),
  ];
}

/** A task may print a secret that it was not told to hide; what we know to be secret is cut out of every line. */
export function scrubber(secrets: readonly Secret[]): (line: string) => string {
  const shapes = new Set<string>();
  for (const secret of secrets) {
    for (const text of [secret.expose(), ...secret.expose().split("\n")]) {
      // Shorter texts would cut ordinary words to pieces and hide nothing.
      if (text.trim().length < 8) continue;
      shapes.add(text).add(JSON.stringify(text).slice(1, -1));
    }
  }
  const longestFirst = [...shapes].sort((a, b) => b.length - a.length);
  return (line) => longestFirst.reduce((text, shape) => text.replaceAll(shape, "[secret]"), line);
}
