/**
 * ready: a warm machine waits. Its connection is kept armed, and now and then it goes back to `proving` for about a second:
 * the hand-over is rehearsed again, as when it became ready. A machine that misses a proof is claimed last and proved again
 * soon; it stays claimable, because a hand-over that fails moves on within seconds and a build takes minutes. The second miss
 * retires it: a cold machine in the pool is a customer's failed hand-over, but one fault of a moment must not empty the pool.
 */
import type { PoolConfig } from "../config/config.ts";
import { BorderError } from "../errors.ts";
import { spread } from "../random.ts";
import { poolOf, warmMachines } from "../refill/content.ts";
import { isCanaryDue } from "../refill/rollout.ts";
import { target } from "./boot.ts";
import type { ArmedMachine } from "./hand-over-session.ts";
import { isProvedAgain, type Machine } from "./machine.ts";
import { backoffMs } from "./policy.ts";
import { atOnce, type Next, type Stage, type StageContext } from "./stage.ts";

const lookMs = 60_000;
/** Of arming, until that is a miss: 2 + 4 + 8 + 16 s of pauses, and what the tries themselves take. */
const triesAllowed = 4;
const missesAllowed = 1;

export const keepReady: Stage = async (machine, context) => {
  const { store, clock, armed, config, random } = context;
  const pool = poolOf(config(), machine.pool);
  if (!pool) {
    const reason = `pool ${machine.pool} is no longer configured`;
    store.changeMachine(machine.name, "ready", { state: "retiring", reason }, reason);
    return atOnce;
  }
  let connection: ArmedMachine;
  try {
    connection = await armed.ensure(machine.name, target(machine, context, "root"));
  } catch (error) {
    if (machine.attempts >= triesAllowed) return missed(machine, error, context);
    const why = `could not be armed: ${error instanceof Error ? error.message : String(error)}`;
    store.changeMachine(machine.name, "ready", { attempts: machine.attempts + 1 }, why);
    return { againInMs: backoffMs(machine.attempts, random.number) };
  }
  if (machine.attempts > 0) store.changeMachine(machine.name, "ready", { attempts: 0 }, "armed again");
  const { installed } = connection;
  if (installed && JSON.stringify(installed) !== JSON.stringify(machine.installed)) {
    store.changeMachine(machine.name, "ready", { installed }, "what the machine has on record is another");
  }
  const dueInMs = proofDueAt(machine, pool, connection, context) - clock.now();
  if (dueInMs > 0) return { againInMs: Math.min(lookMs, dueInMs) };
  // One at a time: a payment finds the others.
  const proving = store.machines({ pool: pool.name, states: ["proving"] });
  if (proving.some((other) => isProvedAgain(other) && other.held === null)) return { againInMs: 1_000 };
  const deadline = clock.now() + config().deadlines.provingMs;
  store.changeMachine(machine.name, "ready", { state: "proving", deadline }, "to be proved again");
  return atOnce;
};

/** Epoch ms. Each pause ± 20 %, by name and time, so that machines of one birthday are not proved together. */
function proofDueAt(
  machine: Machine,
  { proof, ...pool }: PoolConfig,
  { gateway }: ArmedMachine,
  { store, clock }: StageContext,
): number {
  const around = (ms: number, since: number) =>
    since + Math.round(ms * (0.8 + 0.4 * spread(`${machine.name} ${since}`)));
  const provedAt = machine.provedAt ?? machine.createdAt;
  if (isCanaryDue(machine, { proof, ...pool }, store.rollout(pool.name), clock.now())) return clock.now();
  // The program on the machine has lost the gateway: the rehearsal says whether it comes back, and restarts it.
  if (machine.misses > 0 || !gateway) return around(proof.againMs, Math.max(machine.stateSince, provedAt));
  return around(proof.everyMs, provedAt);
}

/** A ready machine could not be reached, or its proof failed. */
export function missed(machine: Machine, error: unknown, context: StageContext): Next {
  const { store, armed, log } = context;
  armed.drop(machine.name);
  const why = error instanceof Error ? error.message : String(error);
  // Nothing was asked of the machine.
  if (error instanceof BorderError && error.border === "tailnet")
    return keep(0, `could not be proved: ${why}`);
  if (machine.misses < missesAllowed) return keep(1, `missed a proof: ${why}`);
  if (isOutside(error) && areMostMissing(context)) {
    const text =
      "most ready machines fail their proofs at once, as if the network or Tailscale did: they are kept";
    if (store.flag("ready-unreachable", context.config().instance, text))
      log.error({ machine: machine.name }, text);
    return keep(0, `missed a proof as most machines did: ${why}`);
  }
  const reason = `missed two proofs, the second: ${why}`;
  const misses = machine.misses + 1;
  log.warn({ machine: machine.name }, reason);
  const change = { state: "retiring", deadline: null, misses, reason } as const;
  store.changeMachine(machine.name, machine.state, change, reason);
  return atOnce;

  function keep(more: number, told: string): Next {
    const change = { state: "ready", deadline: null, attempts: 0, misses: machine.misses + more } as const;
    store.changeMachine(machine.name, machine.state, change, told);
    return { againInMs: machine.state === "ready" ? backoffMs(triesAllowed, context.random.number) : 0 };
  }
}

/** What may be wrong with our own network or with Tailscale, as well as with the machine. */
const isOutside = (error: unknown): boolean =>
  error instanceof BorderError &&
  ((error.border === "ssh" && error.kind === "transient") ||
    ["tailnet", "timeout", "ended", "not-armed", "dropped"].includes(error.code ?? ""));

/** More than half of all ready machines, and not one alone. */
export function areMostMissing({ store, config }: Pick<StageContext, "store" | "config">): boolean {
  const warm = config().pools.flatMap(({ name }) => warmMachines(store, name));
  const missing = warm.filter(({ misses }) => misses > 0).length;
  return missing >= 2 && missing * 2 > warm.length;
}
