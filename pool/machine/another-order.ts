/**
 * A machine that refuses what it is sent because it has seen another order: its note on its own disk is newer than its row,
 * so the row came from an older store that nobody held. Of which order the store does not know; whoever pays for that may
 * work on it. So it counts neither as a miss nor as a failed build, both of which destroy: the machine is held, and a person
 * decides. What the store itself knows of (a hand-over that was cut) never comes here: that machine's order is its own.
 */
import { BorderError } from "../errors.ts";
import { orderLimits } from "../refill/offers.ts";
import type { Failure } from "../store/store.ts";
import type { Machine } from "./machine.ts";
import { atOnce, type Next, type StageContext } from "./stage.ts";

const kind = "another-order";

/** Whether the machine itself says that it is another order's than its row knows. */
export function isAnothers(error: unknown, { state }: Pick<Machine, "state">): boolean {
  if (!(error instanceof BorderError) || error.border !== "machine") return false;
  // Programs on machines that were prepared earlier tell all that they refuse as `order`; of a rehearsal it is only this.
  return error.code === "another-order" || (error.code === "order" && state === "proving");
}

/** Holds the machine and tells a person; an order that was to get it goes on to the next one. */
export function holdAnothers(
  machine: Machine,
  failure: Failure,
  { store, armed, config, log, poke }: StageContext,
): Next {
  const { name, state, order, pool } = machine;
  armed.drop(name);
  const why = `it says that it has an order of which its row does not know: ${failure.reason}`;
  const released =
    order === null
      ? `\`clawpool recover release --machine ${name}\` has it proved again, with --retire it is destroyed`
      : `\`clawpool recover release --machine ${name}\` destroys it`;
  store.flag(
    kind,
    name,
    `${name} is held: ${why}. Its customer may work on it: look for it in Stripe and on the machine, and restore a newer ` +
      `backup if there is one; ${released}`,
  );
  log.error({ machine: name, state }, why);
  if (order === null) {
    store.holdMachine(name, state, why);
    return atOnce;
  }
  const options = { ...orderLimits(config(), pool), hold: why };
  const { machine: next } = store.recordHandOverFailure(name, failure, options);
  if (next) poke(next.name);
  return atOnce;
}
