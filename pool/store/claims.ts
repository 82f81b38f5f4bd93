/** The verbs that bind machines to orders and part them again. */
import { keyToDestroy } from "../machine/destroy-keys.ts";
import { type Machine, type MachineName, machineName } from "../machine/machine.ts";
import type { Order } from "../order/order.ts";
import { charge, chargeBuild, clearOrderFlags, clearWait, deadLetter } from "./attempts.ts";
import type { StoreContext } from "./context.ts";
import { readMachine, writeMachineChange } from "./machines.ts";
import { findOrder, nextOrders, openAgent, readOrder, sealAgent, writeOrder } from "./orders.ts";
import { readQuarantine } from "./quarantine.ts";
import { type Cause, StaleRowError, type Store } from "./store.ts";

type ClaimVerbs = Pick<
  Store,
  | "claimForQueue"
  | "recordServing"
  | "releaseServing"
  | "recordHandOverFailure"
  | "recordBuildFailure"
  | "releaseOrder"
  | "confirmEnd"
  | "recordDestroyed"
>;

/** Flags that end with their machine. */
const machineFlags = ["stuck", "not-enrolled", "not-suspended", "not-resumed", "another-order"];

/** `isClaimable` of machine.ts in SQL; there is no third place. */
const claimable = "state = 'ready' AND order_id IS NULL AND withheld = 0 AND held IS NULL";

/**
 * A machine that missed its last proof comes last: it may serve all the same, and a hand-over that fails on it moves on
 * within seconds, where a build takes minutes. Content that no canary has lasted with (refill/rollout.ts) comes behind what
 * is proven; of equals the one that has waited longest.
 */
const preference = `misses,
  (SELECT count(*) FROM rollout WHERE rollout.pool = machine.pool AND
     proven <> server_type || ' ' || image || ' ' || json_extract(installed, '$.recipe')),
  ready_at, name`;

/** Binds the first claimable machine of the order's plan in the first location that has one; null if none has. */
export function claimMachine(
  context: StoreContext,
  order: Order,
  locations: readonly string[],
  pool?: string,
): { order: Order; machine: Machine } | null {
  if (readQuarantine(context)) return null;
  for (const location of locations) {
    const row = context.db
      .prepare<[string, string, string | null, string | null], { name: string }>(
        `SELECT name FROM machine WHERE ${claimable} AND plan = ? AND location = ? AND (? IS NULL OR pool = ?)
         ORDER BY ${preference} LIMIT 1`,
      )
      .get(order.plan, location, pool ?? null, pool ?? null);
    if (!row) continue;
    const name = machineName(row.name);
    // Another one for each machine of the order: what one was sent is never good for the next.
    const { claims } = context.db
      .prepare<[string], { claims: number }>("SELECT hand_overs AS claims FROM orders WHERE id = ?")
      .get(order.id) ?? { claims: 0 };
    const generation = claims + 1;
    const change = { state: "claimed", order: order.id, generation, deadline: null } as const;
    const machine = writeMachineChange(context, name, "ready", change, `claimed for order ${order.id}`);
    context.db.prepare("UPDATE orders SET hand_overs = ? WHERE id = ?").run(generation, order.id);
    const why = `machine ${name} is claimed for it`;
    clearWait(context, order.id, why);
    const provisioning = writeOrder(context, order.id, { state: "provisioning", machine: name }, why);
    return { order: provisioning, machine };
  }
  return null;
}

export function claimVerbs(context: StoreContext): ClaimVerbs {
  const { db, clock } = context;

  /** Whoever comes late, from a hand-over that was given up meanwhile, finds that the order has gone on. */
  const boundOrder = (machine: Machine): Order => {
    if (!machine.order) throw new StaleRowError(`machine ${machine.name} has no order`);
    const order = readOrder(context, machine.order);
    if (order.machine !== machine.name) {
      throw new StaleRowError(`order ${order.id} is not ${machine.name}'s any more`);
    }
    return order;
  };
  const knownMachine = (name: MachineName): Machine => {
    const machine = readMachine(context, name);
    if (!machine) throw new StaleRowError(`machine ${name} is unknown`);
    return machine;
  };

  function release(order: Order, why: string, cause?: Cause): Order {
    if (!order.machine) throw new StaleRowError(`order ${order.id} has no machine to release`);
    const machine = knownMachine(order.machine);
    if (keyToDestroy(machine, order, clock.now()) === null) {
      throw new Error(
        `order ${order.id}: neither has its subscription ended and its grace passed, nor did a person confirm its end`,
      );
    }
    if (machine.state !== "releasing") {
      const change = { state: "releasing", deadline: null } as const;
      writeMachineChange(context, machine.name, machine.state, change, why, cause);
    }
    const ended = { state: "releasing", endedAt: order.endedAt ?? clock.now() } as const;
    return writeOrder(context, order.id, ended, why, cause);
  }

  function serve(
    name: MachineName,
    facts: Parameters<Store["recordServing"]>[1],
    why: string,
    cause: Cause = {},
  ): void {
    const order = boundOrder(knownMachine(name));
    // An order that ended while it was handed over is released at its time, not never.
    const release = order.releaseAt === null ? {} : { nextLookAt: order.releaseAt };
    const change = { state: "serving", deadline: null, ...facts, ...release } as const;
    writeMachineChange(context, name, "handing-over", change, why, cause);
    // The environment is on the machine now; here only the token that the customer may still ask for is kept.
    const { gatewayToken } = openAgent(context, order.id);
    db.prepare("UPDATE orders SET secrets = ? WHERE id = ?").run(
      sealAgent(context, order.id, { env: {}, gatewayToken }),
      order.id,
    );
    const state = order.state === "provisioning" ? "running" : order.state;
    writeOrder(context, order.id, { state, servingAt: clock.now() }, why, cause);
    clearOrderFlags(context, order.id, "it is served");
  }

  return {
    claimForQueue: (pool) =>
      context.write(() => {
        for (const { id } of nextOrders(context, pool.plan)) {
          const order = readOrder(context, id);
          const claimed = claimMachine(context, order, pool.locationsOf(order.region), pool.name);
          if (claimed) return claimed;
        }
        return null;
      }),

    recordServing: (name, facts) => context.write(() => serve(name, facts, "attested")),

    releaseServing: (name, why, cause) =>
      context.write(() => {
        const { state, held } = knownMachine(name);
        if (held === null) throw new StaleRowError(`machine ${name} is not held`);
        writeMachineChange(context, name, state, { state: "handing-over", held: null }, why, cause);
        serve(name, { tailnetNode: null, tailnetAddress: null }, why, cause);
      }),

    recordHandOverFailure: (name, failure, { limit, locationsOf, again = true, hold }) =>
      context.write(() => {
        const machine = knownMachine(name);
        const order = boundOrder(machine);
        const { reason } = failure;
        const ended = { state: "failed", deadline: null, reason, failure: failure.failure ?? null } as const;
        const lost = hold === undefined ? ended : { ...ended, held: hold };
        writeMachineChange(context, name, machine.state, lost, reason, { run: failure.run ?? null });
        const spent = charge(context, order.id, { machine: name, kind: "hand-over", failure, limit });
        context.history.clearFlag("hand-over-waits", order.id, "it waits on that machine no more");
        if (order.endedAt !== null) {
          clearOrderFlags(context, order.id, "it has ended");
          const change = { state: "released", machine: null } as const;
          return {
            order: writeOrder(context, order.id, change, "ended before it was served"),
            machine: null,
          };
        }
        if (!again || spent !== null) {
          return { order: deadLetter(context, order.id, spent ?? reason, failure), machine: null };
        }
        // paid_at is kept, and with it its place.
        const queued = writeOrder(context, order.id, { state: "queued", machine: null }, reason);
        const mayServe = queued.suspendedFor === null;
        const next = mayServe ? claimMachine(context, queued, locationsOf(order.region)) : null;
        return next ?? { order: queued, machine: null };
      }),

    recordBuildFailure: (name, from, failure, limits) =>
      context.write(() => {
        const before = knownMachine(name);
        const { reason, run = null } = failure;
        const change = { state: "failed", deadline: null, reason, failure: failure.failure ?? null } as const;
        const machine = writeMachineChange(context, name, from, change, reason, { run });
        // A machine that had been ready is no build that somebody waited for.
        if (limits && before.buildEndedAt === null) chargeBuild(context, machine, failure, limits);
        return machine;
      }),

    releaseOrder: (id, why) => context.write(() => release(readOrder(context, id), why)),

    confirmEnd: (name, why, cause) =>
      context.write(() => {
        const machine = knownMachine(name);
        const order = boundOrder(machine);
        writeMachineChange(context, name, machine.state, { endConfirmedBy: cause.actor }, why, cause);
        return release(order, why, cause);
      }),

    recordDestroyed: (name) =>
      context.write(() => {
        const machine = knownMachine(name);
        const change = { state: "destroyed", deadline: null } as const;
        writeMachineChange(context, name, machine.state, change, "the cloud says it is gone");
        db.prepare("DELETE FROM terraform_state WHERE stack = ?").run(name);
        for (const kind of machineFlags) context.history.clearFlag(kind, name, "the machine is gone");
        const order = machine.order ? findOrder(context, "id", machine.order) : null;
        if (order?.machine === name && order.state === "releasing") {
          writeOrder(context, order.id, { state: "released" }, "its machine is gone");
          // One that ended while its hand-over waited for somebody else waits no more.
          clearOrderFlags(context, order.id, "it has ended");
        }
      }),
  };
}
