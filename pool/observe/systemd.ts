/** Tells systemd that we run (Type=notify) and that the event loop turns (WatchdogSec). */
import { execFile } from "node:child_process";
import type { Logger } from "pino";

export interface Systemd {
  ready(): void;
  stopping(): void;
}

/**
 * Through `systemd-notify`: the socket is a unix datagram one, which Node cannot write to. Without NOTIFY_SOCKET (not
 * under systemd) every call does nothing. The unit needs NotifyAccess=all, since the notifier is a child.
 */
export function notifySystemd(log: Logger): Systemd {
  const active = process.env.NOTIFY_SOCKET !== undefined;
  const send = (...words: string[]): void => {
    if (!active) return;
    execFile("systemd-notify", words, (error) => error && log.warn({ err: error }, "systemd-notify failed"));
  };
  const watchdogUs = Number(process.env.WATCHDOG_USEC ?? 0);
  const timer =
    active && watchdogUs > 0 ? setInterval(() => send("WATCHDOG=1"), watchdogUs / 1_000 / 3) : null;
  return {
    ready: () => send("--ready"),
    stopping() {
      if (timer) clearInterval(timer);
      send("--stopping");
    },
  };
}
