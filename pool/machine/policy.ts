/** What is done about an error of a border, for every stage: one switch, so that nothing is handled twice. */
import { BorderError } from "../errors.ts";
import type { Machine } from "./machine.ts";

export type Verdict =
  /** The same work again, later. */
  | { readonly do: "retry"; readonly afterMs: number }
  /** Another location of the pool, at once. */
  | { readonly do: "next-location" }
  /** This machine is given up. With `alert` a person must act before the next one can do better. */
  | { readonly do: "fail"; readonly alert: boolean };

const firstPauseMs = 2_000;
export const longestPauseMs = 60_000;

/** 2, 4, 8, 16, 32, 60, 60 … seconds, each ± 20 % so that ten machines do not come back together. */
export function backoffMs(attempts: number, random: () => number): number {
  const pause = Math.min(firstPauseMs * 2 ** attempts, longestPauseMs);
  return Math.round(pause * (0.8 + 0.4 * random()));
}

/** The state's deadline ends the retries; there is no second limit to keep in step with it. */
export function verdict(error: unknown, machine: Machine, random: () => number): Verdict {
  if (!(error instanceof BorderError)) return { do: "fail", alert: true };
  switch (error.kind) {
    case "transient":
      return { do: "retry", afterMs: Math.max(error.retryAfterMs ?? 0, backoffMs(machine.attempts, random)) };
    case "capacity":
      return { do: "next-location" };
    case "quota":
    case "auth":
      return { do: "fail", alert: true };
    case "permanent":
      return { do: "fail", alert: false };
  }
}
