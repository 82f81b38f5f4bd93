import type { SizingPolicy } from "./policy.ts";

/** Always the same number. */
export function staticPolicy(machines: number): SizingPolicy {
  const wanted = { target: machines, keep: machines, why: { kind: "static" } } as const;
  return { claim: () => {}, wanted: () => wanted };
}
