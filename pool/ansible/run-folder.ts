/**
 * A run's private folder: inventory, vars, key, known host, Ansible's own temporary files, the SSH control socket.
 * It is removed when the run ends; one that a killed daemon left is removed, and its ansible-playbook ended, by the
 * next daemon's first run.
 */
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import { BorderError } from "../errors.ts";
import { Secret } from "../secrets/secret.ts";
import type { PlaybookRun } from "./ansible.ts";

const prefix = "clawpool-ansible-";

export interface RunFolder {
  readonly dir: string;
  readonly inventory: string;
  readonly vars: string;
  readonly knownHosts: string;
  /** ssh binds `<this>.<16 characters>` first; a Unix socket's path has at most 107 bytes. */
  readonly controlPath: string;
  /** Ends whatever works with this folder: ansible-playbook, its workers, ssh and its master connection. */
  endProcesses(): Promise<void>;
  /** Ends what still works with it, then removes it. */
  remove(): Promise<void>;
}

/** @throws TypeError when machine or host is not a plain name or address, or `vars` holds a Secret. */
export async function makeRunFolder(run: PlaybookRun): Promise<RunFolder> {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(run.machine)) throw new TypeError("machine name is not a plain name");
  if (isIP(run.host) === 0 && !/^[A-Za-z0-9][A-Za-z0-9.-]*$/.test(run.host)) {
    throw new TypeError("host is neither an address nor a host name");
  }
  if (!/^ssh-ed25519 [A-Za-z0-9+/=]+$/.test(run.hostKey))
    throw new TypeError("host key is not `ssh-ed25519 …`");
  if (!/^[a-z_][a-z0-9_-]*$/.test(run.username)) throw new TypeError("user name is not a plain name");
  const vars: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(run.vars)) vars[name] = unsafe(value);
  for (const [name, value] of Object.entries(run.secretVars)) vars[name] = unsafe(value.expose());

  const dir = await mkdtemp(join(socketSafeTmp(), prefix));
  const file = async (name: string, content: string) => {
    const path = join(dir, name);
    await writeFile(path, content, { mode: 0o600 });
    return path;
  };
  const folder = {
    dir,
    controlPath: join(dir, "c"),
    endProcesses: () => endProcesses(dir),
    remove: () => removeFolder(dir),
  };
  try {
    await chmod(dir, 0o700);
    await recordOwner(dir);
    await mkdir(join(dir, "home"), { mode: 0o700 });
    const key = run.privateKey.expose();
    const privateKey = await file("key", key.endsWith("\n") ? key : `${key}\n`);
    const knownHost = run.port === 22 ? run.host : `[${run.host}]:${run.port}`;
    const host = {
      ansible_host: run.host,
      ansible_port: run.port,
      ansible_user: run.username,
      ansible_ssh_private_key_file: privateKey,
      ansible_python_interpreter: "/usr/bin/python3",
    };
    return {
      ...folder,
      inventory: await file("hosts.json", JSON.stringify({ all: { hosts: { [run.machine]: host } } })),
      vars: await file("vars.json", JSON.stringify(vars)),
      knownHosts: await file("known_hosts", `${knownHost} ${run.hostKey}\n`),
    };
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

/** Ansible evaluates `{{…}}` in the values of variables too; it leaves strings alone that are marked like this. */
export function unsafe(value: unknown): unknown {
  if (typeof value === "string") return { __ansible_unsafe: value };
  if (value instanceof Secret) throw new TypeError("a secret among vars: it belongs into secretVars");
  if (Array.isArray(value)) return value.map(unsafe);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unsafe(inner)]));
  }
  return value;
}

/** Ends what a dead process of ours left running, and removes its folders with the secrets in them. */
export async function sweepRunFolders(): Promise<void> {
  const root = socketSafeTmp();
  for (const name of await readdir(root)) {
    if (!name.startsWith(prefix)) continue;
    const dir = join(root, name);
    const info = await stat(dir).catch(() => null);
    // A folder of another user is that user's to sweep.
    if (!info || info.uid !== process.getuid?.()) continue;
    if (await isAlive(join(dir, "owner"))) continue;
    await removeFolder(dir);
  }
}

interface ProcessRecord {
  readonly pid: number;
  readonly startedAt: string;
}

async function recordOwner(dir: string): Promise<void> {
  const record: ProcessRecord = { pid: process.pid, startedAt: await processStart(process.pid) };
  await writeFile(join(dir, "owner"), JSON.stringify(record), { mode: 0o600 });
}

async function readRecord(path: string): Promise<ProcessRecord | null> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as ProcessRecord;
  } catch {
    return null;
  }
}

/** By id and start time: a process id alone may have been given to somebody else. */
async function isAlive(path: string): Promise<boolean> {
  const record = await readRecord(path);
  return record !== null && (await processStart(record.pid)) === record.startedAt;
}

/** When a process began, in the words of `ps`; empty when there is none. */
async function processStart(pid: number): Promise<string> {
  const { stdout } = await execa("ps", ["-o", "lstart=", "-p", String(pid)], {
    reject: false,
    env: { LC_ALL: "C" },
  });
  return stdout.trim();
}

async function removeFolder(dir: string): Promise<void> {
  await endProcesses(dir);
  await rm(dir, { recursive: true, force: true });
}

/** From the signal that asks to the one that does not. */
const graceMs = 5_000;

/**
 * Workers of Ansible and the master connection of ssh sit in sessions of their own, so a process group does not hold
 * them together. What does is the folder's random name in their arguments.
 */
async function endProcesses(dir: string): Promise<void> {
  const deadline = performance.now() + graceMs;
  let asked = new Set<number>();
  for (;;) {
    const pids = await processesOf(dir);
    if (pids.length === 0) return;
    const late = performance.now() > deadline;
    if (performance.now() > deadline + graceMs) {
      throw new BorderError(`processes ${pids.join(", ")} of ansible-playbook do not end`, {
        border: "ansible",
        kind: "transient",
        code: "stuck",
      });
    }
    // Asked once: a second SIGTERM would cut the orderly end short that the first one started.
    for (const pid of pids) if (late || !asked.has(pid)) send(pid, late ? "SIGKILL" : "SIGTERM");
    asked = new Set([...asked, ...pids]);
    await delay(20);
  }
}

async function processesOf(dir: string): Promise<number[]> {
  const { stdout } = await execa("ps", ["-A", "-ww", "-o", "pid=,args="]);
  return stdout
    .split("\n")
    .filter((line) => line.includes(`${dir}/`))
    .map((line) => Number(line.trim().split(" ", 1)[0]));
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Ended in between.
  }
}

/** The temporary folder, unless its path is too long for a socket or has characters that ssh's options split at. */
function socketSafeTmp(): string {
  return /^[A-Za-z0-9/._-]{1,50}$/.test(tmpdir()) ? tmpdir() : "/tmp";
}
