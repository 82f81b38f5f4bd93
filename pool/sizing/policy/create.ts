/** The only place that makes a policy of a pool's configuration: for the daemon, the replay of history and the bench. */
import type { PoolConfig, SizingConfig } from "../../config/config.ts";
import { createCalendar } from "../forecast/calendar.ts";
import { adaptivePolicy, forecastDemand } from "./adaptive.ts";
import { type ChosenPolicy, chosenPolicy } from "./chosen.ts";
import { factorPolicy } from "./factor.ts";
import { type GuardedPolicy, type Guards, guarded } from "./guards.ts";
import type { SizingPolicy } from "./policy.ts";
import { mostOpen, schedulePolicy } from "./schedule.ts";
import { staticPolicy } from "./static.ts";

export interface PolicySurroundings {
  /** Epoch ms since when every claim that the policy is told of was seen. */
  readonly since: number;
  /** What one hour of one machine costs, EUR net; null while the price list does not say. */
  readonly eurPerHour: number | null;
  /** What own history chose instead of a price that is found by own misses; none when absent or null. */
  readonly chosen?: ChosenPolicy | null;
}

/** What `value_of_a_warm_claim` stands for as long as no price says how many idle hours it buys. */
const hitShareWithoutPrice = 0.99;

/** The pool keeps `min_ready`, and nothing but a person changes that. */
export const isFixed = (sizing: SizingConfig): boolean =>
  sizing.policy === "static" &&
  sizing.ready === null &&
  sizing.campaigns.length === 0 &&
  sizing.floors.length === 0;

/** What of a pool's configuration says how many machines it wants. */
export type Sized = Pick<PoolConfig, "minReady" | "maxReady" | "maxTotal" | "sizing">;

/** The pool's policy with its campaigns, floors and bounds. Told of no claim so far. */
export function createPolicy(pool: Sized, surroundings: PolicySurroundings): GuardedPolicy {
  const { sizing } = pool;
  // Adaptive has them in its forecast; who says no more than min_ready gets no more.
  const kind = surroundings.chosen?.kind ?? sizing.policy;
  const addsCheckouts = kind !== "adaptive" && !isFixed(sizing);
  return withinGuards(pool, unguarded(pool, surroundings), addsCheckouts);
}

/** A policy with the pool's campaigns, floors and bounds. */
export function withinGuards(
  { minReady, maxReady, maxTotal, sizing }: Sized,
  policy: SizingPolicy,
  addsCheckouts: boolean,
): GuardedPolicy {
  const guards: Guards = {
    ...{ minReady, maxReady: maxReady ?? maxTotal, campaigns: sizing.campaigns, addsCheckouts },
    floor: mostOpen(sizing.floors, sizing.timeZone),
  };
  return {
    claim: (claim) => policy.claim(claim),
    wanted: (situation) => guarded(policy.wanted(situation), guards, situation),
  };
}

function unguarded(
  { minReady, sizing }: Sized,
  { since, eurPerHour, chosen = null }: PolicySurroundings,
): SizingPolicy {
  switch (sizing.policy) {
    case "static":
      return staticPolicy(sizing.ready ?? minReady);
    case "schedule":
      return schedulePolicy(sizing.windows, sizing.timeZone);
    case "factor":
      return factorPolicy({
        ...{ factor: sizing.scale, windowMs: sizing.overMs },
        ...(sizing.atMost === null ? {} : { atMost: sizing.atMost }),
      });
    case "adaptive": {
      const demand = () => forecastDemand(createCalendar(sizing.timeZone), since);
      if (chosen) return chosenPolicy(chosen, demand);
      const goal = goalOf(sizing.goal, eurPerHour);
      return adaptivePolicy({ demand: demand(), goal, holdMs: sizing.holdMs });
    }
  }
}

type AdaptiveGoal = Parameters<typeof adaptivePolicy>[0]["goal"];

function goalOf(
  goal: { readonly valueEur: number } | { readonly hitShare: number },
  eurPerHour: number | null,
): AdaptiveGoal {
  if ("hitShare" in goal) return { missShare: 1 - goal.hitShare };
  if (eurPerHour === null) return { missShare: 1 - hitShareWithoutPrice };
  return { worthHours: goal.valueEur / eurPerHour };
}
