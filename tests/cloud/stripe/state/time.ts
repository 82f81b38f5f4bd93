/** What time alone does. Nothing here ticks: it is looked at before each call and each act of the console. */
import type { SubscriptionObject } from "../objects/wire.ts";
import type { Account } from "./account.ts";
import { settleSession } from "./checkout.ts";
import { closeUnpaid } from "./invoices.ts";
import { cancelNow, endTrial, updated } from "./subscriptions.ts";

/** A first invoice that nobody paid. Source: Stripe's documentation of the status `incomplete`. */
const incompleteForSeconds = 23 * 3_600;

/**
 * Sessions run out, debits of Stripe's test accounts end, trials end, subscriptions end at `cancel_at` or because their
 * first invoice was never paid, collection goes on at `resumes_at`.
 */
export function passTime(account: Account): void {
  const now = account.now();
  for (const session of account.sessions.values()) {
    if (session.status !== "open" || session.expires_at > now) continue;
    Object.assign(session, { status: "expired", url: null });
    account.record("checkout.session.expired", session);
  }
  for (const [session, outcome] of [...account.settling]) settleSession(account, session, outcome);
  for (const subscription of account.subscriptions.values()) {
    if (subscription.ended_at === null) passFor(account, subscription, now);
  }
}

function passFor(account: Account, subscription: SubscriptionObject, now: number): void {
  const { status, cancel_at, trial_end, pause_collection } = subscription;
  if (cancel_at !== null && cancel_at <= now) cancelNow(account, subscription);
  else if (status === "trialing" && trial_end !== null && trial_end <= now) endTrial(account, subscription);
  else if (status === "incomplete" && subscription.created + incompleteForSeconds <= now) {
    const invoice = account.invoices.get(subscription.latest_invoice ?? "");
    if (invoice?.status === "open") closeUnpaid(account, invoice, "void");
    account.change(subscription, { status: "incomplete_expired", ended_at: now }, updated);
  } else if (pause_collection?.resumes_at != null && pause_collection.resumes_at <= now) {
    account.change(subscription, { pause_collection: null }, updated);
  }
}
