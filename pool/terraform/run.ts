/**
 * Running terraform so that nothing it bought is lost. The rules and the measurements behind them are in
 * docs/terraform.md; in short: a process group of its own, output into a file and never a pipe, an environment of
 * listed names only, no signal, no kill timer.
 */
import { spawn } from "node:child_process";
import {
  closeSync,
  type FSWatcher,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  unlinkSync,
  watch,
  writeFileSync,
} from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { findByEnvironment, identify, isAlive, type ProcessIdentity } from "../process-identity.ts";
import { type LogLine, parseLog, parseLogLine } from "./json-log.ts";
import type { Access } from "./terraform.ts";

export interface Invocation {
  readonly bin: string;
  readonly folder: string;
  /** Names the log file; in the process's environment as CLAWPOOL_RUN. */
  readonly run: string;
  /** null for commands that talk to no API. */
  readonly access: Access | null;
  readonly cliConfig: string | null;
  readonly onLine?: (line: LogLine) => void;
  /**
   * Where the output goes instead of the run's log: a plan has the whole user_data in it, and logs are kept. The file has
   * no name any more when terraform writes to it, so it is gone with the run, however that ends.
   */
  readonly output?: string;
}

export interface Outcome {
  /** null when a signal ended it; the cause is not ours. */
  readonly exitCode: number | null;
  readonly lines: readonly LogLine[];
}

/** What the folder says about the run in it, for a daemon that comes after this one. */
interface RunRecord {
  readonly run: string;
  readonly command: string;
  /** Absent for the moment between writing this and having a process. */
  readonly process?: ProcessIdentity;
}

const recordFile = (folder: string): string => join(folder, "run.json");
export const logFileOf = (folder: string, run: string): string => join(folder, "runs", `${run}.jsonl`);

/** Proxies and certificate stores of the operator; everything else of our environment stays here. */
const passedOn = [
  "PATH",
  "HOME",
  "TMPDIR",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "HTTPS_PROXY",
  "HTTP_PROXY",
  "NO_PROXY",
  "https_proxy",
  "http_proxy",
  "no_proxy",
];

/**
 * Terraform's environment. Not passed on, among others: TF_LOG (prints request bodies), TF_CLI_ARGS (would change
 * the commands), TF_DATA_DIR and TF_WORKSPACE (would move the state), TF_REATTACH_PROVIDERS.
 */
export function terraformEnvironment(
  access: Access | null,
  cliConfig: string | null,
  ours: NodeJS.ProcessEnv = process.env,
): Record<string, string> {
  const environment: Record<string, string> = {
    TF_IN_AUTOMATION: "1",
    TF_INPUT: "0",
    CHECKPOINT_DISABLE: "1",
  };
  for (const name of passedOn) {
    const value = ours[name];
    if (value !== undefined) environment[name] = value;
  }
  if (cliConfig) environment.TF_CLI_CONFIG_FILE = cliConfig;
  if (access) {
    environment.HCLOUD_ENDPOINT = access.endpoint;
    environment.HCLOUD_TOKEN = access.token.expose();
  }
  return environment;
}

/** Runs one terraform command to its end, however long that takes. Its output is appended to the run's log. */
export async function runTerraform(invocation: Invocation, args: readonly string[]): Promise<Outcome> {
  const { bin, folder, run, access, cliConfig, onLine } = invocation;
  await mkdir(join(folder, "runs"), { recursive: true, mode: 0o700 });
  const logFile = invocation.output ?? logFileOf(folder, run);
  const log = openSync(logFile, "a+", 0o600);
  const from = fstatSync(log).size;
  if (invocation.output !== undefined) unlinkSync(logFile);
  const record: RunRecord = { run, command: args[0] ?? "" };
  writeRecord(folder, record);
  const tail = onLine ? follow(logFile, from, onLine) : null;
  let running = true;
  try {
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      const child = spawn(bin, args, {
        cwd: folder,
        env: { ...terraformEnvironment(access, cliConfig), CLAWPOOL_RUN: run },
        // A process group and session of its own: Ctrl-C in our terminal does not reach it.
        detached: true,
        // A number, not a stream: the file belongs to terraform too, so it can go on writing when we are dead.
        stdio: ["ignore", log, log],
      });
      child.on("error", (cause) =>
        reject(
          new Error(`cannot start terraform as ${JSON.stringify(bin)} in ${folder}: ${cause.message}`, {
            cause,
          }),
        ),
      );
      child.on("exit", (code) => resolve(code));
      if (child.pid !== undefined) {
        identify(child.pid).then((identity) => {
          if (identity && running) writeRecord(folder, { ...record, process: identity });
        }, reject);
      }
    });
    return { exitCode, lines: parseLog(readOpen(log, from)) };
  } finally {
    running = false;
    closeSync(log);
    tail?.close();
    await rm(recordFile(folder), { force: true });
  }
}

/** By position: terraform has left the file's own at its end. */
function readOpen(file: number, from: number): string {
  const bytes = Buffer.alloc(fstatSync(file).size - from);
  const length = readSync(file, bytes, 0, bytes.length, from);
  return bytes.toString("utf8", 0, length);
}

/** Written in one go and synchronously: there must be no moment in which a run is without its record. */
function writeRecord(folder: string, record: RunRecord): void {
  writeFileSync(recordFile(folder), JSON.stringify(record), { mode: 0o600 });
}

/** Calls `onLine` for each line that is added to the file, until closed; closing reads what is left. */
function follow(file: string, from: number, onLine: (line: LogLine) => void): { close(): void } {
  let at = from;
  const read = () => {
    const text = readFrom(file, at);
    const end = text.lastIndexOf("\n") + 1;
    at += Buffer.byteLength(text.slice(0, end));
    for (const line of text.slice(0, end).split("\n")) if (line.trim()) onLine(parseLogLine(line));
  };
  const watcher: FSWatcher = watch(file, read);
  return {
    close: () => {
      watcher.close();
      read();
    },
  };
}

function readFrom(file: string, offset: number): string {
  return readFileSync(file).subarray(offset).toString("utf8");
}

export interface Leftover {
  readonly run: string;
  readonly process: ProcessIdentity;
}

/** A run that an earlier daemon started in this folder and that still lives; forgets one that has ended. */
export async function leftoverIn(folder: string): Promise<Leftover | null> {
  const text = await readFile(recordFile(folder), "utf8").catch(() => null);
  if (text === null) return null;
  const record = parseRecord(text);
  // The daemon may have died before it could write the number down; the environment has the run's name as well.
  const identity = record?.process ?? (record ? await findByEnvironment("CLAWPOOL_RUN", record.run) : null);
  if (record && identity && (await isAlive(identity))) return { run: record.run, process: identity };
  await rm(recordFile(folder), { force: true });
  return null;
}

/** A record that was cut off while it was written is one of a process that never came to be recorded. */
function parseRecord(text: string): RunRecord | null {
  try {
    return JSON.parse(text) as RunRecord;
  } catch {
    return null;
  }
}

const lookEveryMs = 250;

/** Resolves when the process is gone. It is not our child, so there is nothing to wait on but its number. */
export async function untilGone(folder: string, leftover: Leftover, clock: Clock): Promise<void> {
  while (await isAlive(leftover.process)) await clock.delay(lookEveryMs);
  await rm(recordFile(folder), { force: true });
}
