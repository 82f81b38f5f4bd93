/** Stops a pool's refill when its builds fail too often, keeps one failed machine to look at, and starts it again. */
import { createHash } from "node:crypto";
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import type { Machine, MachineName } from "../machine/machine.ts";
import type { Store } from "../store/store.ts";
import { assess, countedBuilds } from "./budget.ts";
import { recipeSetting } from "./content.ts";

/** Other people's error texts have no end. */
const longestReason = 300;

interface Context {
  readonly store: Store;
  readonly config: () => Config;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * To be asked about each machine that failed, before it goes: counts it, and stops the refill when it was one too many.
 *
 * @returns until when (epoch ms) the machine is kept; null when it may go at once.
 */
export function judgeFailure(machine: Machine, context: Context): number | null {
  const { store, config, clock, log } = context;
  const now = clock.now();
  const pool = config().pools.find(({ name }) => name === machine.pool);
  if (!pool) return null;
  const { stop, countedFrom } = store.refill(pool.name);
  if (machine.specimenUntil !== null) {
    // Where the refill goes on nobody will let it go: the stop was lost with the database.
    return stop && machine.specimenUntil > now ? machine.specimenUntil : null;
  }
  if (machine.readyAt !== null) return null;
  const keptMs = pool.failureBudget.keepSpecimenMs;
  // Without a server there is nothing to look at but the log, which stays anyway.
  const keeps = machine.serverId !== null && keptMs > 0;
  const specimen = keeps ? { name: machine.name, until: now + keptMs } : null;
  if (stop) {
    // Released, or another of those that were under way when it was stopped: one is enough.
    const isLater = machine.createdAt >= countedFrom;
    return specimen && isLater && store.keepSpecimen(pool.name, specimen) ? specimen.until : null;
  }
  const { exhausted } = assess(countedBuilds(store, pool.name, countedFrom), pool.failureBudget, now);
  if (exhausted === null) return null;
  const last = (machine.reason ?? "no reason is known").slice(0, longestReason).toWellFormed();
  const reason = `${exhausted}, the last, ${machine.name}: ${last}`;
  const kept = specimen ? `; it is kept until ${new Date(specimen.until).toISOString()}` : "";
  const text = `refill stopped: ${reason}${kept}. \`clawpool resume ${pool.name}\` starts it again`;
  store.stopRefill(pool.name, { reason, inputs: inputsOf(pool, config(), store), specimen, text });
  log.error({ pool: pool.name, machine: machine.name, specimen: specimen?.name }, text);
  return specimen?.until ?? null;
}

/** What a pool's machines are built from: whoever changes it thinks that they will do better. */
export function inputsOf(pool: PoolConfig, { prepare }: Config, store: Pick<Store, "setting">): string {
  const { serverType, otherServerTypes, image, locations } = pool;
  const recipe = store.setting(recipeSetting);
  return createHash("sha256")
    .update(JSON.stringify([serverType, otherServerTypes, image, locations, prepare, recipe]))
    .digest("hex");
}

/** Refill goes on where another input is configured now, and where the pool itself is gone. @returns specimens that may go. */
export function resumeChanged({ store, config, log }: Context): MachineName[] {
  return store.stoppedPools().flatMap((name) => {
    const pool = config().pools.find((candidate) => candidate.name === name);
    if (pool && inputsOf(pool, config(), store) === store.refill(name).stop?.inputs) return [];
    const why = pool ? "what its machines are built from was changed" : "the pool is no longer configured";
    log.info({ pool: name }, `refill goes on: ${why}`);
    return store.resumeRefill(name, why).specimens;
  });
}

export interface Resumed {
  readonly pool: string;
  /** Why it was stopped; null when it was not. */
  readonly stopped: string | null;
  readonly specimens: readonly MachineName[];
}

/** No pool has this name. */
export class UnknownPoolError extends Error {
  override readonly name = "UnknownPoolError";
}

/**
 * A person says that builds will do better now: refill goes on at once, without a pause. Without a name, where it is
 * stopped; a named pool that only waits between two tries is tried at once.
 *
 * @throws UnknownPoolError
 */
export function resume(
  { store, config }: Pick<Context, "store" | "config">,
  name: string | null,
  actor: string,
): Resumed[] {
  const known = config().pools.map((pool) => pool.name);
  if (name !== null && !known.includes(name)) {
    throw new UnknownPoolError(`there is no pool ${name}; known: ${known.join(", ")}`);
  }
  for (const { border } of store.frozen()) store.thaw(border, `${actor} resumed it`, { actor });
  const pools = name === null ? store.stoppedPools() : [name];
  return pools.map((pool) => ({ pool, ...store.resumeRefill(pool, `${actor} resumed it`, { actor }) }));
}
