/**
 * A failed order is started again by a person. While it was failed nobody looked at its subscription (review.ts), so what its
 * row says of it may be days old: a customer who paused meanwhile would be served, one who has paid since would not.
 */
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { MachineName, OrderId } from "../machine/machine.ts";
import type { Store } from "../store/store.ts";
import type { Order } from "./order.ts";
import type { Reviewer } from "./review.ts";

/** The order is not one that can be started again. */
export class RetryRefusedError extends Error {
  override readonly name = "RetryRefusedError";
}

/** Milliseconds: an answer takes three calls, well below a second together; a person waits for this one. */
const patienceMs = 5_000;

export interface RetryOrder {
  /**
   * Starts a failed order again, by the will of a person: no second payment, its old place in the queue, machines anew.
   *
   * Its subscription is reviewed first, so that who may not be served now waits in line without a machine, and whose
   * suspension is over is served at once. A Stripe that does not answer within five seconds stops nobody: most who wait
   * for a second try may be served, and the hand-over asks Stripe for the payment anyway. Then the order is started by what
   * its row says, and the review follows, with the late answer or by `reviewRetried`.
   *
   * @param actor `person:<name>`
   * @throws RetryRefusedError when it is not failed, or its subscription has ended
   */
  retry(id: OrderId, actor: string): Promise<Order>;
  /**
   * Reviews the orders that were started again while Stripe could not be asked. To be called each minute; after a restart
   * the sweep's first look does the same. @throws BorderError when Stripe still cannot be asked
   */
  reviewRetried(): Promise<void>;
}

export function createRetryOrder(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly review: Reviewer["review"];
  readonly locationsOf: (region: string) => readonly string[];
  /** Before the machine is claimed: what Stripe confirmed of the order counts no more. */
  readonly forget: (id: OrderId) => void;
  /** After the commit. */
  readonly onClaimed: (machine: MachineName, order: OrderId) => void;
  readonly onQueued: (order: OrderId) => void;
  readonly log: Logger;
}): RetryOrder {
  const { store, clock, review, log } = options;
  /** Started again, and not reviewed since. */
  const unreviewed = new Set<OrderId>();

  /** @throws RetryRefusedError */
  function failedOrder(id: OrderId): Order {
    const order = store.order(id);
    if (!order) throw new RetryRefusedError(`there is no order ${id}`);
    if (order.endedAt !== null) throw new RetryRefusedError(`the subscription of order ${id} has ended`);
    if (order.state !== "failed") {
      throw new RetryRefusedError(`order ${id} is ${order.state}; only failed orders are started again`);
    }
    // An order that was rebuilt after its database was lost: what its agent needs is the customer's to give again.
    if (store.agentSecrets(id).gatewayToken === "") {
      throw new RetryRefusedError(
        `the environment of order ${id} was lost with the database: ask the customer for it, and make a new order`,
      );
    }
    return order;
  }

  async function reviewed({ id, subscription }: Order): Promise<void> {
    if (subscription !== null) await review(subscription, { evenFailed: true });
    unreviewed.delete(id);
  }

  /** Ends with the review, whatever came of it, or when a person has waited for long enough. */
  async function reviewFirst(order: Order): Promise<void> {
    const { id } = order;
    unreviewed.add(id);
    const patience = new AbortController();
    const asked = reviewed(order).catch((err: unknown) =>
      log.warn({ order: id, err }, "Stripe could not be asked for an order that is started again"),
    );
    await Promise.race([asked, clock.delay(patienceMs, patience.signal)]);
    patience.abort();
  }

  return {
    async retry(id, actor) {
      await reviewFirst(failedOrder(id));
      // Read again: Stripe may have said that it is over, or another person was faster.
      const order = failedOrder(id);
      // Stripe is asked anew: that it disagreed may have been the reason.
      options.forget(id);
      const retried = store.retryOrder(id, options.locationsOf(order.region), { actor });
      log.info({ order: id, actor, machine: retried.machine?.name ?? null }, "order started again");
      if (retried.machine) options.onClaimed(retried.machine.name, id);
      else options.onQueued(id);
      return retried.order;
    },
    async reviewRetried() {
      for (const id of unreviewed) {
        const order = store.order(id);
        if (order) await reviewed(order);
      }
    },
  };
}
