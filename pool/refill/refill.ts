/**
 * Keeps every pool at its wanted number of warm machines: writes intents, nothing else. What is being built counts, and
 * what is queued for is built on top, so that a customer who found the pool empty does not wait for the pool's own
 * refill. The caps hold in the store's transaction, not here.
 */
import type { Clock } from "../clock.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import { isClaimable, type Machine, newName } from "../machine/machine.ts";
import { placementGroupsFor } from "../platform/platform.ts";
import { type Random, systemRandom } from "../random.ts";
import { minReadyOf, type PoolTarget, type TargetOf } from "../sizing/target.ts";
import type { Store } from "../store/store.ts";
import { allowed, buildingStates, comingStates, newestBuilds } from "./budget.ts";
import { nextOffer, oldestOffer, uncovered, waiting } from "./offers.ts";
import { replacement } from "./replace.ts";
import { isUnproven } from "./rollout.ts";
import { type PoolState, steps } from "./steps.ts";

/** What of the pool is ready or on the way, and who waits for it. */
function stateOf(
  pool: PoolConfig,
  machines: readonly Machine[],
  waiting: number,
): PoolState<Machine> & { readonly coming: number } {
  const coming = machines.filter(
    (machine) => machine.pool === pool.name && machine.held === null && comingStates.includes(machine.state),
  );
  const ready = coming.filter(({ state }) => state === "ready");
  return { ready, building: coming.length - ready.length, queued: 0, waiting, coming: coming.length };
}

/** How many machines the pool lacks. @param extra those above its target that others are to be replaced by */
function missing(
  pool: PoolConfig,
  machines: readonly Machine[],
  queued: number,
  wanted: PoolTarget,
  extra: number,
  now: number,
): number {
  const target = wanted.target + extra;
  return steps(stateOf(pool, machines, queued), { target, keep: target }, now).build;
}

/**
 * Why a machine that is not begun is not needed any more: it costs nothing yet, so it goes before anything that is paid
 * for. Null: it is needed. Only to be asked when nothing of it exists.
 */
export function callOff(
  store: Store,
  config: Config,
  machine: Machine,
  targetOf: TargetOf,
  now: number,
): string | null {
  const pool = config.pools.find(({ name }) => name === machine.pool);
  if (!pool || isUnproven(store.rollout(pool.name))) return null;
  const { target, atOnce } = targetOf(pool);
  // A fixed number hardly ever falls: what was begun for it is finished, and goes when it is ready.
  if (atOnce) return null;
  const { extra } = replacement(store, pool, now);
  const state = stateOf(pool, store.machines({ live: true }), store.queued(pool.plan));
  const wanted = { target: target + extra, keep: target + extra };
  if (steps({ ...state, building: state.building - 1, queued: 1 }, wanted, now).callOff === 0) return null;
  // It may be too many and still the only one where an order wants it.
  if (uncovered(store, config, pool, machine.name).length > 0) return null;
  return `not begun, and the pool keeps ${target} now`;
}

/**
 * Retires what the pool has too much of: machines that others stand for now (replace.ts), and what is too many for a
 * smaller target or after an order that ended while it waited. Never below what the pool keeps.
 */
export function trim(store: Store, config: Config, now: number, targetOf: TargetOf = minReadyOf): Machine[] {
  return config.pools.flatMap((pool) => {
    const { target, keep, atOnce } = targetOf(pool);
    const { going, stale, kept } = replacement(store, pool, now);
    const queued = store.queued(pool.plan);
    const ready = store.machines({ pool: pool.name, states: ["ready"] }).filter(isClaimable);
    // One that missed its last proof may be bad: it does not stand for another.
    const sound = ready.filter(({ misses }) => misses === 0);
    const over = Math.max(0, sound.length - target - queued);
    const replaced = going
      .filter(({ machine }) => sound.some(({ name }) => name === machine.name))
      .slice(0, over)
      .map(({ machine, reason }) => retire(store, machine, reason));
    const left = ready.filter(({ name }) => !replaced.some((machine) => machine.name === name));
    const isStale = ({ name }: Machine) => Number(stale.some((machine) => machine.name === name));
    // The oldest first: they are the next to be replaced for their age anyway.
    const surplusFirst = left.sort(
      (a, b) => isStale(b) - isStale(a) || b.misses - a.misses || (a.readyAt ?? 0) - (b.readyAt ?? 0),
    );
    const state = { ready: surplusFirst, building: 0, queued: 0, waiting: queued };
    const surplus = steps(state, { target: target + kept, keep: keep + kept, atOnce }, now).retire;
    const reason = `the pool keeps ${target}`;
    return [...replaced, ...surplus.map((machine) => retire(store, machine, reason))];
  });
}

const retire = (store: Store, { name }: Machine, reason: string): Machine =>
  store.changeMachine(name, "ready", { state: "retiring", reason }, reason);

/** Writes the intents that are missing and that the failure budget allows; stops at the first cap. */
export function refill(
  store: Store,
  config: Config,
  clock: Clock,
  random: Random = systemRandom,
  targetOf: TargetOf = minReadyOf,
): Machine[] {
  const planned: Machine[] = [];
  for (const pool of config.pools) {
    const live = store.machines({ live: true });
    // One machine at a time for each customer.
    const queued = waiting(store, pool.plan).length;
    const now = clock.now();
    const wants = targetOf(pool);
    const { extra } = replacement(store, pool, now);
    // What is ready in another region serves nobody who waits.
    const lacks = Math.max(
      missing(pool, live, queued, wants, extra, now),
      uncovered(store, config, pool).length,
    );
    const lacking = atMost(lacks, store, pool, live, queued);
    if (lacking === 0) continue;
    const demand = { wanted: lacking, queued, live };
    const pace = perMinute(store, pool, demand, now);
    for (let wanted = Math.min(allowed(store, pool, demand, now), pace); wanted > 0; wanted--) {
      const why = `pool ${pool.name} keeps ${wants.target}, ${queued} orders wait, ${extra} replace others: it lacks ${lacking}`;
      const machine = planOne(store, config, pool, clock, random, why);
      if (!machine) {
        makeRoom(store, config, pool, queued);
        break;
      }
      planned.push(machine);
    }
  }
  return planned;
}

/** Content that nothing has lasted with is tried one machine at a time, but for orders that wait. */
function atMost(
  lacking: number,
  store: Store,
  pool: PoolConfig,
  live: readonly Machine[],
  queued: number,
): number {
  if (!isUnproven(store.rollout(pool.name))) return lacking;
  const building = live.filter(
    ({ pool: of, state, readyAt }) => of === pool.name && readyAt === null && buildingStates.includes(state),
  );
  return Math.min(lacking, Math.max(1, queued) - Math.min(building.length, Math.max(1, queued)));
}

/** `max_builds_per_minute`; what orders wait for goes beyond it. */
function perMinute(
  store: Store,
  { name, maxBuildsPerMinute }: PoolConfig,
  { queued, live }: { readonly queued: number; readonly live: readonly Machine[] },
  now: number,
): number {
  if (maxBuildsPerMinute === null) return Number.POSITIVE_INFINITY;
  const since = now - 60_000;
  const own = live.filter((machine) => machine.pool === name);
  const begun = new Set([
    ...own.filter(({ createdAt }) => createdAt > since).map((machine) => machine.name),
    // Those that have failed and are gone already.
    ...store
      .builds(name, { limit: newestBuilds })
      .filter(({ startedAt }) => startedAt > since)
      .map(({ machine }) => machine),
  ]);
  const building = own.filter(({ state }) => buildingStates.includes(state)).length;
  return Math.max(0, maxBuildsPerMinute - begun.size, queued - building);
}

/** A customer who waits for a build is worth more than a look at a failed one. */
function makeRoom(store: Store, config: Config, pool: PoolConfig, queued: number): void {
  const live = store.machines({ live: true });
  const building = live.filter(({ pool: of, state }) => of === pool.name && buildingStates.includes(state));
  if (building.length >= queued) return;
  const specimens = live.filter(({ state, specimenUntil }) => state === "failed" && specimenUntil !== null);
  const own = specimens.find((machine) => machine.pool === pool.name);
  const specimen = own ?? (live.length >= config.maxTotal ? specimens[0] : undefined);
  if (!specimen) return;
  const why = "an order waits and needs its place";
  store.changeMachine(specimen.name, "failed", { specimenUntil: null }, why);
}

function planOne(
  store: Store,
  config: Config,
  pool: PoolConfig,
  clock: Clock,
  random: Random,
  why: string,
): Machine | null {
  const bootHostKey = random.keyPair();
  const { serverType, location } = nextOffer(store, config, pool) ?? oldestOffer(store, config, pool);
  const groups = placementGroupsFor(config.maxTotal);
  return store.planMachine(
    {
      name: newName(config.instance, newSuffix(random)),
      pool: pool.name,
      plan: pool.plan,
      serverType,
      location,
      image: pool.image,
      placementGroup: emptiestGroup(store.machines({ live: true }), groups),
      deadline: clock.now() + config.deadlines.creatingMs,
      hostKey: bootHostKey.publicKey,
      secrets: {
        controllerKey: random.keyPair().privateKey.expose(),
        bootHostKey: bootHostKey.privateKey.expose(),
        poolToken: random.bytes(32).toString("base64url"),
      },
    },
    { maxTotal: pool.maxTotal, maxTotalAll: config.maxTotal },
    why,
  );
}

function emptiestGroup(live: readonly Machine[], groups: number): number {
  const sizes = Array.from({ length: groups }, () => 0);
  for (const machine of live) sizes[machine.placementGroup] = (sizes[machine.placementGroup] ?? 0) + 1;
  return sizes.indexOf(Math.min(...sizes));
}

/** Ten characters of lower-case base32: 50 bits, so that a name never comes back. */
function newSuffix(random: Random): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  return Array.from(random.bytes(10), (byte) => alphabet[byte % 32]).join("");
}
