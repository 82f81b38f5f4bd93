/** Tells systemd that we run (Type=notify), what we do, and while we get on (WatchdogSec). */
import { execFile } from "node:child_process";
import type { Logger } from "pino";

export interface Systemd {
  ready(): void;
  stopping(): void;
}

/**
 * Through `systemd-notify`: the socket is a unix datagram one, which Node cannot write to. Without NOTIFY_SOCKET (not
 * under systemd) every call does nothing. The unit needs NotifyAccess=all, since the notifier is a child.
 *
 * The watchdog is fed three times in its span (WATCHDOG_USEC), each time only if `standstill` is null; what it says is
 * logged once, and systemd replaces a daemon that stands still.
 */
export function notifySystemd(log: Logger, standstill: () => string | null): Systemd {
  const active = process.env.NOTIFY_SOCKET !== undefined;
  const send = (...words: string[]): void => {
    if (!active) return;
    execFile("systemd-notify", words, (error) => error && log.warn({ err: error }, "systemd-notify failed"));
  };
  let stopping = false;
  let said: string | null = null;
  function feed(): void {
    // A stop has its own bound, in the unit and in us: what still runs then is allowed to be the only thing that does.
    const why = stopping ? null : standstill();
    if (why === null) send("WATCHDOG=1");
    else if (said === null) log.fatal({ why }, "standing still: systemd's watchdog is not fed any more");
    said = why;
  }
  const watchdogUs = Number(process.env.WATCHDOG_USEC ?? 0);
  if (active && watchdogUs > 0) setInterval(feed, watchdogUs / 1_000 / 3).unref();
  return {
    ready: () => send("--ready", "--status=running"),
    stopping() {
      stopping = true;
      // As an assignment: systemd before 253 (Debian 12 has 252) has no --stopping.
      send("STOPPING=1", "--status=waiting for terraform and hand-overs");
    },
  };
}
