/**
 * A subscription is looked at: its objects are fetched, judged (entitlement.ts), and the verdict is written to its order.
 * Webhooks, the sweep and people ask for it; none of them says what comes out. Looks at one subscription come one after
 * the other, so that an older answer of Stripe's is never written over a newer one.
 */
import type { InboxEvent, Store } from "../store/store.ts";
import type { Standing, StripeGateway } from "../stripe/stripe.ts";
import { type Entitlement, entitlement, type SuspensionTerms } from "./entitlement.ts";
import type { Order } from "./order.ts";
import { endSubscription, type PaymentContext } from "./payments.ts";

export interface Review {
  readonly order: Order;
  readonly verdict: Entitlement;
  /** What the order's row said otherwise; null when nothing changes. */
  readonly change: {
    /** `due`: only time has passed, no webhook tells of it. */
    readonly kind: "suspend" | "resume" | "end" | "due";
    readonly text: string;
  } | null;
  /** False when row and flags say all of the verdict already. */
  readonly differs: boolean;
}

export interface ReviewContext extends PaymentContext {
  readonly store: Store;
  readonly stripe: StripeGateway;
  readonly terms: () => SuspensionTerms;
}

export interface Reviewer {
  /**
   * Fetches, judges and writes; with `dryRun` writes nothing, `evenFailed` is for an order that is to be started again.
   * @returns null when no order has this subscription, or it has ended already, or failed
   * @throws BorderError when Stripe cannot be asked; then nothing is changed
   */
  review(
    subscription: string,
    options?: { event?: InboxEvent; dryRun?: boolean; evenFailed?: boolean },
  ): Promise<Review | null>;
  /** Reviews all that the event may be about: of disputes and refunds all that the same customer has. Throws as `review`. */
  reviewEvent(event: InboxEvent): Promise<Order[]>;
}

const noticeKinds = ["dispute", "refund", "stripe-status"] as const;

export function createReviewer(context: ReviewContext): Reviewer {
  const { store, stripe } = context;
  const turns = new Map<string, Promise<unknown>>();

  async function look(
    subscription: string,
    event: InboxEvent | null,
    { dryRun, evenFailed }: { dryRun: boolean; evenFailed: boolean },
  ): Promise<Review | null> {
    const isReviewed = evenFailed ? isLiving : isOpen;
    if (!isReviewed(store.orderBySubscription(subscription))) return null;
    const standing = await stripe.fetchStanding(subscription);
    // Read again: a machine or a person may have moved it while Stripe was asked.
    const order = store.orderBySubscription(subscription);
    if (!isReviewed(order)) return null;
    const { overdueSince } = order;
    const verdict = entitlement(standing, { terms: context.terms(), now: context.clock.now(), overdueSince });
    const change = changeOf(order, verdict);
    const differs = change !== null || verdict.overdueSince !== overdueSince || !isTold(order, verdict);
    if (dryRun) return { order, verdict, change, differs };
    if (event) store.keepEvent(event);
    tell(order, verdict);
    write(order, standing, verdict, event);
    return { order: store.order(order.id) ?? order, verdict, change, differs };
  }

  function write(
    order: Order,
    standing: Standing | null,
    verdict: Entitlement,
    event: InboxEvent | null,
  ): void {
    const cause = { actor: "stripe", run: event?.id ?? null };
    const { overdueSince } = verdict;
    switch (verdict.do) {
      case "end":
        if (standing) endSubscription(event, standing.subscription, context);
        return;
      case "suspend": {
        const { reason, text } = verdict;
        store.recordStanding(order.id, { suspension: { reason, text }, overdueSince }, text, cause);
        return;
      }
      case "serve": {
        const why = overdueSince === null ? "the subscription is in order" : "a payment is overdue";
        store.recordStanding(order.id, { suspension: null, overdueSince }, why, cause);
        return;
      }
      case "nothing":
        return;
    }
  }

  function isTold(order: Order, { notices }: Entitlement): boolean {
    const flags = store.flags().filter(({ subject }) => subject === order.id);
    return noticeKinds.every(
      (kind) => notices.some((notice) => notice.kind === kind) === flags.some((flag) => flag.kind === kind),
    );
  }

  /** Said while it lasts, and taken back when it is over. */
  function tell(order: Order, { notices }: Entitlement): void {
    for (const kind of noticeKinds) {
      const found = notices.filter((notice) => notice.kind === kind).map(({ text }) => text);
      if (found.length > 0) store.flag(kind, order.id, `order ${order.id}: ${found.join("; ")}`);
      else store.clearFlag(kind, order.id, "Stripe does not show it any more");
    }
  }

  const review: Reviewer["review"] = (subscription, { event, dryRun = false, evenFailed = false } = {}) => {
    const before = turns.get(subscription) ?? Promise.resolve();
    const turn = before.then(() => look(subscription, event ?? null, { dryRun, evenFailed }));
    const settled = turn.catch(() => {});
    turns.set(subscription, settled);
    void settled.then(() => turns.get(subscription) === settled && turns.delete(subscription));
    return turn;
  };

  async function subscriptionsOf({ type, object }: InboxEvent): Promise<string[]> {
    const about = Object.hasOwn(reviewed, type) ? reviewed[type] : undefined;
    if (object === "" || about === undefined) return [];
    if (about === "subscription") return [object];
    const customer = about === "customer" ? object : (await stripe.fetchClaim(about, object))?.customer;
    return customer ? subscriptionsOfCustomer(store, customer) : [];
  }

  return {
    review,
    async reviewEvent(event) {
      const orders: Order[] = [];
      for (const subscription of await subscriptionsOf(event)) {
        const found = await review(subscription, { event });
        if (found) orders.push(found.order);
      }
      return orders;
    },
  };
}

const isLiving = (order: Order | null): order is Order =>
  order !== null && order.endedAt === null && order.paidAt !== null;

/** Nobody's order, or one that is over, is not suspended any more. */
const isOpen = (order: Order | null): order is Order => isLiving(order) && order.state !== "failed";

function changeOf(order: Order, verdict: Entitlement): Review["change"] {
  if (verdict.do === "end") return { kind: "end", text: `${verdict.text}, and its order is ${order.state}` };
  if (order.held !== null || verdict.do === "nothing") return null;
  if (verdict.do === "serve") {
    if (order.suspendedFor === null) return null;
    return { kind: "resume", text: `it may be served, and its order is suspended (${order.suspendedFor})` };
  }
  if (verdict.reason === order.suspendedFor) return null;
  const byTime = verdict.reason === "past-due" || verdict.reason === "never-paid";
  const text = `${verdict.text}, and its order is ${order.suspendedFor ?? order.state}`;
  return { kind: byTime ? "due" : "suspend", text };
}

/** Events that may change what a subscription entitles to, and what they are about. */
const reviewed: Readonly<Record<string, "subscription" | "customer" | "dispute" | "refund" | "charge">> = {
  "customer.subscription.updated": "subscription",
  "customer.subscription.paused": "subscription",
  "customer.subscription.resumed": "subscription",
  "charge.dispute.created": "dispute",
  "charge.dispute.updated": "dispute",
  "charge.dispute.closed": "dispute",
  "charge.dispute.funds_withdrawn": "dispute",
  "charge.dispute.funds_reinstated": "dispute",
  "charge.refunded": "charge",
  "refund.created": "refund",
  "refund.updated": "refund",
  "refund.failed": "refund",
  "customer.deleted": "customer",
};

/** Of orders that have not ended. */
export function subscriptionsOfCustomer(store: Pick<Store, "orders">, stripeCustomer: string): string[] {
  return store
    .orders({ stripeCustomer })
    .filter(isOpen)
    .flatMap(({ subscription }) => subscription ?? []);
}

/** The operator's words for what a customer can do. */
export function remedyOf(order: Pick<Order, "suspendedFor">): string | null {
  switch (order.suspendedFor) {
    case "past-due":
    case "unpaid":
    case "never-paid":
      return "pay the open invoice; the agent then goes on where it stopped";
    case "paused":
      return "resume the subscription; the agent then goes on where it stopped";
    case "disputed":
      return "settle or withdraw the dispute with the bank";
    case "dispute-lost":
    case "refunded":
    case "person":
      return "ask the operator";
    case null:
      return null;
  }
}
