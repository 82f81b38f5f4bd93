/** What a replay of own history can choose for a pool that is asked for a hit share, and the policy that it stands for. */
import { hourMs } from "../../clock.ts";
import { adaptivePolicy, type Demand } from "./adaptive.ts";
import { factorPolicy } from "./factor.ts";
import type { SizingPolicy } from "./policy.ts";
import { staticPolicy } from "./static.ts";

export type ChosenPolicy =
  | { readonly kind: "static"; readonly ready: number }
  | { readonly kind: "factor"; readonly scale: number }
  | { readonly kind: "adaptive"; readonly worthHours: number; readonly holdMs: number };

/** @param demand asked for only by what forecasts; told of every claim, and of none so far */
export function chosenPolicy(chosen: ChosenPolicy, demand: () => Demand): SizingPolicy {
  switch (chosen.kind) {
    case "static":
      return staticPolicy(chosen.ready);
    case "factor":
      return factorPolicy({ factor: chosen.scale, windowMs: hourMs });
    case "adaptive": {
      const { worthHours, holdMs } = chosen;
      return adaptivePolicy({ demand: demand(), goal: { worthHours }, holdMs });
    }
  }
}

/** In a few words. */
export function chosenText(chosen: ChosenPolicy): string {
  switch (chosen.kind) {
    case "static":
      return `static ${chosen.ready}`;
    case "factor":
      return `factor ${chosen.scale} over an hour`;
    case "adaptive": {
      const held = chosen.holdMs === 0 ? "" : `, surplus held ${chosen.holdMs / hourMs} h`;
      return `adaptive, ${Math.round(chosen.worthHours)} idle hours for a warm claim${held}`;
    }
  }
}
