/**
 * Tells a person when a pool is below its floor, its builds fail or an order waits for too long (waits.ts), and takes it
 * back when that is over: a pool that goes cold is the fault that customers notice first and operators last. Looked at once
 * a minute.
 */
import type { Logger } from "pino";
import { type Clock, hourMs } from "../clock.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import { isClaimable, isProvedAgain } from "../machine/machine.ts";
import { leadTimeMs } from "../sizing/lead-time.ts";
import { minReadyOf, type PoolTarget, type TargetOf } from "../sizing/target.ts";
import type { Store } from "../store/store.ts";
import { buildingStates, isJudged, newestBuilds } from "./budget.ts";
import { warmMachines } from "./content.ts";
import { inStock } from "./offers.ts";
import { replacement } from "./replace.ts";
import { raiseWaits } from "./waits.ts";

/** What a build takes, before one was measured: twice what a small VM needs. */
const assumedLeadMs = 600_000;

export const buildsFail = "builds-fail";
export const belowFloor = "below-floor";
const cannotReplace = "cannot-replace";
const outOfStock = "out-of-stock";
const cutShort = "cut-short";
const machineFailed = "machine-failed";

/** Share of the pool's builds of the last hour that failed, 0–1; null with fewer builds than `atLeast`. */
export function failureShare(
  store: Store,
  { name, failureBudget }: Pick<PoolConfig, "name" | "failureBudget">,
  now: number,
): number | null {
  const builds = store
    .builds(name, { limit: newestBuilds })
    .filter((build) => build.endedAt >= now - hourMs && isJudged(build));
  if (builds.length < failureBudget.alertAtLeast) return null;
  return builds.filter(({ ok }) => !ok).length / builds.length;
}

interface Alert {
  readonly kind: string;
  /** Null: it is over, or was never so. The text says nothing that changes from minute to minute. */
  readonly text: string | null;
  readonly over: string;
  readonly facts: object;
}

/** Of the whole store: a daemon that waits for a person's release does nothing by itself. */
const quarantined = "quarantine";

export function raiseAlerts({
  store,
  config,
  clock,
  log,
  targetOf = minReadyOf,
}: {
  store: Store;
  config: Config;
  clock: Clock;
  log: Logger;
  targetOf?: TargetOf;
}): void {
  for (const pool of config.pools) {
    for (const alert of [
      failing(store, pool, clock.now()),
      cold(store, pool, clock.now()),
      cramped(store, pool, config, clock.now(), targetOf(pool)),
      soldOut(store, pool),
      short(pool, targetOf(pool)),
    ]) {
      if (alert.text === null) {
        if (store.clearFlag(alert.kind, pool.name, alert.over))
          log.info({ pool: pool.name, alert: alert.kind }, alert.over);
      } else if (store.flag(alert.kind, pool.name, alert.text)) {
        log.error({ pool: pool.name, alert: alert.kind, ...alert.facts }, alert.text);
      }
    }
  }
  raiseWaits({ store, config, clock, log });
  const doubt = store.quarantine()?.why ?? null;
  const isTold = store.flags().some(({ kind }) => kind === quarantined);
  if (doubt === null && isTold) store.clearFlag(quarantined, config.instance, "it was released");
  if (doubt !== null)
    store.flag(
      quarantined,
      config.instance,
      `nothing is bought, claimed or destroyed: ${doubt}; see \`clawpool recover status\``,
    );
  const names = config.pools.map(({ name }) => name);
  for (const { kind, subject, at } of store.flags()) {
    if (
      [buildsFail, belowFloor, cannotReplace, outOfStock, cutShort].includes(kind) &&
      !names.includes(subject)
    )
      store.clearFlag(kind, subject, "the pool is no longer configured");
    if (kind === machineFailed && isMended(store, subject, at))
      store.clearFlag(kind, subject, "a later machine of its pool did well where it failed");
  }
}

function failing(store: Store, pool: PoolConfig, now: number): Alert {
  const share = failureShare(store, pool, now) ?? 0;
  const { alertShare } = pool.failureBudget;
  const percent = Math.round(alertShare * 100);
  const told = `more than ${percent} % of the builds of pool ${pool.name} failed within an hour`;
  return {
    kind: buildsFail,
    text: share > alertShare ? told : null,
    over: `no more than ${percent} % of the builds of the last hour failed`,
    facts: { share },
  };
}

function soldOut(store: Store, pool: PoolConfig): Alert {
  const told = `none of the types of pool ${pool.name} can be bought in any of its locations`;
  return {
    kind: outOfStock,
    text: inStock(store, pool).length === 0 ? told : null,
    over: "something can be bought again, or is tried again",
    facts: {},
  };
}

function short({ name }: PoolConfig, { cutBy }: PoolTarget): Alert {
  const told = `pool ${name} wants more warm machines than ${cutBy} of all pools together leaves it`;
  return {
    kind: cutShort,
    text: cutBy === null ? null : `${told}; \`clawpool plan ${name}\` says how many`,
    over: "the pool gets what it wants",
    facts: { cutBy },
  };
}

/** Whether another machine of the pool came further than the failed one did, after it was told of. */
function isMended(store: Store, name: string, at: number): boolean {
  const failed = store.machines().find((machine) => machine.name === name);
  if (!failed) return true;
  return store
    .machines({ pool: failed.pool })
    .some(({ readyAt, state, stateSince }) =>
      failed.order === null ? (readyAt ?? 0) > at : state === "serving" && stateSince > at,
    );
}

function cold(store: Store, pool: PoolConfig, now: number): Alert {
  // One that is proved again is claimable in a second.
  const ready = warmMachines(store, pool.name).filter(
    (machine) => isClaimable(machine) || isProvedAgain(machine),
  ).length;
  const alert = { kind: belowFloor, over: `the pool has what it keeps`, facts: { ready } };
  const since = belowSince(store, pool, ready < pool.minReady ? now : null);
  if (since === null) return { ...alert, text: null };
  const measured = leadTimeMs(store, pool.plan);
  const floor = `pool ${pool.name} keeps ${pool.minReady} ready`;
  // A pool that is filled for the first time has its time; later an empty one means that the next customer waits.
  const isFirst = store.buildTimes({ pool: pool.name }, 1).length === 0;
  if (ready === 0 && !isFirst) return { ...alert, text: `${floor} and has none: the next customer waits` };
  if (now - since < (measured ?? assumedLeadMs)) {
    const told = store.flags().find(({ kind, subject }) => kind === belowFloor && subject === pool.name);
    // One ready again ends nothing that was told: it is over when all are there.
    return { ...alert, text: told?.text ?? null };
  }
  return { ...alert, text: `${floor} and has had fewer for longer than a build takes` };
}

/** Machines that are too old or stale stay for ever where nothing may be built above the floor. */
function cramped(store: Store, pool: PoolConfig, config: Config, now: number, { target }: PoolTarget): Alert {
  const { extra } = replacement(store, pool, now);
  const live = store.machines({ live: true });
  const own = live.filter((machine) => machine.pool === pool.name).length;
  const full =
    own >= pool.maxTotal
      ? `pool ${pool.name} has max_total machines`
      : "all pools together have max_total machines";
  const isFull = own >= pool.maxTotal || live.length >= config.maxTotal;
  const isBuilding = live.some(
    ({ pool: of, state, readyAt }) => of === pool.name && readyAt === null && buildingStates.includes(state),
  );
  const spare = live.filter((machine) => machine.pool === pool.name && isClaimable(machine)).length > target;
  return {
    kind: cannotReplace,
    text:
      extra > 0 && isFull && !isBuilding && !spare
        ? `${full}: ready machines that are too old or of other content cannot be replaced`
        : null,
    over: "there is room for another machine, or nothing to replace",
    facts: { live: live.length },
  };
}

/** Notes since when (epoch ms) the pool is below its floor, so that a restart does not begin to count anew. */
function belowSince(store: Store, pool: PoolConfig, below: number | null): number | null {
  const key = `floor/${pool.name}`;
  const noted = Number(store.setting(key) ?? "") || null;
  const since = below === null ? null : (noted ?? below);
  if (since !== noted) store.putSetting(key, String(since ?? ""));
  return since;
}
