/**
 * The end of a customer's machine. The row says that the subscription has ended and that the grace is over; that is one key.
 * The other is Stripe's own word, asked for at this moment: a row can be wrong (an old backup, a mistaken hand), and what is
 * destroyed is gone. While Stripe cannot be asked nothing is destroyed.
 */
import type { Order } from "../order/order.ts";
import { atOnce, type Next, type StageContext } from "./stage.ts";

/** A person who keeps an order takes both keys away. */
export function isDue(order: Order, { clock }: Pick<StageContext, "clock">): boolean {
  return order.releaseAt !== null && order.releaseAt <= clock.now() && order.keptAt === null;
}

/** Milliseconds until the grace is over; null while nothing ends. */
export function untilRelease(order: Order | null, now: number): number | null {
  if (order === null || order.releaseAt === null || order.keptAt !== null) return null;
  return Math.max(0, order.releaseAt - now);
}

/** @throws BorderError when Stripe cannot be asked */
export async function release(
  order: Order,
  { store, log, hasEnded, ...context }: StageContext,
): Promise<Next> {
  if (await hasEnded(order.id)) {
    // A person may have spoken meanwhile.
    const now = store.order(order.id);
    if (now && isDue(now, context)) {
      store.releaseOrder(order.id, order.reason ?? "the subscription has ended");
    }
    return atOnce;
  }
  const why = `the row says that its subscription ${order.subscription} has ended, Stripe says that it has not`;
  log.error({ order: order.id, subscription: order.subscription }, why);
  store.flag("end-withdrawn", order.id, `order ${order.id} goes on: ${why}`);
  store.withdrawEnd(order.id, why);
  return atOnce;
}
