/** Which stage works on which state, and what becomes of a machine whose stage failed. The loop calls `reconcile`. */

import type { Config } from "../config/config.ts";
import { BorderError } from "../errors.ts";
import type { AgentSecrets } from "../order/order.ts";
import { nextOffer, orderLimits } from "../refill/offers.ts";
import { withoutSecrets } from "../secrets/secret.ts";
import { type Failure, type Freeze, StaleRowError } from "../store/store.ts";
import { planRefused } from "../terraform/plan-guard.ts";
import { holdAnothers, isAnothers } from "./another-order.ts";
import { boot } from "./boot.ts";
import { create, plan } from "./create.ts";
import { destroy, failed } from "./destroy.ts";
import { claimed, handOver } from "./hand-over.ts";
import { isProvedAgain, type Machine, type MachineName, type MachineState } from "./machine.ts";
import { type Refusal, verdict } from "./policy.ts";
import { prepare } from "./prepare.ts";
import { prove } from "./prove.ts";
import { keepReady, missed } from "./ready.ts";
import { serve } from "./serve.ts";
import { atOnce, type Next, type Stage, type StageContext } from "./stage.ts";
import { resuming, suspended, suspending } from "./suspend.ts";

const stages: Readonly<Record<MachineState, Stage | null>> = {
  planned: plan,
  creating: create,
  booting: boot,
  preparing: prepare,
  proving: prove,
  ready: keepReady,
  claimed,
  "handing-over": handOver,
  serving: serve,
  suspending,
  suspended,
  resuming,
  releasing: destroy,
  retiring: destroy,
  failed,
  destroyed: null,
};

/** States whose failure is answered by trying again for ever: giving up there would forget a server that costs money. */
const neverGiveUp: readonly MachineState[] = [
  "serving",
  "suspending",
  "suspended",
  "resuming",
  "releasing",
  "retiring",
];

/** States whose deadline is no end: the stage itself does something else behind it. */
const outlasts: readonly MachineState[] = ["suspending", "resuming"];

/** After this many tries of a destroy a person is told, once. */
const alertAfterTries = 10;

/** The kind of the flag of an order that waits for somebody else. */
const waits = "hand-over-waits";

/** The kind of the flag of a machine that one cannot go on with. */
const stuck = "stuck";

/** Tries after which a person is told that an order waits for somebody else: with back-off about a minute. */
const tellAfterTries = 5;

/** A stage that is told to end at its deadline may take so long; where a customer waits it may not. */
const endingMs = (state: MachineState): number => (state === "handing-over" ? 0 : 15_000);

/**
 * Looks at one machine once. Never throws: a stage's error becomes a retry, another offer, or a failed machine. Ends
 * soon after the state's deadline, also when the stage hangs: what that still does is refused by the row.
 * @returns when to look again.
 */
export async function reconcile(
  name: MachineName,
  context: StageContext,
  signal: AbortSignal,
): Promise<Next> {
  const { store, clock, log } = context;
  const machine = store.machine(name);
  const stage = machine && stages[machine.state];
  if (!machine || !stage) return { againInMs: Number.POSITIVE_INFINITY };
  try {
    const isLate = machine.deadline !== null && clock.now() >= machine.deadline;
    if (isLate && !outlasts.includes(machine.state)) {
      const reason = `still ${machine.state} at its deadline`;
      if (isProvedAgain(machine)) return missed(machine, new Error(reason), context);
      return giveUp(machine, { step: machine.state, reason }, late, context);
    }
    const next = await untilDeadline(machine, stage(machine, context, signal), context);
    wentOn(machine, context);
    return next;
  } catch (error) {
    if (error instanceof StaleRowError) return { againInMs: 0 };
    const isOver = signal.aborted && !(error instanceof HungError) && !outlasts.includes(machine.state);
    if (isOver) return { againInMs: 0 };
    log.warn({ machine: name, state: machine.state, order: machine.order, err: error }, "stage failed");
    return answer(machine, error, context);
  }
}

/** Nobody's fault that we know of. */
const late = { alert: false, charged: true, again: true } as const;

class HungError extends Error {}

/** Why a wait is over; made once, as each `abort()` would make an exception with its stack. */
const over = new Error("over");

/** @throws HungError when the look lasts beyond the state's deadline */
async function untilDeadline(machine: Machine, look: Promise<Next>, { clock }: StageContext): Promise<Next> {
  if (machine.deadline === null || outlasts.includes(machine.state)) return look;
  look.catch(() => {}); // nobody may be there any more when it fails
  const ended = new AbortController();
  const ms = machine.deadline - clock.now() + endingMs(machine.state);
  const hung = clock.delay(ms, ended.signal).then(() => {
    if (!ended.signal.aborted) throw new HungError(`hung while ${machine.state}`);
    return look;
  });
  hung.catch(() => {}); // the same
  return Promise.race([look, hung]).finally(() => ended.abort(over));
}

function answer(machine: Machine, error: unknown, context: StageContext): Next {
  const { store, clock, config, random, log } = context;
  const now = store.machine(machine.name);
  // The stage may have moved the machine before it failed; what it is now is looked at anew.
  if (!now || now.state !== machine.state) return { againInMs: 0 };
  const failure = failureOf(machine, error, context);
  if (isAnothers(error, machine)) return holdAnothers(now, failure, context);
  if (isProvedAgain(machine)) return missed(machine, error, context);
  const { reason } = failure;
  if (error instanceof HungError) {
    // What hangs may hold the machine's folder; its destruction then waits, and somebody should know.
    store.flag(stuck, machine.name, `${machine.name} ${reason}; it is given up`);
    return giveUp(machine, failure, late, context);
  }
  // What the stage learned meanwhile counts, e.g. that a server was made.
  const decided = verdict(error, now, random.number);
  if ("freeze" in decided && decided.freeze && freeze(decided.freeze, reason, context)) {
    log.error({ machine: machine.name, ...decided.freeze }, "nothing is bought meanwhile");
  }
  if (neverGiveUp.includes(machine.state)) {
    // Else it would be told after ten minutes only, and no try can do better before somebody has changed something.
    if (error instanceof BorderError && error.code === planRefused)
      store.flag(stuck, machine.name, `${machine.name} is ${machine.state}: ${reason}`);
    return again(now, reason, "afterMs" in decided ? decided.afterMs : 60_000, context);
  }
  switch (decided.do) {
    case "retry":
      return again(now, reason, decided.afterMs, context);
    case "wait": {
      const attempts = machine.attempts + 1;
      const { afterMs } = decided;
      const deadline = clock.now() + afterMs + allowanceMs(machine.state, config());
      const nextLookAt = clock.now() + afterMs;
      store.changeMachine(machine.name, machine.state, { attempts, deadline, nextLookAt }, reason);
      if (machine.order && (attempts >= tellAfterTries || decided.freeze)) {
        const told = store.flags().some(({ kind, subject }) => kind === waits && subject === machine.order);
        const text = `order ${machine.order} waits on ${machine.name}: ${reason}`;
        if (!told) store.flag(waits, machine.order, text);
      }
      return { againInMs: afterMs };
    }
    case "next-offer":
      return tryNextOffer(now, failure, context);
    case "fail":
      return giveUp(machine, failure, decided, context);
  }
}

function again(machine: Machine, reason: string, afterMs: number, { store, clock }: StageContext): Next {
  const attempts = machine.attempts + 1;
  const nextLookAt = clock.now() + afterMs;
  store.changeMachine(machine.name, machine.state, { attempts, nextLookAt }, reason);
  if (attempts === alertAfterTries && neverGiveUp.includes(machine.state)) {
    const text = `${machine.name} is ${machine.state} after ${attempts} tries: ${reason}`;
    store.flag(stuck, machine.name, text);
  }
  return { againInMs: afterMs };
}

/** A try did well at last: what was told of the others is over, and they are counted anew. */
function wentOn({ name, state, attempts }: Machine, { store }: StageContext): void {
  if (attempts === 0 || !neverGiveUp.includes(state)) return;
  const why = "a later try did well";
  store.clearFlag(stuck, name, why);
  if (attempts < alertAfterTries) return;
  const now = store.machine(name);
  if (now && now.state === state && now.attempts > 0) store.changeMachine(name, state, { attempts: 0 }, why);
}

/** Full time again for what had to wait through no fault of its own. */
function allowanceMs(state: MachineState, { deadlines }: Config): number {
  switch (state) {
    case "creating":
      return deadlines.creatingMs;
    case "booting":
      return deadlines.bootingMs;
    case "preparing":
      return deadlines.preparingMs;
    case "proving":
      return deadlines.provingMs;
    default:
      return deadlines.handingOverMs;
  }
}

const accounts: Readonly<Record<Freeze["border"], string>> = { cloud: "Hetzner", tailnet: "Tailscale" };

/** @returns true when that is news */
function freeze({ border, kind }: Refusal, reason: string, { store }: StageContext): boolean {
  const why = kind === "quota" ? "lets us have no more" : "refuses our credential";
  const text =
    `${accounts[border]} ${why}: ${reason}. No machine is built meanwhile but one now and then, to see whether ` +
    "it is over; `clawpool resume` tries at once";
  return store.freeze(border, { kind, reason, text });
}

/** The type and location have none to sell: remembered for the builds after this one, which goes on elsewhere. */
function tryNextOffer(machine: Machine, failure: Failure, context: StageContext): Next {
  const { store, clock, config } = context;
  const { serverType, location } = machine;
  const until = clock.now() + config().stockMemoryMs;
  store.recordStockOut({ serverType, location, until }, failure.reason);
  const pool = config().pools.find(({ name }) => name === machine.pool);
  const offer = pool ? nextOffer(store, config(), pool, machine) : null;
  if (!offer) {
    return giveUp(machine, failure, { alert: false, charged: false, again: true }, context);
  }
  const why = `${location} has no ${serverType} to sell: ${failure.reason}`;
  store.changeMachine(machine.name, machine.state, { ...offer, attempts: 0 }, why);
  return atOnce;
}

function failureOf(machine: Machine, error: unknown, { store }: StageContext): Failure {
  const secrets = [
    ...Object.values(store.machineSecrets(machine.name)),
    ...(machine.order ? secretsOf(store.agentSecrets(machine.order)) : []),
  ];
  const text = error instanceof Error ? error.message : String(error);
  const { kind = null, run = null, log = null } = error instanceof BorderError ? error : {};
  return {
    step: machine.state,
    reason: withoutSecrets(text, secrets),
    failure: kind,
    run,
    log: log === null ? null : withoutSecrets(log, secrets).slice(-longestLog).toWellFormed(),
  };
}

const secretsOf = ({ env, gatewayToken }: AgentSecrets): string[] => [gatewayToken, ...Object.values(env)];

/** Characters of a run's output that an order's history keeps. */
const longestLog = 4_000;

function giveUp(
  machine: Machine,
  failure: Failure,
  { alert, charged, again }: { alert: boolean; charged: boolean; again: boolean },
  { store, armed, config, poke }: StageContext,
): Next {
  armed.drop(machine.name);
  const { reason } = failure;
  if (alert) store.flag("machine-failed", machine.name, `${machine.name} (${machine.state}): ${reason}`);
  const limits = orderLimits(config(), machine.pool);
  if (machine.order && (machine.state === "claimed" || machine.state === "handing-over")) {
    const { machine: next } = store.recordHandOverFailure(machine.name, failure, { ...limits, again });
    if (next) poke(next.name);
  } else if (machine.state === "ready") {
    const change = { state: "retiring", deadline: null, reason } as const;
    store.changeMachine(machine.name, machine.state, change, reason);
  } else {
    store.recordBuildFailure(machine.name, machine.state, failure, charged ? limits : null);
  }
  return atOnce;
}
