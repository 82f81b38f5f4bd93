/** What every sizing policy has in common: it is told what happened, and says how many machines it wants. */

import type { Reservations } from "../reservations.ts";

export interface Claim {
  /** Epoch ms. */
  readonly at: number;
  /** A machine was ready. */
  readonly hit: boolean;
}

/** What holds at the moment of a decision. */
export interface Situation {
  /** Epoch ms. */
  readonly now: number;
  /** From the order of a machine to its readiness, as measured; failures included. */
  readonly leadMs: number;
  /** Open checkouts; null or absent while nothing is known of them. */
  readonly open?: Reservations | null;
}

export interface Wanted {
  /** Machines to have ready or on the way, beyond those that customers wait for. */
  readonly target: number;
  /** Ready machines beyond this many are retired; at least `target`. */
  readonly keep: number;
  readonly why: Reason;
}

export type Reason =
  | { readonly kind: "static" }
  /** Names of the windows that are open. */
  | { readonly kind: "schedule"; readonly open: readonly string[] }
  | { readonly kind: "factor"; readonly claims: number; readonly windowMs: number }
  | {
      readonly kind: "priced";
      /** Claims that are expected within one lead time. */
      readonly expected: number;
      /** Idle machine-hours that one warm claim may cost. */
      readonly worthHours: number;
      /** Chance that more claims come within one lead time than there are machines. */
      readonly short: number;
      /** Claims an hour that one machine more would serve at once. */
      readonly nextServes: number;
      /** Share of the time that it would stand idle. */
      readonly nextIdles: number;
    };

/** Not a pure function of its arguments: it remembers the claims it was told of. */
export interface SizingPolicy {
  /** A customer came, served at once or not. In the order of time. */
  claim(claim: Claim): void;
  wanted(situation: Situation): Wanted;
}
