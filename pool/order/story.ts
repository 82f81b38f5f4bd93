/** All that is known of one order, for whoever has to find out what went wrong. No secret is in it. */
import type { Machine, OrderId } from "../machine/machine.ts";
import type { Attempt, AuditRow, Flag, Store } from "../store/store.ts";
import type { Order, OrderEvent } from "./order.ts";

export interface OrderStory {
  readonly order: Order;
  /** 1 is next; null when it does not queue. */
  readonly position: number | null;
  /** The machines that it used up, and why. */
  readonly attempts: readonly Attempt[];
  /** Every machine that has seen it, the present one included. */
  readonly machines: readonly Machine[];
  readonly events: readonly OrderEvent[];
  readonly flags: readonly Flag[];
  readonly audit: readonly AuditRow[];
}

/** The newest of each are told. */
const mostRows = 500;

/** Null when there is no such order. */
export function orderStory(store: Store, id: OrderId): OrderStory | null {
  const order = store.order(id);
  if (!order) return null;
  return {
    order,
    position: store.queuePosition(id),
    attempts: store.attempts(id),
    machines: store.machines().filter((machine) => machine.order === id),
    events: store.orderEvents(id, 0).slice(-mostRows),
    flags: store.flags().filter(({ subject }) => subject === id || subject === order.machine),
    audit: store.auditRows({ subject: id, limit: mostRows }),
  };
}
