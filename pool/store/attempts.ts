/** What orders cost in machines: every machine that an order used up, and when a person has to look at it. */
import type { MachineName, OrderId } from "../machine/machine.ts";
import type { Order } from "../order/order.ts";
import type { StoreContext } from "./context.ts";
import { readOrder, writeOrder } from "./orders.ts";
import type { Attempt, Failure } from "./store.ts";

/** Flags that end when their order goes on. */
const orderFlags = ["order-failed", "payment-disagreed", "hand-over-waits", "order-waits"];

export function attemptsOf(context: StoreContext, order: string): Attempt[] {
  return context.db
    .prepare<[string], Attempt>(
      `SELECT n, round, machine, kind, at, step, reason, failure, run, log FROM attempt WHERE order_id = ? ORDER BY n`,
    )
    .all(order);
}

/** Machines that the order used up since it was paid, or since a person started it again. */
function used(context: StoreContext, order: string): number {
  const row = context.db
    .prepare<[string], { used: number }>(
      `SELECT count(*) AS used FROM attempt JOIN orders ON orders.id = attempt.order_id
       WHERE order_id = ? AND attempt.round = orders.round`,
    )
    .get(order);
  return row?.used ?? 0;
}

/**
 * Charges the machine to the order. @returns why the order must go to a person; null while it may use another machine.
 */
export function charge(
  context: StoreContext,
  order: string,
  attempt: { machine: MachineName; kind: Attempt["kind"]; failure: Failure; limit: number },
): string | null {
  const { machine, kind, failure, limit } = attempt;
  const { step, reason, failure: kindOfError = null, run = null, log = null } = failure;
  context.db
    .prepare(
      `INSERT INTO attempt (order_id, n, round, machine, kind, at, step, reason, failure, run, log)
       SELECT id, (SELECT coalesce(max(n), 0) + 1 FROM attempt WHERE order_id = @order), round, @machine, @kind, @at,
              @step, @reason, @failure, @run, @log
       FROM orders WHERE id = @order`,
    )
    .run({ order, machine, kind, at: context.clock.now(), step, reason, failure: kindOfError, run, log });
  const count = used(context, order);
  if (count < limit) return null;
  const where = run === null ? step : `${step}, run ${run}`;
  return `${count} machines were used up; the last, ${machine}, failed while ${where}: ${reason}`;
}

/** A build that was begun for those who wait has failed: it is charged to the one who has used up the fewest. */
export function chargeBuild(
  context: StoreContext,
  machine: { name: MachineName; plan: string; location: string; createdAt: number },
  failure: Failure,
  { limit, locationsOf }: { limit: number; locationsOf: (region: string) => readonly string[] },
): Order | null {
  const waiting = context.db
    .prepare<[string, number], { id: string; region: string }>(
      `SELECT id, region FROM orders WHERE state = 'queued' AND suspended_for IS NULL AND plan = ? AND coalesce(queued_at, 0) <= ?
       ORDER BY (SELECT count(*) FROM attempt WHERE order_id = orders.id AND attempt.round = orders.round), paid_at, id`,
    )
    .all(machine.plan, machine.createdAt);
  const fitting = waiting.find(({ region }) => locationsOf(region).includes(machine.location));
  if (!fitting) return null;
  const text = charge(context, fitting.id, { machine: machine.name, kind: "build", failure, limit });
  return text === null ? readOrder(context, fitting.id) : deadLetter(context, fitting.id, text, failure);
}

/** The order is given to a person: it uses up no more machines until somebody starts it again. */
export function deadLetter(context: StoreContext, id: string, text: string, failure: Failure): Order {
  const { run = null } = failure;
  clearWait(context, id, "a person is to look at it");
  context.history.flag(
    "order-failed",
    id,
    `order ${id}: ${text}. \`clawpool orders show ${id}\` tells the rest, \`clawpool orders retry ${id}\` starts it again`,
  );
  return writeOrder(context, id, { state: "failed", machine: null, reason: text }, text, { run });
}

export function clearOrderFlags(context: StoreContext, id: OrderId, why: string, actor?: string): void {
  const cause = actor === undefined ? {} : { actor };
  for (const kind of orderFlags) context.history.clearFlag(kind, id, why, cause);
}

/** The order waits in line no more: what was told of its wait (pool/refill/waits.ts) is over. */
export function clearWait(context: StoreContext, id: string, why: string): void {
  context.history.clearFlag("order-waits", id, why);
}
