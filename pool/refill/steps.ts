/**
 * From what a policy wants to what is done: build, call off, retire. One function for the daemon and for the replay of
 * history, so that what a replay promises is what the daemon does.
 */
import { hourMs } from "../clock.ts";
import type { Wanted } from "../sizing/policy/policy.ts";

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

/**
 * When, within each hour that is paid, a machine that nobody needs goes. Hetzner bills each begun hour from the server's
 * creation; a destroy takes a minute or two, and the row is some seconds older than the server. Five minutes are as long
 * as the rarest look at a pool takes to come round (`tickMs` of the replay).
 */
const endOfHour = { from: 53 * 60_000, until: 58 * 60_000 };

/** What the machine was bought for until the present hour's end is nearly used up. */
export function isPaidHourOver({ createdAt }: WarmMachine, now: number): boolean {
  const inHour = (((now - createdAt) % hourMs) + hourMs) % hourMs;
  return inHour >= endOfHour.from && inHour < endOfHour.until;
}

/**
 * What leads from what there is to `target` machines ready or on the way, beyond those that customers wait for. What is being
 * built stands for no ready machine: it may fail.
 */
export function steps<Machine extends WarmMachine>(
  state: PoolState<Machine>,
  { target, keep, atOnce = false }: Pick<Wanted, "target" | "keep"> & { readonly atOnce?: boolean },
  now: number,
): Steps<Machine> {
  const { ready, building, queued, waiting } = state;
  const surplus = ready.length + building + queued - waiting - target;
  if (surplus <= 0) return { build: -surplus, callOff: 0, retire: [] };
  const callOff = Math.min(queued, surplus);
  const beyond = ready.length - waiting - Math.max(keep, target);
  const retire: Machine[] = [];
  for (const machine of ready) {
    if (retire.length >= beyond) break;
    if (atOnce || isPaidHourOver(machine, now)) retire.push(machine);
  }
  return { build: 0, callOff, retire };
}
