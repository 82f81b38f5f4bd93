/**
 * From what a policy wants to what is done: build, call off, retire. One function for the daemon and for the replay of
 * history, so that what a replay promises is what the daemon does.
 */
import { hourMs } from "./forecast/calendar.ts";
import type { Wanted } from "./policy/policy.ts";

export interface WarmMachine {
  /** Epoch ms of the server's creation: Hetzner bills every hour that has begun since then. */
  readonly createdAt: number;
}

export interface PoolState<Machine extends WarmMachine> {
  /** Claimable, the first to be given away first. */
  readonly ready: readonly Machine[];
  /** Servers that are being made. */
  readonly building: number;
  /** Intents for which no build has begun: calling them off costs nothing. */
  readonly queued: number;
  /** Orders that found nothing ready. */
  readonly waiting: number;
}

export interface Steps<Machine> {
  readonly build: number;
  readonly callOff: number;
  readonly retire: readonly Machine[];
}

/** A surplus machine goes in the last minutes of an hour that is paid anyway; time enough to be gone before its end. */
const lastMinutesMs = 300_000;

/** Time until the hour ends that is paid already. */
export const paidForMs = ({ createdAt }: WarmMachine, now: number): number =>
  hourMs - ((now - createdAt) % hourMs);

/** What leads from what there is to `target` machines ready or on the way, beyond those that customers wait for. */
export function steps<Machine extends WarmMachine>(
  state: PoolState<Machine>,
  { target, keep }: Pick<Wanted, "target" | "keep">,
  now: number,
): Steps<Machine> {
  const { ready, building, queued, waiting } = state;
  const surplus = ready.length + building + queued - waiting - target;
  if (surplus <= 0) return { build: -surplus, callOff: 0, retire: [] };
  const callOff = Math.min(queued, surplus);
  const beyond = surplus - callOff - Math.max(0, keep - target);
  const retire: Machine[] = [];
  for (const machine of ready) {
    if (retire.length >= beyond) break;
    if (paidForMs(machine, now) <= lastMinutesMs) retire.push(machine);
  }
  return { build: 0, callOff, retire };
}
