/** Which stage works on which state, and what becomes of a machine whose stage failed. The loop calls `reconcile`. */

import { BorderError, type BorderErrorKind } from "../errors.ts";
import { StaleRowError } from "../store/store.ts";
import { boot } from "./boot.ts";
import { create, plan } from "./create.ts";
import { destroy, failed } from "./destroy.ts";
import { claimed, handOver } from "./hand-over.ts";
import { isProvedAgain, type Machine, type MachineName, type MachineState } from "./machine.ts";
import { verdict } from "./policy.ts";
import { prepare } from "./prepare.ts";
import { prove } from "./prove.ts";
import { keepReady, missed } from "./ready.ts";
import { serve } from "./serve.ts";
import type { Next, Stage, StageContext } from "./stage.ts";
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

/**
 * Looks at one machine once. Never throws: a stage's error becomes a retry, another location, or a failed machine.
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
      const late = `still ${machine.state} at its deadline`;
      if (isProvedAgain(machine)) return missed(machine, new Error(late), context);
      giveUp(machine, late, context, false);
      return { againInMs: 0 };
    }
    const next = await stage(machine, context, signal);
    return next;
  } catch (error) {
    if (error instanceof StaleRowError) return { againInMs: 0 };
    if (signal.aborted && !outlasts.includes(machine.state)) return { againInMs: 0 };
    log.warn({ machine: name, state: machine.state, err: error }, "stage failed");
    return answer(machine, error, context);
  }
}

function answer(machine: Machine, error: unknown, context: StageContext): Next {
  const { store, clock, random } = context;
  const now = store.machine(machine.name);
  // The stage may have moved the machine before it failed; what it is now is looked at anew.
  if (!now || now.state !== machine.state) return { againInMs: 0 };
  if (isProvedAgain(machine)) return missed(machine, error, context);
  const reason = error instanceof Error ? error.message : String(error);
  const decided = verdict(error, machine, random.number);
  if (decided.do === "retry" || neverGiveUp.includes(machine.state)) {
    const afterMs = decided.do === "retry" ? decided.afterMs : 60_000;
    const attempts = machine.attempts + 1;
    const nextLookAt = clock.now() + afterMs;
    store.changeMachine(machine.name, machine.state, { attempts, nextLookAt }, reason);
    if (attempts === alertAfterTries && neverGiveUp.includes(machine.state)) {
      store.flag(
        "stuck",
        machine.name,
        `${machine.name} is ${machine.state} after ${attempts} tries: ${reason}`,
      );
    }
    return { againInMs: afterMs };
  }
  if (decided.do === "next-location") {
    const location = nextLocation(machine, context);
    if (location) {
      const change = { location, attempts: 0 };
      store.changeMachine(
        machine.name,
        machine.state,
        change,
        `${machine.location} has none to sell: ${reason}`,
      );
      return { againInMs: 0 };
    }
  }
  const kind = error instanceof BorderError ? error.kind : null;
  giveUp(machine, reason, context, decided.do !== "fail" || decided.alert, kind);
  return { againInMs: 0 };
}

/** The pool's locations in order; a machine begins at the first, so behind the last one all were tried. */
function nextLocation(machine: Machine, { config }: StageContext): string | null {
  const pool = config().pools.find((candidate) => candidate.name === machine.pool);
  return pool?.locations[pool.locations.indexOf(machine.location) + 1] ?? null;
}

function giveUp(
  machine: Machine,
  reason: string,
  { store, armed }: StageContext,
  alert: boolean,
  failure: BorderErrorKind | null = null,
): void {
  armed.drop(machine.name);
  if (alert) store.flag("machine-failed", machine.name, `${machine.name} (${machine.state}): ${reason}`);
  if (machine.order && (machine.state === "claimed" || machine.state === "handing-over")) {
    store.recordHandOverFailure(machine.name, reason);
    return;
  }
  const state = machine.state === "ready" ? "retiring" : "failed";
  store.changeMachine(machine.name, machine.state, { state, deadline: null, reason, failure }, reason);
}
