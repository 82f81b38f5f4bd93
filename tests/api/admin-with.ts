import { strict as assert } from "node:assert";
import { pino } from "pino";
import { type Admin, type AdminOptions, createAdmin } from "../../api/admin.ts";

const unasked = () => assert.fail("the test has no part that could answer this");

/** The daemon's socket with these parts behind it; asking for any other is a failure of the test. */
export function adminWith(parts: Partial<AdminOptions> & Pick<AdminOptions, "stateDir" | "store">): Admin {
  return createAdmin({
    status: unasked,
    config: { path: "/nowhere/clawpool.yaml", reload: unasked },
    bill: unasked,
    plans: unasked,
    people: { begin: unasked, end: unasked },
    recovery: { status: unasked, look: unasked, release: unasked },
    desk: { retry: unasked, hold: unasked },
    stripeSweep: { reconcile: unasked },
    sweeps: { reconcile: unasked },
    states: { look: unasked, repair: unasked },
    destroyByName: unasked,
    resume: unasked,
    rollout: unasked,
    notify: { test: unasked, retry: unasked, drop: unasked },
    log: pino({ level: "silent" }),
    ...parts,
  });
}
