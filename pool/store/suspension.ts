/** The verbs about orders that may not be served for a while, and their machines. */
import { customersStates } from "../machine/machine.ts";
import type { Order } from "../order/order.ts";
import type { StoreContext } from "./context.ts";
import { readMachine, writeMachineChange } from "./machines.ts";
import { readOrder, writeOrder } from "./orders.ts";
import { type Cause, StaleRowError, type Store } from "./store.ts";

type SuspensionVerbs = Pick<Store, "recordStanding" | "holdOrder" | "withdrawEnd" | "recordPower">;

export function suspensionVerbs(context: StoreContext): SuspensionVerbs {
  const { clock } = context;

  /** What was to be looked at some time is looked at now. */
  function lookNow(order: Order, why: string): void {
    const machine = order.machine === null ? null : readMachine(context, order.machine);
    if (!machine || !customersStates.includes(machine.state) || machine.nextLookAt === 0) return;
    writeMachineChange(context, machine.name, machine.state, { nextLookAt: 0 }, why);
  }

  function writeSuspension(
    order: Order,
    suspension: Parameters<Store["recordStanding"]>[1]["suspension"],
    rest: Partial<Order>,
    why: string,
    cause: Cause,
  ): Order {
    const since = order.suspendedFor === null ? clock.now() : order.suspendedAt;
    const written = writeOrder(
      context,
      order.id,
      {
        ...rest,
        suspendedFor: suspension?.reason ?? null,
        suspendedWhy: suspension?.text ?? null,
        suspendedAt: suspension === null ? null : since,
      },
      why,
      cause,
    );
    if (written.suspendedFor !== order.suspendedFor) lookNow(written, why);
    return written;
  }

  return {
    recordStanding: (id, { suspension, overdueSince }, why, cause = {}) =>
      context.write(() => {
        const order = readOrder(context, id);
        if (order.endedAt !== null) return order;
        // A person's word stands until it is taken back.
        if (order.held !== null) return writeOrder(context, id, { overdueSince }, why, cause);
        return writeSuspension(order, suspension, { overdueSince }, why, cause);
      }),

    holdOrder: (id, { held, kept }, why, cause) =>
      context.write(() => {
        const order = readOrder(context, id);
        const keptAt = kept === undefined ? order.keptAt : kept ? (order.keptAt ?? clock.now()) : null;
        const rest = { keptAt, ...(held === undefined ? {} : { held }) };
        if (keptAt !== order.keptAt) lookNow(order, why);
        if (held === "suspend") {
          return writeSuspension(order, { reason: "person", text: why }, rest, why, cause);
        }
        const byPerson = held === null && order.suspendedFor === "person";
        if (held === "serve" || byPerson) return writeSuspension(order, null, rest, why, cause);
        return writeOrder(context, id, rest, why, cause);
      }),

    withdrawEnd: (id, why) =>
      context.write(() => {
        const order = readOrder(context, id);
        if (order.subscription !== null) {
          context.db.prepare("DELETE FROM tombstone WHERE subscription = ?").run(order.subscription);
        }
        const machine = order.machine === null ? null : readMachine(context, order.machine);
        const state = machine?.state === "serving" ? "running" : "suspended";
        const change = { state, endedAt: null, releaseAt: null, reason: null } as const;
        const written = writeOrder(context, id, change, why);
        lookNow(written, why);
        return written;
      }),

    recordPower: (name, from, change, why) =>
      context.write(() => {
        const machine = readMachine(context, name);
        if (!machine?.order) throw new StaleRowError(`machine ${name} has no order`);
        const order = readOrder(context, machine.order);
        writeMachineChange(context, name, from, { deadline: null, ...change }, why);
        // An order that has ended meanwhile stays so.
        if (change.state === "suspending" && order.state === "running") {
          const reason = order.suspendedWhy ?? why;
          writeOrder(context, order.id, { state: "suspended", reason }, why);
        }
        if (change.state === "serving" && order.state === "suspended") {
          writeOrder(context, order.id, { state: "running", reason: null }, why);
        }
      }),
  };
}
