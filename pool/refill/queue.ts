/** Queued orders take machines that got ready, the longest-waiting first. */
import type { Config } from "../config/config.ts";
import { isClaimable, type Machine } from "../machine/machine.ts";
import type { Store } from "../store/store.ts";

/** Binds until nothing fits any more; each claim is a transaction of its own. */
export function serveQueue(store: Store, config: Config): Machine[] {
  const machines: Machine[] = [];
  const locationsOf = (region: string): readonly string[] => config.regions[region] ?? [];
  // Asked for without a transaction: mostly nobody waits, or there is nothing to wait for.
  const plans = new Set(
    store.orders({ states: ["queued"], limit: Number.MAX_SAFE_INTEGER }).map(({ plan }) => plan),
  );
  for (const pool of config.pools) {
    const ready = store.machines({ pool: pool.name, states: ["ready"] });
    if (!plans.has(pool.plan) || !ready.some(isClaimable)) continue;
    for (;;) {
      const claimed = store.claimForQueue({ name: pool.name, plan: pool.plan, locationsOf });
      if (!claimed) break;
      machines.push(claimed.machine);
    }
  }
  return machines;
}
