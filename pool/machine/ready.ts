/**
 * ready: a warm machine waits. Its connection is kept armed; one that cannot be armed any more is looked at again and,
 * after the second miss, retired: a cold machine in the pool is a customer's failed hand-over.
 */
import { target } from "./boot.ts";
import { atOnce, type Stage } from "./stage.ts";

const lookMs = 60_000;
const missesAllowed = 1;

export const keepReady: Stage = async (machine, context) => {
  const { store, clock, armed, config } = context;
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
    if (machine.attempts >= missesAllowed) throw error;
    store.changeMachine(machine.name, "ready", { attempts: machine.attempts + 1 }, "could not be armed");
    return { againInMs: 2_000 };
  }
  if (machine.attempts > 0) store.changeMachine(machine.name, "ready", { attempts: 0 }, "armed again");
  return { againInMs: Math.min(lookMs, pool.maxAgeMs - ageMs + 1) };
};
