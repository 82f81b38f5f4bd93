/** The lease as a daemon has it: on the store's file, with the kernel's lock beside it, and the process as its holder. */
import { chmodSync, readdirSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import { identify, isAlive, type ProcessIdentity } from "../process-identity.ts";
import { lockInstance } from "./instance-lock.ts";
import { acquireLease, type Lease, leaseRows, leaseTable } from "./lease.ts";
import { explained, storeFile } from "./store-file.ts";

export interface DaemonLeaseOptions {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Pick<Logger, "warn">;
  readonly signal?: AbortSignal;
  /** False leaves a daemon that hangs as it is: it is fenced, but keeps its ports. */
  readonly endHung?: boolean;
}

interface Holder {
  readonly host: string;
  readonly since: string;
  readonly process: ProcessIdentity | null;
}

/**
 * Waits for a daemon that runs on this folder; see lease.ts. Where there is no store an empty one is made, which counts as
 * none until it is opened (inspectStore).
 *
 * @throws the signal's reason; Error in an operator's words when the store cannot be read
 */
export async function leaseStore(options: DaemonLeaseOptions): Promise<Lease> {
  const { stateDir, clock, log, signal, endHung = true } = options;
  const lockFile = (term: number) => join(stateDir, `daemon.${term}.lock`);
  const file = storeFile(stateDir);
  let db: Database.Database | null = null;
  try {
    db = new Database(file);
    chmodSync(file, 0o600);
    db.pragma("journal_mode = WAL");
    db.pragma("synchronous = FULL");
    db.pragma("busy_timeout = 5000");
    db.exec(leaseTable);
    const rows = db;
    const holder: Holder = {
      host: hostname(),
      since: new Date(clock.now()).toISOString(),
      process: await identify(process.pid),
    };
    const lease = await acquireLease({
      rows: leaseRows(db),
      lock: (term) => {
        // Held only for the moment: a command that works without a daemon keeps every daemon out by it.
        const quiet = lockInstance(join(stateDir, folderLock));
        const held = quiet && lockInstance(lockFile(term));
        quiet?.();
        return held;
      },
      holder: JSON.stringify(holder),
      clock,
      ...(signal ? { signal } : {}),
      end: async (text) => {
        if (endHung) await endHolder(text);
      },
      onWait: (text) => log.warn(`waiting: ${describe(text)} runs on ${stateDir}, or a command works on it`),
      onTakeOver: (text, why) =>
        log.warn(`${describe(text)} ${why === "gone" ? "is gone" : "hangs"}: taking over`),
    });
    for (const { path, term } of termLocks(stateDir)) {
      if (term >= lease.term) continue;
      for (const file of [path, `${path}-journal`]) rmSync(file, { force: true });
    }
    return {
      ...lease,
      release() {
        lease.release();
        rows.close();
      },
    };
  } catch (error) {
    db?.close();
    throw explained(error, file);
  }
}

/** Of a command that works on the folder while no daemon does. */
const folderLock = "daemon.lock";

const termLocks = (stateDir: string) =>
  readdirSync(stateDir).flatMap((name) => {
    const [, term] = /^daemon\.(\d+)\.lock$/.exec(name) ?? [];
    return term === undefined ? [] : [{ path: join(stateDir, name), term: Number(term) }];
  });

/**
 * For commands that need the folder to themselves: no daemon runs, and none starts to before it is given back.
 * @returns null while a daemon runs, or another such command
 */
export function lockWithoutDaemon(stateDir: string): (() => void) | null {
  const unlock = lockInstance(join(stateDir, folderLock));
  if (unlock === null) return null;
  for (const { path } of termLocks(stateDir)) {
    const free = lockInstance(path);
    if (free === null) {
      unlock();
      return null;
    }
    free();
  }
  return unlock;
}

function describe(text: string): string {
  const { host, since, process: of } = JSON.parse(text) as Holder;
  return `the daemon of ${since} (process ${of?.pid ?? "unknown"} on ${host})`;
}

/** It answers nothing, writes nothing, and holds the sockets; what it began is found by who comes after it. */
async function endHolder(text: string): Promise<void> {
  const { host, process: of } = JSON.parse(text) as Holder;
  // The number alone could be anybody's by now; start time and boot say that it is the same process.
  if (host !== hostname() || !of || !(await isAlive(of))) return;
  try {
    process.kill(of.pid, "SIGKILL");
  } catch (error) {
    if (
      (error as NodeJS.ErrnoException).code !== "ESRCH" &&
      (error as NodeJS.ErrnoException).code !== "EPERM"
    )
      throw error;
  }
}
