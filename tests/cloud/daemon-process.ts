/** The daemon as its operator runs it: `clawpool serve` in a process of its own, its log in a file. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, createReadStream, openSync, statSync, watch } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
/** Arguments of Node for a program of the tree. */
export const nodeArgs = (program: string, ...args: string[]): string[] => [
  "--disable-warning=ExperimentalWarning",
  program,
  ...args,
];
export const clawpoolArgs = (configFile: string, ...args: string[]): string[] =>
  nodeArgs(join(root, "pool/cli/main.ts"), "--config", configFile, ...args);

export interface DaemonProcess {
  readonly url: string;
  readonly logFile: string;
  readonly pid: number;
  /** Resolves with its exit code once it has ended; null when a signal ended it. */
  readonly ended: Promise<number | null>;
  /** SIGTERM, and the exit code once it has ended. */
  stop(): Promise<number | null>;
  /** SIGKILL, as a crash would. */
  kill(): Promise<void>;
}

/**
 * @param args of Node; another program than `clawpool serve` writes the same log
 * @param around `env` beside the present one; `through`: a program and its arguments that runs another one in its own place
 * @throws Error with the end of the log when the daemon ended instead of starting.
 */
export async function startDaemonProcess(
  configFile: string,
  logFile: string,
  args = clawpoolArgs(configFile, "serve"),
  { env = {}, through = [] }: { env?: NodeJS.ProcessEnv; through?: readonly string[] } = {},
): Promise<DaemonProcess> {
  const fd = openSync(logFile, "a");
  const from = statSync(logFile).size;
  const [program = "", ...rest] = [...through, process.execPath, ...args];
  const child = spawn(program, rest, {
    stdio: ["ignore", fd, fd],
    detached: true,
    env: { ...process.env, ...env },
  });
  closeSync(fd);
  const exited = once(child, "exit") as Promise<[number | null]>;
  const url = await Promise.race([announcedUrl(logFile, from), exited.then(() => null)]);
  if (url === null) throw new Error(`the daemon did not start:\n${await lastLines(logFile, from)}`);
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (isRunning(child)) child.kill(signal);
    const [code] = await exited;
    return code;
  };
  return {
    url,
    logFile,
    pid: child.pid ?? 0,
    ended: exited.then(([code]) => code),
    stop: () => end("SIGTERM"),
    kill: async () => {
      await end("SIGKILL");
    },
  };
}

const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;

/** Follows the log until the daemon says where it listens. */
async function announcedUrl(logFile: string, from: number): Promise<string> {
  let wake = Promise.withResolvers<void>();
  // Watched before it is read: a line that comes in between must not be waited for.
  const watcher = watch(logFile, () => wake.resolve());
  try {
    for (;;) {
      wake = Promise.withResolvers<void>();
      const found = (await lines(logFile, from)).map(parse).find((line) => line?.msg === "clawpool runs");
      if (found?.url) return found.url;
      await wake.promise;
    }
  } finally {
    watcher.close();
  }
}

async function lines(file: string, start: number): Promise<string[]> {
  const found: string[] = [];
  for await (const line of createInterface({ input: createReadStream(file, { start }) })) found.push(line);
  return found;
}

const lastLines = async (file: string, from: number): Promise<string> =>
  (await lines(file, from)).slice(-15).join("\n");

function parse(line: string): { msg?: string; url?: string } | null {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
