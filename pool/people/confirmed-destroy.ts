/**
 * A person destroys a machine by its name. One without an order just goes; one with a live order goes only when its name
 * is given twice, because with it goes everything that the customer has there.
 */
import type { Loop } from "../loop.ts";
import type { MachineName, MachineState } from "../machine/machine.ts";
import type { Cause, Store } from "../store/store.ts";
import { BusyError } from "./people.ts";

export interface DestroyAnswer {
  readonly machine: string;
  readonly order: string | null;
  /** Of the order; it goes on in Stripe unless somebody ends it there. */
  readonly subscription: string | null;
}

/** It needs a confirmation, or is no machine that could be destroyed; the sentence says which. */
export class DestroyRefusedError extends Error {
  override readonly name = "DestroyRefusedError";
}

/** From the moment that a payment binds it until it goes. */
const going: readonly MachineState[] = ["releasing", "retiring", "destroyed"];

/** @param confirm the machine's name once more; null when it was not given */
export type DestroyByName = (
  name: string,
  confirm: string | null,
  cause: Cause & { readonly actor: string },
) => DestroyAnswer;

/** @returns a function that throws DestroyRefusedError and BusyError, and else has begun the machine's end */
export function createDestroyByName({ store, loop }: { store: Store; loop: Loop }): DestroyByName {
  function refuse(name: string, why: string, cause: Cause & { readonly actor: string }): never {
    store.audit(cause.actor, "machine.destroy-refused", name, { why });
    throw new DestroyRefusedError(why);
  }

  return (name, confirm, cause) => {
    const machine = store.machines().find((candidate) => candidate.name === name);
    if (!machine) return refuse(name, `no machine is named ${name}; see \`clawpool machines\``, cause);
    if (going.includes(machine.state)) return refuse(name, `${name} is ${machine.state} already`, cause);
    const order = machine.order ? store.order(machine.order) : null;
    const live = order?.machine === machine.name ? order : null;
    if (live && confirm !== name) {
      const { id, customer, subscription } = live;
      const why =
        `${name} is ${machine.state} for order ${id} of customer ${customer} (subscription ${subscription ?? "unknown"}), ` +
        `and everything on it would be lost; \`clawpool destroy ${name} --confirm ${name}\` does it all the same`;
      return refuse(name, why, cause);
    }
    const release = loop.hold(name as MachineName);
    if (!release) throw new BusyError(`${name} is worked on now (${machine.state}); try again in a moment`);
    try {
      const why = `${cause.actor} destroys it by name`;
      if (live) store.confirmEnd(machine.name, why, cause);
      else {
        const state = machine.order ? "releasing" : "retiring";
        const change = { state, deadline: null, reason: why } as const;
        store.changeMachine(machine.name, machine.state, change, why, cause);
      }
    } finally {
      release();
    }
    return { machine: name, order: live?.id ?? null, subscription: live?.subscription ?? null };
  };
}
