/**
 * What people say about one order, which goes before Stripe's word until they take it back. Each is one row in the audit
 * log with the person's reason; none of it bills anybody otherwise: that is for Stripe.
 *
 *   suspend  switched off and kept, whatever Stripe says
 *   resume   a person's suspension is over; `anyway` serves although Stripe's objects say otherwise, while the subscription lives
 *   keep     its machine is not destroyed, whatever ends
 *   follow   all of this is taken back: Stripe decides again
 */
import type { OrderId } from "../machine/machine.ts";
import type { Cause, Store } from "../store/store.ts";
import type { Order } from "./order.ts";
import type { Reviewer } from "./review.ts";

export const holdActions = ["suspend", "resume", "keep", "follow"] as const;
export type HoldAction = (typeof holdActions)[number];

export interface HoldRequest {
  readonly action: HoldAction;
  /** In the person's words; kept for ever. */
  readonly why: string;
  readonly anyway: boolean;
}

/** There is no such order, or it cannot be done with it; the sentence says what can. */
export class HoldRefusedError extends Error {
  override readonly name = "HoldRefusedError";
}

/** @throws HoldRefusedError; BorderError when Stripe has to be asked and cannot */
export type HoldOrder = (
  id: string,
  request: HoldRequest,
  cause: Cause & { readonly actor: string },
) => Promise<Order>;

export function createHoldOrder(options: {
  readonly store: Store;
  readonly review: Reviewer["review"];
  /** The order's row has changed: look at its machine. */
  readonly poke: (order: Order) => void;
}): HoldOrder {
  const { store, review } = options;

  function refuse(id: string, why: string, action: HoldAction, actor: string): never {
    store.audit(actor, `order.${action}-refused`, id, { why });
    throw new HoldRefusedError(why);
  }

  return async (id, { action, why, anyway }, cause) => {
    const order = store.order(id as OrderId);
    if (!order) return refuse(id, `there is no order ${id}`, action, cause.actor);
    const over = order.paidAt === null || ["released", "failed", "expired"].includes(order.state);
    if (over) return refuse(id, `order ${id} is ${order.state}`, action, cause.actor);
    const ends = action === "suspend" || action === "resume";
    if (ends && order.endedAt !== null) {
      return refuse(id, `order ${id} has ended; only keep and follow are left`, action, cause.actor);
    }
    const asksStripe = (action === "resume" && !anyway) || action === "follow";
    if (asksStripe && order.subscription !== null) {
      // Before anything is changed: Stripe may be away, or say no.
      const asked = await review(order.subscription, { dryRun: true });
      if (action === "resume" && asked?.verdict.do === "suspend") {
        const text = `${asked.verdict.text}: order ${id} stays suspended; with --anyway it is served all the same`;
        return refuse(id, text, action, cause.actor);
      }
    }
    const held = {
      suspend: "suspend",
      resume: anyway ? "serve" : null,
      keep: undefined,
      follow: null,
    } as const;
    const kept = { suspend: undefined, resume: undefined, keep: true, follow: false }[action];
    const hold = {
      ...(held[action] === undefined ? {} : { held: held[action] }),
      ...(kept === undefined ? {} : { kept }),
    };
    store.holdOrder(order.id, hold, why, cause);
    if (asksStripe && order.subscription !== null) await review(order.subscription);
    const now = store.order(order.id) ?? order;
    options.poke(now);
    return now;
  };
}
