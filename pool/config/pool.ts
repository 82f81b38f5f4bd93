/** One pool's section of clawpool.yaml, resolved; what of it contradicts itself or the rest of the file. */
import type { FailureBudget, PoolConfig } from "./config.ts";
import type { ConfigFile } from "./shape.ts";
import { resolveSizing } from "./sizing.ts";

type Path = readonly PropertyKey[];

/** Contradictions are reported through `wrong`, with the path of their key. */
export function resolvePool(
  file: ConfigFile,
  name: string,
  pool: ConfigFile["pools"][string],
  wrong: (path: Path, text: string) => void,
): PoolConfig {
  const path = ["pools", name];
  if (!file.plans[pool.plan]) {
    wrong([...path, "plan"], `there is no plan ${pool.plan}; known: ${Object.keys(file.plans).join(", ")}`);
  }
  const locations = pool.regions.flatMap((region, index) => {
    const found = file.regions[region];
    if (!found) {
      wrong(
        [...path, "regions", index],
        `there is no region ${region}; known: ${Object.keys(file.regions).join(", ")}`,
      );
    }
    return found ?? [];
  });
  const types = [pool.server_type, ...pool.other_server_types];
  if (new Set(types).size < types.length) {
    wrong([...path, "other_server_types"], "names a type twice, or the pool's own server_type");
  }
  if (pool.min_ready > pool.max_total) {
    wrong(
      [...path, "min_ready"],
      `${pool.min_ready} warm machines can never fit into max_total ${pool.max_total}`,
    );
  }
  const maxReady = pool.max_ready ?? pool.max_total;
  if (pool.min_ready > maxReady && pool.max_ready !== undefined) {
    wrong([...path, "min_ready"], `${pool.min_ready} is more than max_ready ${maxReady}`);
  }
  if (maxReady > pool.max_total) {
    wrong([...path, "max_ready"], `${maxReady} warm machines can never fit into max_total ${pool.max_total}`);
  }
  if (pool.max_total > file.max_total) {
    wrong(
      [...path, "max_total"],
      `${pool.max_total} is more than max_total ${file.max_total} of all pools together`,
    );
  }
  return {
    name,
    plan: pool.plan,
    locations: [...new Set(locations)],
    serverType: pool.server_type,
    otherServerTypes: pool.other_server_types,
    image: pool.image,
    minReady: pool.min_ready,
    maxReady: pool.max_ready ?? null,
    maxTotal: pool.max_total,
    maxBuildsPerMinute: pool.max_builds_per_minute,
    sizing: resolveSizing(pool.sizing, { least: pool.min_ready, most: maxReady }, (key, text) =>
      wrong([...path, "sizing", ...key], text),
    ),
    maxAgeMs: pool.max_age,
    maxAgeJitter: pool.max_age_jitter,
    proof: resolveProof(pool.proof, (key, text) => wrong([...path, "proof", key], text)),
    rollout: {
      soakMs: pool.rollout.soak,
      surge: pool.rollout.surge ?? Math.max(1, Math.ceil(pool.min_ready / 10)),
      failures: pool.rollout.failures,
    },
    failureBudget: resolveBudget(pool.failure_budget, (key, text) =>
      wrong([...path, "failure_budget", key], text),
    ),
  };
}

function resolveProof(
  { every, again }: ConfigFile["pools"][string]["proof"],
  wrong: (key: string, text: string) => void,
): PoolConfig["proof"] {
  if (every < 60_000) wrong("every", "machines that are proved more often than each 1m are never claimable");
  if (again < 1_000) wrong("again", "a pause shorter than 1s tells one short fault as two");
  if (again > every)
    wrong("again", "longer than every: a machine that missed would be proved later than others");
  return { everyMs: every, againMs: again };
}

function resolveBudget(
  budget: ConfigFile["pools"][string]["failure_budget"],
  wrong: (key: string, text: string) => void,
): FailureBudget {
  const { first_pause: first, longest_pause: longest, longest_order_pause: forOrders } = budget;
  if (first < 1_000) wrong("first_pause", "a pause shorter than 1s would buy machines as fast as they fail");
  if (longest < first) wrong("longest_pause", "shorter than first_pause");
  if (forOrders < first) wrong("longest_order_pause", "shorter than first_pause");
  if (forOrders > longest) wrong("longest_order_pause", "orders would wait longer than the refill");
  return {
    run: budget.run,
    share: budget.share,
    atLeast: budget.at_least,
    windowMs: budget.window,
    firstPauseMs: first,
    longestPauseMs: longest,
    longestOrderPauseMs: forOrders,
    buildsPerOrder: budget.builds_per_order,
    keepSpecimenMs: budget.keep_specimen,
    alertShare: budget.alert_share,
    alertAtLeast: budget.alert_at_least,
  };
}
