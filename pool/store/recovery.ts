/**
 * The verbs of recovery: into quarantine, rows as the evidence has them, and out again. Rows are written past the
 * transitions of machine.ts, because they follow what is, not what was done; so only in quarantine, and held.
 */
import type { Machine } from "../machine/machine.ts";
import type { Order } from "../order/order.ts";
import { changedFields } from "./audit.ts";
import { countServer } from "./bill.ts";
import type { StoreContext } from "./context.ts";
import {
  machineColumns,
  machinePlace,
  openSecrets,
  readMachine,
  toldOfMachines,
  writeMachineChange,
} from "./machines.ts";
import { findOrder, openAgent, orderColumns, sealAgent, toldOfOrders, unknownPayment } from "./orders.ts";
import { findingsSetting, quarantineSetting, readQuarantine } from "./quarantine.ts";
import { type RecoveredMachine, type RecoveredOrder, StaleRowError, type Store } from "./store.ts";

type RecoveryVerbs = Pick<
  Store,
  "quarantine" | "enterQuarantine" | "holdMachine" | "recover" | "releaseMachine" | "endQuarantine"
>;

export function recoveryVerbs(context: StoreContext): RecoveryVerbs {
  const { db, clock, history } = context;

  function insert(table: string, row: Readonly<Record<string, unknown>>): void {
    const names = Object.keys(row);
    db.prepare(
      `INSERT INTO ${table} (${names.join(", ")}) VALUES (${names.map((name) => `@${name}`).join(", ")})`,
    ).run(row);
  }

  /** A row's fields as columns; SQLite has no booleans. */
  const columnsOf = (row: object, columns: Readonly<Record<string, string>>) =>
    Object.fromEntries(
      Object.entries(columns).map(([field, column]) => {
        const value = (row as Record<string, unknown>)[field] ?? null;
        return [column, typeof value === "boolean" ? Number(value) : value];
      }),
    );

  function told<Row extends Machine | Order>(
    action: string,
    before: Row | null,
    after: Row,
    fields: readonly (keyof Row & string)[],
    why: string,
  ): void {
    const known = before ?? ({} as Row);
    const changed = changedFields(known, after, fields);
    const subject = "name" in after ? after.name : after.id;
    if (changed) history.audit("daemon", action, subject, { why, ...changed });
  }

  function writeMachine({ machine, secrets, why }: RecoveredMachine): () => void {
    const before = readMachine(context, machine.name);
    const known = secrets ?? openSecrets(context, machine.name);
    const sealed = context.sealer.seal(JSON.stringify(known), machinePlace(machine.name));
    const installed = machine.installed ? JSON.stringify(machine.installed) : null;
    db.prepare("DELETE FROM machine WHERE name = ?").run(machine.name);
    return () => {
      insert("machine", { ...columnsOf(machine, machineColumns), installed, secrets: sealed });
      countServer(context, before, machine);
      told("machine.recovered", before, machine, toldOfMachines, why);
    };
  }

  function writeOrder({ order, secrets, why }: RecoveredOrder): () => void {
    const before = findOrder(context, "id", order.id);
    const known = secrets ?? openAgent(context, order.id);
    const { tries } = db
      .prepare<[string], { tries: number }>("SELECT hand_overs AS tries FROM orders WHERE id = ?")
      .get(order.id) ?? { tries: 0 };
    db.prepare("DELETE FROM orders WHERE id = ?").run(order.id);
    return () => {
      const row = columnsOf(order, orderColumns);
      insert("orders", { ...row, hand_overs: tries, secrets: sealAgent(context, order.id, known) });
      if (order.state === "failed" && before?.state !== "failed")
        history.flag("order-failed", order.id, `order ${order.id}: ${why}`);
      if (before?.state === "failed" && order.state !== "failed")
        history.clearFlag("order-failed", order.id, why);
      // Told while nobody knew of the order, of whom it asks a refund.
      if (order.checkoutSession && order.endedAt === null)
        history.clearFlag(unknownPayment, order.checkoutSession, why);
      told("order.recovered", before, order, toldOfOrders, why);
      if (before?.state !== order.state) {
        history.orderEvent(order.id, "state", {
          state: order.state,
          reason: order.reason,
          machine: order.machine,
        });
      }
    };
  }

  return {
    quarantine: () => readQuarantine(context),

    enterQuarantine: (why, { actor = "daemon", run = null } = {}) =>
      context.write(() => {
        // A store that was copied while it was in quarantine still says what was found then, and whom a person released
        // then: it is older than the world all the same.
        db.prepare("DELETE FROM setting WHERE key = ?").run(findingsSetting);
        db.prepare("INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)").run(
          quarantineSetting,
          JSON.stringify({ since: clock.now(), why }),
        );
        const held = db.prepare("UPDATE machine SET held = ? WHERE state <> 'destroyed'").run(why).changes;
        // One row for all: the machines are as they were, and which were live the log says.
        history.audit(actor, "quarantine.entered", "store", { why, run, held });
      }),

    holdMachine: (name, from, why) =>
      context.write(() => writeMachineChange(context, name, from, { deadline: null, held: why }, why)),

    recover: ({ machines, orders }) =>
      context.write(() => {
        if (!readQuarantine(context)) throw new StaleRowError("the quarantine is over");
        // Machines name their orders and orders their machines, and both may change hands.
        db.pragma("defer_foreign_keys = ON");
        const inserts = [...machines.map(writeMachine), ...orders.map(writeOrder)];
        for (const again of inserts) again();
      }),

    releaseMachine: (name, change, why, cause) =>
      context.write(() => {
        const machine = readMachine(context, name);
        if (!machine || machine.held === null) throw new StaleRowError(`machine ${name} is not held`);
        const free = { nextLookAt: 0, attempts: 0, ...change, held: null };
        return writeMachineChange(context, name, machine.state, free, why, cause);
      }),

    endQuarantine: (why, { actor = "daemon", run = null } = {}) =>
      context.write(() => {
        if (!readQuarantine(context)) return;
        db.prepare("DELETE FROM setting WHERE key = ?").run(quarantineSetting);
        history.audit(actor, "quarantine.ended", "store", { why, run });
      }),
  };
}
