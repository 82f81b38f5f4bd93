/**
 * What systemd does for the daemon's unit (`Type=notify`, `WatchdogSec`), without systemd: the daemon gets a notification
 * socket and is killed when it has said that it is ready and then does not feed the watchdog. `npm run bench:times` has the
 * unit itself under systemd.
 */
import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { clawpoolArgs, type DaemonProcess, startDaemonProcess } from "../cloud/daemon-process.ts";

/** A datagram socket, which Node cannot open: what it receives, line by line. */
const listener = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    print(s.recv(4096).decode().replace("\\n", " "), flush=True)
`;

export interface Unit {
  /** Starts the daemon; resolves when it serves. One at a time. */
  start(configFile: string, logFile: string): Promise<DaemonProcess>;
  /** How often the watchdog was not fed in time. */
  timeouts(): number;
  /** After the last daemon has ended. */
  close(): Promise<void>;
}

/** @param watchdogMs `WatchdogSec` */
export async function createUnit(dir: string, watchdogMs: number): Promise<Unit> {
  const path = join(dir, "notify");
  const socket = spawn("python3", ["-c", listener, path], { stdio: ["ignore", "pipe", "inherit"] });
  const closed = once(socket, "exit");
  const lines = createInterface({ input: socket.stdout });
  const [first] = await once(lines, "line");
  assert.equal(first, "bound");

  let pid: number | null = null;
  let isReady = false;
  let timer: NodeJS.Timeout | null = null;
  let timeouts = 0;
  const feed = () => {
    clearTimeout(timer ?? undefined);
    if (pid === null || !isReady) return;
    timer = setTimeout(() => {
      timeouts += 1;
      if (pid !== null) process.kill(pid, "SIGKILL");
    }, watchdogMs);
  };
  lines.on("line", (text) => {
    if (/\bREADY=1\b/.test(text)) isReady = true;
    if (/\b(READY|WATCHDOG)=1\b/.test(text)) feed();
  });

  return {
    async start(configFile, logFile) {
      isReady = false;
      const env = { NOTIFY_SOCKET: path, WATCHDOG_USEC: String(watchdogMs * 1_000) };
      const daemon = await startDaemonProcess(configFile, logFile, clawpoolArgs(configFile, "serve"), {
        env,
      });
      pid = daemon.pid;
      feed();
      void daemon.ended.then(() => {
        clearTimeout(timer ?? undefined);
        pid = null;
      });
      return daemon;
    },
    timeouts: () => timeouts,
    async close() {
      socket.kill("SIGKILL");
      await closed;
    },
  };
}
