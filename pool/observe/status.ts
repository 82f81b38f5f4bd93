/** What the status page, the CLI and the API say of the pools, from the rows alone. */

import type { Config } from "../config/config.ts";
import { isClaimable, type MachineState } from "../machine/machine.ts";
import { leadTimeMs } from "../sizing/lead-time.ts";
import type { Flag, Store } from "../store/store.ts";

export interface PoolStatus {
  readonly instance: string;
  readonly pools: readonly {
    readonly name: string;
    readonly plan: string;
    readonly locations: readonly string[];
    readonly serverType: string;
    readonly minReady: number;
    readonly maxTotal: number;
    readonly claimable: number;
    readonly live: number;
    readonly states: Readonly<Partial<Record<MachineState, number>>>;
    /** Orders of the pool's plan that wait. */
    readonly queued: number;
    /** Median build time; null before the first machine. */
    readonly buildMs: number | null;
  }[];
  readonly flags: readonly Flag[];
}

export function poolStatus(store: Store, config: Config): PoolStatus {
  const live = store.machines({ live: true });
  const queued = store.orders({ states: ["queued"] });
  return {
    instance: config.instance,
    pools: config.pools.map((pool) => {
      const machines = live.filter((machine) => machine.pool === pool.name);
      const states: Partial<Record<MachineState, number>> = {};
      for (const machine of machines) states[machine.state] = (states[machine.state] ?? 0) + 1;
      return {
        name: pool.name,
        plan: pool.plan,
        locations: pool.locations,
        serverType: pool.serverType,
        minReady: pool.minReady,
        maxTotal: pool.maxTotal,
        claimable: machines.filter(isClaimable).length,
        live: machines.length,
        states,
        queued: queued.filter((order) => order.plan === pool.plan).length,
        buildMs: leadTimeMs(store, pool.plan),
      };
    }),
    flags: store.flags(),
  };
}
