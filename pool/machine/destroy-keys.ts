/**
 * Two keys to destroy a machine with an order: its row says that it goes (releasing), and one of these says that it may.
 * Asked in the transaction that begins the end, and again by the gate for every DELETE that anybody sends. Pure.
 */
import type { Order } from "../order/order.ts";
import type { Machine } from "./machine.ts";

/**
 * `ended`: Stripe, asked for the subscription, showed that it has ended, the grace is over, and nobody keeps the order; `confirmed`: a person said
 * so by name; `moved-on`: the order is another machine's, or nobody's, because the hand-over failed here. Null: it stays.
 */
export function keyToDestroy(
  machine: Machine,
  order: Order | null,
  now: number,
): "ended" | "confirmed" | "moved-on" | null {
  // The order's row is missing: nothing says that the customer has gone.
  if (order === null) return null;
  if (order.machine !== machine.name) return "moved-on";
  if (machine.endConfirmedBy !== null) return "confirmed";
  const over =
    order.endedAt !== null && order.releaseAt !== null && order.releaseAt <= now && order.keptAt === null;
  return over ? "ended" : null;
}
