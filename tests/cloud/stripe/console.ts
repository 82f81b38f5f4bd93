/** The buyer's, the bank's and the operator's side: what happens at Stripe that is no API call of the product. */

import { missing, refused } from "./errors.ts";
import type { Faults } from "./faults.ts";
import type {
  CancelReason,
  DisputeObject,
  EventObject,
  InvoiceObject,
  RefundObject,
  SessionObject,
  SubscriptionObject,
} from "./objects/wire.ts";
import type { Sender, SendOptions } from "./sender.ts";
import type { Account } from "./state/account.ts";
import { completeSession, expireSession, settleSession } from "./state/checkout.ts";
import type { Destination } from "./state/destinations.ts";
import { collect } from "./state/invoices.ts";
import {
  chargeOf,
  closeDispute,
  type DisputeEnd,
  dispute,
  failRefund,
  type NewDispute,
  type NewRefund,
  refund,
} from "./state/payments.ts";
import {
  type AfterLastFailure,
  cancelNow,
  failPayment,
  type PausedReason,
  pause,
  renew,
  resume,
  setCancelAtPeriodEnd,
} from "./state/subscriptions.ts";
import { passTime } from "./state/time.ts";

export interface Happened {
  readonly events: readonly EventObject[];
  /** Resolves when each event had its first try at every destination. */
  readonly sent: Promise<void>;
}

export interface StripeConsole {
  /** The buyer completes the hosted page; `unpaid` with a bank debit, which takes days. */
  buy(
    session: string,
    options?: SendOptions & { readonly paymentStatus?: "paid" | "unpaid" | undefined },
  ): Happened & { session: SessionObject; subscription: SubscriptionObject };
  /** The same for a session of mode `payment`. */
  buyOnce(
    session: string,
    options?: SendOptions & { readonly paymentStatus?: "paid" | "unpaid" | undefined },
  ): Happened & { session: SessionObject };
  /** The payment of a session bought with `unpaid` clears. */
  paymentSucceeds(session: string, options?: SendOptions): Happened;
  paymentFails(session: string, options?: SendOptions): Happened;
  /** The checkout is left alone for too long. */
  expire(session: string, options?: SendOptions): Happened;
  cancel(
    subscription: string,
    options?: SendOptions & { readonly reason?: CancelReason | undefined },
  ): Happened;
  /** With `undo` it goes on after all. */
  cancelAtPeriodEnd(
    subscription: string,
    options?: SendOptions & { readonly undo?: boolean | undefined },
  ): Happened;
  /** Status `paused`. */
  pause(
    subscription: string,
    options?: SendOptions & { readonly reason?: PausedReason | undefined },
  ): Happened;
  resume(subscription: string, options?: SendOptions): Happened;
  /** Invoices are not collected for a while; the status stays. Null ends that. */
  pauseCollection(
    subscription: string,
    options?: SendOptions & {
      readonly behavior?: "keep_as_draft" | "mark_uncollectible" | "void" | null | undefined;
    },
  ): Happened;
  /** The period ends: what was to end ends, any other is charged for the next one. */
  renew(subscription: string, options?: SendOptions): Happened & { invoice: InvoiceObject | null };
  /**
   * The bank refuses: the open invoice's next try, else the one of a new period. With `final` it was the last, and the
   * account's settings make this of it. Until `paymentRecovers` calls of `invoices.pay` are refused, too.
   */
  failPayment(
    subscription: string,
    options?: SendOptions & { readonly final?: AfterLastFailure | undefined },
  ): Happened & { invoice: InvoiceObject };
  /** The buyer has a good card again; the open invoice is paid. */
  paymentRecovers(subscription: string, options?: SendOptions): Happened;
  /** Of the newest charge of a subscription, or of the charge named; all of it unless `amount` says otherwise. */
  refund(of: string, options?: SendOptions & NewRefund): Happened & { refund: RefundObject };
  /** The bank sends a refund back. */
  refundFails(refund: string, options?: SendOptions): Happened;
  /** The buyer goes to the bank, about the newest charge of a subscription or the charge named. */
  dispute(of: string, options?: SendOptions & NewDispute): Happened & { dispute: DisputeObject };
  closeDispute(dispute: string, end: DisputeEnd, options?: SendOptions): Happened;
  /** Time alone: sessions run out, subscriptions end at their `cancel_at`. Calls of the API look at the clock, too. */
  passTime(options?: SendOptions): Happened;
  /** Sends an event once more, as the dashboard's "Resend" does. */
  resend(event: string): Promise<void>;
  /**
   * A new signing secret for a destination; the old one signs beside it for `overlapSeconds` (a day).
   * @returns the new secret
   */
  rollSecret(destination: string, overlapSeconds?: number): string;
  /** Keeps the next call of `METHOD /path` waiting until the returned function is called. */
  hold(call: string): () => void;
}

export function createConsole(account: Account, sender: Sender, faults: Faults): StripeConsole {
  /** Time passes first, so that nothing is done with what has run out. */
  function act<T extends object>(options: SendOptions, work: () => T): Happened & T {
    passTime(account);
    let made: T;
    let events: readonly EventObject[] = [];
    try {
      made = work();
    } finally {
      events = account.takeFresh();
    }
    return { ...made, events, sent: sender.send(events, options) };
  }

  function inMode(mode: "subscription" | "payment", id: string): string {
    if (account.session(id).mode !== mode) throw refused(`Session ${id} is not of mode ${mode}.`);
    return id;
  }

  const paidBy = ({ paymentStatus = "paid" }: { readonly paymentStatus?: "paid" | "unpaid" | undefined }) =>
    paymentStatus === "paid" ? "card" : "sepa_debit";

  const onSubscription = (
    id: string,
    options: SendOptions,
    work: (subscription: SubscriptionObject) => void,
  ): Happened =>
    act(options, () => {
      work(account.subscription(id));
      return {};
    });

  const charge = (of: string) =>
    of.startsWith("sub_") ? chargeOf(account, account.subscription(of)) : account.charge(of);

  function destination(id: string): Destination {
    const found = account.destinations.get(id);
    if (!found) throw missing("event destination", id);
    return found;
  }

  return {
    buy: (id, options = {}) =>
      act(options, () => {
        const session = completeSession(account, inMode("subscription", id), paidBy(options));
        return { session, subscription: account.subscription(session.subscription ?? "") };
      }),
    buyOnce: (id, options = {}) =>
      act(options, () => ({
        session: completeSession(account, inMode("payment", id), paidBy(options)),
      })),
    paymentSucceeds: (id, options = {}) =>
      act(options, () => ({ session: settleSession(account, id, "succeeded") })),
    paymentFails: (id, options = {}) =>
      act(options, () => ({ session: settleSession(account, id, "failed") })),
    expire: (id, options = {}) => act(options, () => ({ session: expireSession(account, id) })),
    cancel: (id, options = {}) =>
      onSubscription(id, options, (subscription) =>
        cancelNow(account, subscription, options.reason === undefined ? {} : { reason: options.reason }),
      ),
    cancelAtPeriodEnd: (id, options = {}) =>
      onSubscription(id, options, (subscription) =>
        setCancelAtPeriodEnd(account, subscription, !options.undo),
      ),
    pause: (id, options = {}) =>
      onSubscription(id, options, (subscription) =>
        pause(account, subscription, options.reason ?? "pause_requested"),
      ),
    resume: (id, options = {}) =>
      onSubscription(id, options, (subscription) => resume(account, subscription)),
    pauseCollection: (id, options = {}) =>
      onSubscription(id, options, (subscription) => {
        const { behavior = "void" } = options;
        const pausing = behavior === null ? null : { behavior, resumes_at: null };
        account.change(subscription, { pause_collection: pausing }, "customer.subscription.updated");
      }),
    renew: (id, options = {}) => act(options, () => ({ invoice: renew(account, account.subscription(id)) })),
    failPayment: (id, options = {}) =>
      act(options, () => {
        const subscription = account.subscription(id);
        account.declining.add(subscription.customer);
        return { invoice: failPayment(account, subscription, options.final ?? null) };
      }),
    paymentRecovers: (id, options = {}) =>
      onSubscription(id, options, (subscription) => {
        const invoice = account.invoice(subscription.latest_invoice ?? "");
        account.declining.delete(subscription.customer);
        if (invoice.status !== "open") throw refused(`Invoice ${invoice.id} is ${invoice.status}.`);
        collect(account, invoice, "succeeded");
      }),
    refund: (of, options = {}) => act(options, () => ({ refund: refund(account, charge(of), options) })),
    refundFails: (id, options = {}) =>
      act(options, () => {
        const made = account.refunds.get(id);
        if (!made) throw missing("refund", id);
        failRefund(account, made);
        return {};
      }),
    dispute: (of, options = {}) => act(options, () => ({ dispute: dispute(account, charge(of), options) })),
    closeDispute: (id, end, options = {}) =>
      act(options, () => {
        const made = account.disputes.get(id);
        if (!made) throw missing("dispute", id);
        closeDispute(account, made, end);
        return {};
      }),
    passTime: (options = {}) => act(options, () => ({})),
    async resend(id) {
      const event = account.events.find((one) => one.id === id);
      if (!event) throw missing("event", id);
      await sender.send([event]);
    },
    rollSecret: (id, overlapSeconds = 86_400) => destination(id).roll(overlapSeconds),
    hold(call) {
      const [method, path = ""] = call.split(" ", 2);
      const id = faults.add({
        on: "call",
        method: method as "GET" | "POST" | "DELETE",
        path,
        effect: { kind: "hold" },
      });
      return () => void faults.remove(id);
    },
  };
}
