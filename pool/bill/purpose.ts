/** What a machine's hours were for. */
import type { MachineState } from "../machine/machine.ts";
import type { Span } from "./hours.ts";

export const purposes = ["building", "ready", "serving", "suspended", "failed", "ending", "unknown"] as const;
/**
 * `ready` is idle and warm, also while it is proved again. `failed` is a build that came to nothing, all of it, and what
 * is kept of it to be looked at. `ending` is from the decision to destroy until Hetzner says that it is gone. `unknown` is
 * what was seen while no row knew of it.
 */
export type Purpose = (typeof purposes)[number];

export interface Stay extends Span {
  readonly purpose: Purpose;
}

const purposeOf: Readonly<Record<MachineState, Purpose>> = {
  planned: "building",
  creating: "building",
  booting: "building",
  preparing: "building",
  proving: "building",
  ready: "ready",
  claimed: "serving",
  "handing-over": "serving",
  serving: "serving",
  suspending: "suspended",
  suspended: "suspended",
  resuming: "suspended",
  failed: "failed",
  retiring: "ending",
  releasing: "ending",
  destroyed: "ending",
};

/** The machine's stays, oldest first and without gaps; the last has no end. */
export function staysOf(states: readonly { readonly at: number; readonly state: MachineState }[]): Stay[] {
  const firstReady = states.findIndex(({ state }) => state === "ready");
  const firstFailed = states.findIndex(({ state }) => state === "failed");
  const isStillborn = firstFailed >= 0 && (firstReady < 0 || firstFailed < firstReady);
  return states.map(({ at, state }, index) => {
    const plain = purposeOf[state];
    const wasReady = firstReady >= 0 && index > firstReady;
    const built = isStillborn ? "failed" : wasReady ? "ready" : "building";
    return {
      from: at,
      until: states[index + 1]?.at ?? Number.POSITIVE_INFINITY,
      purpose: plain === "building" ? built : plain,
    };
  });
}
