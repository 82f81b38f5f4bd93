/**
 * ready: a warm machine waits. Its connection is kept armed; one that cannot be armed any more is looked at again, with
 * growing pauses, and retired after half a minute: a cold machine in the pool is a customer's failed hand-over, but one
 * short loss of the controller's own network must not empty the pool.
 */
import { target } from "./boot.ts";
import { backoffMs } from "./policy.ts";
import { atOnce, type Stage } from "./stage.ts";

const lookMs = 60_000;
/** 2 + 4 + 8 + 16 s of pauses, and what the tries themselves take. */
const missesAllowed = 4;

export const keepReady: Stage = async (machine, context) => {
  const { store, clock, armed, config, random } = context;
  const pool = config().pools.find((candidate) => candidate.name === machine.pool);
  const ageMs = clock.now() - (machine.readyAt ?? machine.createdAt);
  if (!pool || ageMs > pool.maxAgeMs) {
    const reason = pool
      ? "older than the pool's maximum age"
      : `pool ${machine.pool} is no longer configured`;
    store.changeMachine(machine.name, "ready", { state: "retiring", reason }, reason);
    return atOnce;
  }
  try {
    await armed.ensure(machine.name, target(machine, context, "root"));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    if (machine.attempts >= missesAllowed) {
      const reason = `cannot be armed any more: ${why}`;
      store.changeMachine(machine.name, "ready", { state: "retiring", reason }, reason);
      return atOnce;
    }
    const attempts = machine.attempts + 1;
    store.changeMachine(machine.name, "ready", { attempts }, `could not be armed: ${why}`);
    return { againInMs: backoffMs(machine.attempts, random.number) };
  }
  if (machine.attempts > 0) store.changeMachine(machine.name, "ready", { attempts: 0 }, "armed again");
  return { againInMs: Math.min(lookMs, pool.maxAgeMs - ageMs + 1) };
};
