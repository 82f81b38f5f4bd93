/**
 * What is done about an error of a border, for every stage: one switch, so that nothing is handled twice.
 *
 *   transient   the same again after 2, 4, 8, 16 … s, or when the other side says; at a hand-over at once, twice, for a
 *               customer waits. The state's deadline ends it. Of Stripe and Tailscale it is no fault of the machine: that
 *               waits as long as they are away
 *   capacity    the next type or location of the pool; for a server that is bought already the same again, as above
 *   quota, auth of our account: nothing is bought until a probe succeeds or a person resumes; a machine that exists waits.
 *               Of one machine (it refuses our key): that machine is given up
 *   permanent   the machine is given up at once, and whatever exists of it is removed
 *
 * An error of no border is a fault of ours, and ends the machine; except that this host has run out of something, which is
 * as `transient`.
 */
import { type Border, BorderError } from "../errors.ts";
import type { Freeze } from "../store/store.ts";
import type { Machine } from "./machine.ts";

export type Verdict =
  /** The same work again, later. */
  | { readonly do: "retry"; readonly afterMs: number }
  /** The same, and the time does not count against the machine; with `freeze` nothing is bought meanwhile. */
  | { readonly do: "wait"; readonly afterMs: number; readonly freeze: Refusal | null }
  /** Another type or location of the pool, at once. */
  | { readonly do: "next-offer" }
  /**
   * This machine is given up. `alert`: it is a fault of ours, that a person must mend. `charged`: it counts against the
   * order that it was for. `again`: another machine may do better.
   */
  | {
      readonly do: "fail";
      readonly alert: boolean;
      readonly charged: boolean;
      readonly again: boolean;
      readonly freeze: Refusal | null;
    };

export interface Refusal {
  readonly border: Freeze["border"];
  readonly kind: Freeze["kind"];
}

const firstPauseMs = 2_000;
export const longestPauseMs = 60_000;
/** A customer waits; the same document again is harmless, the program knows order and generation. */
const handOverTries = 3;
const handOverPauseMs = 100;

/** 2, 4, 8, 16, 32, 60, 60 … seconds, each ± 20 % so that ten machines do not come back together. */
export function backoffMs(attempts: number, random: () => number): number {
  const pause = Math.min(firstPauseMs * 2 ** attempts, longestPauseMs);
  return Math.round(pause * (0.8 + 0.4 * random()));
}

const fail = { do: "fail", alert: false, charged: true, again: true, freeze: null } as const;

/** What the machine cannot be blamed for: it is not even spoken with. */
const elsewhere: readonly Border[] = ["stripe", "tailnet"];

/** The account that a border's refusal is about; null for a border that is one machine. */
function accountOf(border: Border): Freeze["border"] | "stripe" | null {
  switch (border) {
    case "cloud":
    case "terraform":
      return "cloud";
    case "tailnet":
      return "tailnet";
    case "stripe":
      return "stripe";
    case "ssh":
    case "ansible":
    case "machine":
    // No stage speaks with these.
    case "callback":
    case "mail":
      return null;
  }
}

/** Of file handles, processes, memory, room on the disk this host has none left for now. */
const scarce = ["EMFILE", "ENFILE", "EAGAIN", "ENOMEM", "ENOSPC", "EDQUOT"];

function isScarcity(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if (scarce.includes((cause as NodeJS.ErrnoException).code ?? "")) return true;
  return false;
}

/** The state's deadline ends the retries; there is no second limit to keep in step with it. */
export function verdict(
  error: unknown,
  machine: Pick<Machine, "state" | "attempts" | "serverId">,
  random: () => number,
): Verdict {
  if (!(error instanceof BorderError)) {
    if (isScarcity(error)) return { do: "retry", afterMs: backoffMs(machine.attempts, random) };
    return { ...fail, alert: true };
  }
  const { border, kind, retryAfterMs } = error;
  const afterMs = Math.max(retryAfterMs ?? 0, backoffMs(machine.attempts, random));
  switch (kind) {
    case "transient":
      if (elsewhere.includes(border)) return { do: "wait", afterMs, freeze: null };
      if (machine.state !== "handing-over") return { do: "retry", afterMs };
      return machine.attempts + 1 < handOverTries ? { do: "retry", afterMs: handOverPauseMs } : fail;
    case "capacity":
      // One that is bought is where it is, and what it is.
      return machine.serverId === null ? { do: "next-offer" } : { do: "retry", afterMs };
    case "quota":
    case "auth": {
      const account = accountOf(border);
      if (account === null) return fail;
      const freeze = account === "stripe" ? null : { border: account, kind };
      if (machine.serverId !== null) return { do: "wait", afterMs, freeze };
      return { ...fail, charged: false, freeze };
    }
    case "permanent":
      return elsewhere.includes(border) ? { ...fail, again: false } : fail;
  }
}
