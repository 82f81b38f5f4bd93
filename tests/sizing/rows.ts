/** Builds that ended, well and not, as rows. */
import type { Config, FailureBudget } from "../../pool/config/config.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import type { Store } from "../../pool/store/store.ts";
import { exampleConfig } from "../machine/fakes.ts";
import { caps, makeReady, newMachine } from "../store/rows.ts";

let last = 0;

/** A name that no other build of the run has. */
const fresh = () => `claw-test-b${++last}`;

/** A machine that has a server (null: none) and failed; it is looked at no further. */
export function failBuild(
  store: Store,
  { failure = "permanent", serverId = ++last + 1_000 }: { failure?: string; serverId?: number | null } = {},
): MachineName {
  const { name } = store.planMachine(newMachine(fresh()), caps) ?? newMachine("none");
  store.changeMachine(name, "planned", { state: "creating", serverId }, "test");
  const reason = "no such package";
  store.changeMachine(name, "creating", { state: "failed", deadline: null, failure, reason }, "test");
  return name;
}

export const finishBuild = (store: Store): MachineName => makeReady(store, fresh());

export function configWith(
  pool: { minReady?: number; maxTotal?: number; image?: string },
  budget: Partial<FailureBudget> = {},
): Config {
  const config = exampleConfig();
  return {
    ...config,
    pools: config.pools.map((each) => ({
      ...each,
      ...pool,
      failureBudget: { ...each.failureBudget, ...budget },
    })),
  };
}
