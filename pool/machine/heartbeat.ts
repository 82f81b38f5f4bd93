/**
 * Heartbeats of machines that serve: about once a minute each, a bounded number at once, one call to the machine and one
 * look at the tailnet for all of them. Two looks in a row that find trouble make it so; a gateway or a tailscaled that is
 * down is restarted, a bounded number of times; the operator is told at once, the customer when trouble of whichever kind
 * lasts. A heartbeat never destroys, and leaves alone what was switched off on purpose or is suspended.
 */
import { hourMs } from "../clock.ts";
import { BorderError } from "../errors.ts";
import { createLoop, type Loop } from "../loop.ts";
import type { Health } from "../store/store.ts";
import type { TailnetDevice } from "../tailnet/tailnet.ts";
import type { Asker } from "./ask.ts";
import { target } from "./boot.ts";
import { type Diagnosis, diagnose } from "./diagnose.ts";
import type { Machine, MachineName } from "./machine.ts";
import type { RepairedUnit } from "./protocol.ts";
import type { Next, StageContext } from "./stage.ts";

/** Behind a repair. */
const againMs = 20_000;
/** Behind the first repair; doubles with each of the last hour. */
const repairPauseMs = 120_000;
/** Trouble that is seen so often is none yet: a gateway whose customer restarts it is away for up to a minute. */
const missesAllowed = 1;

export interface HeartbeatOptions {
  readonly context: StageContext;
  readonly asker: Asker;
  /** Told of each repair, and whether the machine's program says that it did well. */
  readonly onRepair: (ok: boolean) => void;
}

export function createHeartbeats({ context, asker, onRepair }: HeartbeatOptions): Loop {
  const { store, clock, random, config, log } = context;
  const devices = deviceList(context);
  const known = new Set<MachineName>();
  const serving = () =>
    store.machines({ states: ["serving"] }).filter(({ held, withheld }) => held === null && !withheld);
  const everyMs = () => Math.round(config().serving.heartbeatMs * (0.9 + 0.2 * random.number()));

  async function beat(name: MachineName): Promise<Next> {
    const machine = store.machine(name);
    if (machine?.state !== "serving") return { againInMs: Number.POSITIVE_INFINITY };
    // After a start all are due at once: each begins at a time of its own.
    if (!known.has(name)) {
      known.add(name);
      return { againInMs: Math.round(config().serving.heartbeatMs * random.number()) };
    }
    const before = store.healths().find((health) => health.machine === name) ?? healthy(machine);
    const seen = await look(machine);
    if (store.machine(name)?.state !== "serving") return { againInMs: Number.POSITIVE_INFINITY };
    const after = take(before, seen);
    if (JSON.stringify(after) !== JSON.stringify(before))
      store.putHealth(after, seen.reason ?? "it answers and works");
    if (after.state !== "degraded" || !seen.repair || !mayRepair(after)) return { againInMs: everyMs() };
    await repair(machine, seen.repair, after);
    return { againInMs: Math.min(againMs, everyMs()) };
  }

  async function look(machine: Machine): Promise<Diagnosis> {
    try {
      const [reply, list] = await Promise.all([
        asker.ask(machine.name, target(machine, context, "root"), { op: "health" }),
        devices(),
      ]);
      const wanted = machine.tailnetNode !== null && list !== null;
      const device = wanted ? (list.find(({ nodeId }) => nodeId === machine.tailnetNode) ?? null) : undefined;
      return diagnose(reply, device);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const answers = error instanceof BorderError && error.border === "machine";
      return { state: answers ? "degraded" : "unreachable", reason, repair: null };
    }
  }

  /** The row behind this look. */
  function take(before: Health, { state, reason }: Diagnosis): Health {
    const now = clock.now();
    const repairs = before.repairs.filter((at) => at > now - hourMs);
    if (state === "healthy") {
      const since = before.state === "healthy" ? before.since : now;
      return { ...before, repairs, state, since, misses: 0, reason: null, told: false };
    }
    const tellMs = config().serving.tellCustomerAfterMs;
    if (before.state !== "healthy") {
      // Kinds of trouble that take turns are one trouble to whoever cannot use the agent.
      const goesOn = (before.state === "stopped") === (state === "stopped");
      const since = goesOn ? before.since : now;
      const told = before.told || (state !== "stopped" && tellMs !== null && now - since >= tellMs);
      return { ...before, repairs, state, since, reason, told };
    }
    const misses = before.misses + 1;
    if (misses <= missesAllowed) return { ...before, repairs, misses, reason };
    if (state === "unreachable" && areMostSilent())
      return { ...before, repairs, misses: missesAllowed, reason };
    log.warn({ machine: before.machine, state }, reason ?? state);
    return { ...before, repairs, state, since: now, misses, reason };
  }

  /** More than half of three or more: that is rather our own network, and customers are not to be told of it. */
  function areMostSilent(): boolean {
    const all = serving().length;
    const silent = store
      .healths()
      .filter(({ misses, state }) => misses > 0 && ["healthy", "unreachable"].includes(state));
    const most = all >= 3 && silent.length * 2 > all;
    const text = "most machines that serve do not answer at once, as if our own network did: none is judged";
    if (most && store.flag(silentFlag, config().instance, text))
      log.error({ silent: silent.length, all }, text);
    return most;
  }

  function mayRepair({ repairs }: Health): boolean {
    const last = repairs.at(-1);
    if (repairs.length >= config().serving.repairsPerHour) return false;
    return last === undefined || clock.now() >= last + repairPauseMs * 2 ** (repairs.length - 1);
  }

  async function repair(machine: Machine, unit: RepairedUnit, health: Health): Promise<void> {
    const now = clock.now();
    const why = health.reason ?? "degraded";
    // Counted before it is tried: a daemon that dies of it must not try for ever.
    store.putHealth({ ...health, repairs: [...health.repairs, now] }, why);
    let error: string | null = null;
    try {
      // A machine of before knows only the gateway's repair, and that without a name.
      const question = unit === "gateway" ? ({ op: "repair" } as const) : ({ op: "repair", unit } as const);
      const reply = await asker.ask(machine.name, target(machine, context, "root"), question);
      const works = unit === "gateway" ? reply.gateway : reply.tailnet !== "unreachable";
      if (!works) error = `${unit} does not answer after its restart`;
    } catch (thrown) {
      error = thrown instanceof Error ? thrown.message : String(thrown);
    }
    const ms = clock.now() - now;
    store.audit("daemon", "machine.repaired", machine.name, { why, unit, ok: error === null, ms, error });
    onRepair(error === null);
  }

  function forgetOthers(): void {
    const names = new Set(serving().map(({ name }) => name));
    for (const name of known) {
      if (names.has(name)) continue;
      known.delete(name);
      asker.drop(name);
    }
    const healths = store.healths();
    for (const { machine } of healths)
      if (!names.has(machine)) store.dropHealth(machine, "it no longer serves");
    const silent = healths.filter(({ misses }) => misses > 0).length;
    if (silent * 2 <= names.size) store.clearFlag(silentFlag, config().instance, "most machines answer");
  }

  return createLoop({
    clock,
    log,
    // The row's `nextLookAt` is the other loop's.
    live: () => serving().map((machine) => ({ ...machine, nextLookAt: 0 })),
    reconcile: beat,
    afterRound: forgetOthers,
    needsSlot: () => true,
    maxParallelBuilds: () => config().serving.parallel,
    heartbeatMs: 30_000,
  });
}

const silentFlag = "serving-unreachable";

const healthy = ({ name, stateSince }: Machine): Health => ({
  machine: name,
  state: "healthy",
  since: stateSince,
  misses: 0,
  reason: null,
  repairs: [],
  told: false,
});

/** Tailscale's list of our devices, asked once for all machines of the same half minute; null while it does not answer. */
function deviceList({ tailnet, clock, config, log }: StageContext): () => Promise<TailnetDevice[] | null> {
  let asked: { readonly at: number; readonly list: Promise<TailnetDevice[] | null> } | null = null;
  return () => {
    const tag = config().tailnet?.tags[0];
    if (!tailnet || !tag) return Promise.resolve(null);
    if (asked && clock.now() - asked.at < config().serving.heartbeatMs / 2) return asked.list;
    const list = tailnet.devices(tag).catch((err: unknown) => {
      log.warn({ err }, "Tailscale does not tell which devices are connected");
      return null;
    });
    asked = { at: clock.now(), list };
    return list;
  };
}
