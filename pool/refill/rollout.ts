/**
 * Roll-outs: when the content that a pool's machines are to have changes, one machine of it is built first (the canary). It
 * is proved, has to last (`soak`), is proved again; then the others follow, `surge` at a time, and failures stop it. What is
 * claimed or serves is never touched. Looked at after each round of the loop; where it stands is a row of the store.
 */
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import { customersStates, type Machine, type MachineState } from "../machine/machine.ts";
import type { Cause, Rollout, Store } from "../store/store.ts";
import { buildingStates } from "./budget.ts";
import { contentOf, poolOf, shownContent, wantedContent, warmMachines } from "./content.ts";
import { UnknownPoolError } from "./stop.ts";

/** Misses that retired a machine (pool/machine/ready.ts). */
const rotten = 2;

interface Context {
  readonly store: Store;
  readonly config: () => Config;
  readonly clock: Clock;
  readonly log: Logger;
}

export function advanceRollouts(context: Context): void {
  for (const pool of context.config().pools) {
    const target = wantedContent(pool, context.store);
    if (target !== null) advance(pool, target, context);
  }
}

function advance(pool: PoolConfig, target: string, context: Context): void {
  const { store } = context;
  const row = store.rollout(pool.name);
  if (row?.target !== target) {
    begin(pool, target, row, context);
    return;
  }
  if (row.paused || row.phase === "stopped") return;
  // Once it is done, builds that fail are the failure budget's.
  const failure = row.phase === "done" ? null : failureOf(row, pool, store);
  if (failure !== null) stop(row, failure, context);
  else if (row.phase === "canary") findCanary(row, context);
  else if (row.phase === "soaking") soak(row, pool, context);
  else {
    const isStale = isAnyStale(store, row);
    if (row.phase === "rolling" && !isStale)
      move(row, { phase: "done", canary: null }, "all ready machines have the content", context);
    // Built while the content changed, or changed on the machine itself.
    if (row.phase === "done" && isStale)
      move(row, { phase: "rolling" }, "a ready machine has other content", context);
  }
}

function stop(row: Rollout, reason: string, context: Context): void {
  const remedy = `\`clawpool rollout resume ${row.pool}\` tries again, another recipe begins anew`;
  const text = `roll-out of ${shownContent(row.target)} stopped: ${reason}. The machines before stay; ${remedy}`;
  context.log.error({ pool: row.pool, target: row.target }, text);
  move(row, { phase: "stopped", canary: null, reason }, text, context);
}

function begin(pool: PoolConfig, target: string, before: Rollout | null, context: Context): void {
  const { store, clock } = context;
  const now = clock.now();
  const contents = warmMachines(store, pool.name).flatMap((machine) => contentOf(machine) ?? []);
  // The first time: what is ready has proved itself, and where nothing is, there is nothing to compare with.
  const proven = before?.proven ?? contents.find((content) => content !== target) ?? target;
  const phase =
    proven !== target ? "canary" : contents.every((content) => content === target) ? "done" : "rolling";
  const why =
    before === null
      ? "the pool's content was never noted"
      : `the content changed from ${shownContent(before.target)}`;
  store.putRollout(
    {
      pool: pool.name,
      ...{ target, proven, phase, phaseSince: now, begunAt: now, countedFrom: now },
      // A person's word holds until the person takes it back.
      paused: before?.paused ?? false,
      canary: null,
      reason: null,
    },
    why,
  );
}

function move(row: Rollout, change: Partial<Rollout>, why: string, { store, clock }: Context): void {
  store.putRollout({ ...row, reason: null, ...change, phaseSince: clock.now() }, why);
}

const isAnyStale = (store: Store, { pool, target }: Rollout): boolean =>
  warmMachines(store, pool).some((machine) => ![target, null].includes(contentOf(machine)));

/** States of machines that are offered to nobody any more. */
const ended: readonly MachineState[] = ["failed", "retiring", "releasing", "destroyed"];

/** Builds that failed one after another, and machines of the content that went bad; null while it goes well. */
function failureOf(
  { pool, target, countedFrom }: Rollout,
  { rollout }: PoolConfig,
  store: Store,
): string | null {
  const begun = store
    .builds(pool, { since: countedFrom })
    .filter(({ startedAt }) => startedAt >= countedFrom);
  const builds = begun.filter(({ failure }) => failure !== "capacity");
  const run = builds.slice(builds.findLastIndex(({ ok }) => ok) + 1);
  const last = run.at(-1);
  if (last && run.length >= rollout.failures) {
    const reason = (store.machine(last.machine)?.reason ?? "no reason is known").slice(0, 300).toWellFormed();
    return `${run.length} builds failed one after another, the last, ${last.machine}: ${reason}`;
  }
  // Not all that were ever destroyed: there is no end of them.
  const bad = begun
    .flatMap(({ machine }) => store.machine(machine) ?? [])
    .filter((machine) => ended.includes(machine.state) && contentOf(machine) === target)
    // Two proofs missed, or the hand-over to a customer failed.
    .filter(({ misses, order, reason }) => misses >= rotten || (order !== null && reason !== null));
  const worst = bad.at(-1);
  if (!worst || bad.length < rollout.failures) return null;
  return `${bad.length} machines of it went bad, the last, ${worst.name}: ${worst.reason}`;
}

/** So long after it began the refill has had its turn: what it needs is on its way, or nothing will be. */
const begunMs = 60_000;

/**
 * The first that got ready since the roll-out began, planned before or not; also one that a customer got at once: the pool
 * was empty. Where nothing is stale, or as many are ready as the pool may have meanwhile (content that comes back, or a store
 * that came back older), no other will be built, so any that has the content will do.
 */
function findCanary(row: Rollout, context: Context): void {
  const { store, clock } = context;
  const made = store
    .machines({ pool: row.pool, states: ["ready", "claimed", "handing-over", "serving"] })
    .filter((machine) => contentOf(machine) === row.target && troubleOf(machine, store) === null);
  const isOnItsWay = store
    .machines({ pool: row.pool, states: buildingStates })
    .some(({ readyAt, held }) => readyAt === null && held === null);
  const isToBeBuilt = isAnyStale(store, row) && (isOnItsWay || clock.now() < row.phaseSince + begunMs);
  const canary =
    made.find(({ readyAt }) => (readyAt ?? 0) >= row.countedFrom) ??
    (isToBeBuilt ? undefined : made.find(({ state }) => state === "ready"));
  if (!canary) return;
  const why = `${canary.name} is the first of it to be ready`;
  move(row, { phase: "soaking", canary: canary.name }, why, context);
}

function soak(row: Rollout, pool: PoolConfig, context: Context): void {
  const { store, clock } = context;
  const canary = row.canary === null ? null : store.machine(row.canary);
  if (!canary) return;
  const until = row.phaseSince + pool.rollout.soakMs;
  const isOver = clock.now() >= until;
  const trouble = troubleOf(canary, store);
  const another = (why: string) =>
    move(row, { phase: "canary", canary: null }, `${canary.name} ${why}`, context);
  if (pool.rollout.soakMs === 0 || (isOver && trouble === null && hasLasted(canary, until))) {
    move(row, { phase: "rolling", proven: row.target }, `${canary.name} has lasted`, context);
  } else if (canary.misses >= rotten) {
    stop(row, `the first machine of it, ${canary.name}, went bad: ${canary.reason}`, context);
  } else if (!lasting.includes(canary.state)) {
    // A hand-over that failed is counted; that a person took it, or the pool became smaller, says nothing of its content.
    another("is gone");
  } else if (isOver && trouble !== null) {
    // It may be the customer's own doing.
    another(`serves a customer, and is ${trouble}`);
  }
}

const lasting: readonly MachineState[] = ["ready", "proving", "claimed", "handing-over", ...customersStates];

/** One that waits was proved again when the soak was over. One that was sold before is known by its heartbeats. */
const hasLasted = ({ state, misses, provedAt }: Machine, until: number): boolean =>
  customersStates.includes(state) || (state === "ready" && misses === 0 && (provedAt ?? 0) >= until);

/** What the heartbeats of a machine that serves found; null when it is well. */
const troubleOf = ({ name }: Machine, store: Store): string | null =>
  store.healths().find(({ machine, state }) => machine === name && state !== "healthy")?.state ?? null;

/** The soak is over, and the canary is to be proved by the real path once more. */
export function isCanaryDue(machine: Machine, pool: PoolConfig, row: Rollout | null, now: number): boolean {
  if (row?.phase !== "soaking" || row.canary !== machine.name) return false;
  const until = row.phaseSince + pool.rollout.soakMs;
  return now >= until && (machine.provedAt ?? 0) < until;
}

/** Content that no canary has lasted with is built one at a time: what is wrong with it should cost one machine. */
export const isUnproven = (row: Rollout | null): boolean =>
  row?.phase === "canary" || row?.phase === "soaking" || row?.phase === "stopped";

export interface RolloutChange {
  readonly pool: string;
  readonly phase: Rollout["phase"];
  /** False when there was nothing to do. */
  readonly changed: boolean;
}

/** Nothing is replaced until it is resumed. @throws UnknownPoolError */
export function pauseRollout(context: Pick<Context, "store" | "config">, pool: string | null, actor: string) {
  return each(context, pool, (row) => {
    if (row.paused) return false;
    context.store.putRollout({ ...row, paused: true }, `${actor} paused it`, { actor });
    return true;
  });
}

/** What was paused goes on; what was stopped begins anew with a canary, its failures forgotten. @throws UnknownPoolError */
export function resumeRollout(
  context: Pick<Context, "store" | "config" | "clock">,
  pool: string | null,
  actor: string,
) {
  const cause: Cause = { actor };
  return each(context, pool, (row) => {
    const why = `${actor} resumed it`;
    const now = context.clock.now();
    if (row.phase === "stopped") {
      const anew = { phase: "canary", phaseSince: now, countedFrom: now, reason: null } as const;
      context.store.putRollout({ ...row, ...anew, paused: false }, why, cause);
    } else if (row.paused) context.store.putRollout({ ...row, paused: false }, why, cause);
    else return false;
    return true;
  });
}

function each(
  { store, config }: Pick<Context, "store" | "config">,
  name: string | null,
  work: (row: Rollout) => boolean,
): RolloutChange[] {
  const known = config().pools.map((pool) => pool.name);
  if (name !== null && poolOf(config(), name) === null)
    throw new UnknownPoolError(`there is no pool ${name}; known: ${known.join(", ")}`);
  return (name === null ? known : [name]).flatMap((pool) => {
    const row = store.rollout(pool);
    if (!row) return [];
    const changed = work(row);
    return [{ pool, phase: store.rollout(pool)?.phase ?? row.phase, changed }];
  });
}
