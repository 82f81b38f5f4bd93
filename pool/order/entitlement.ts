/**
 * What a subscription, as Stripe shows it, entitles its order to. Pure: fetched objects in, a verdict out; the webhook that
 * brought somebody to fetch them has no say. The statuses' meanings are Stripe's ("How subscriptions work", Statuses).
 *
 *   subscription                                   verdict
 *   active, trialing                               serve
 *     … with `pause_collection`                    serve: only the collecting is paused, Stripe's own advice is to go on
 *     … with `cancel_at`                           serve, until it has ended
 *   past_due, something was paid before            serve for `overdue` since it was first seen so, then suspend `past-due`
 *   past_due, the first invoice itself             serve for `neverPaid` (0 by default), then suspend `never-paid`
 *   unpaid                                         suspend `unpaid`: Stripe has given up collecting
 *   paused                                         suspend `paused`: Stripe makes no invoices while it lasts
 *   canceled, incomplete_expired                   end: nothing revives it; the machine goes after the grace
 *   incomplete                                     nothing: the checkout decides
 *   a word that we do not know, or no such object  nothing, and a person is told: a wrong key looks the same
 *
 *   payments, while the subscription itself says serve
 *     dispute needs_response, under_review, appeal_*   suspend `disputed` (by policy)
 *     dispute lost                                     suspend `dispute-lost` (by policy)
 *     dispute won, prevented                           serve
 *     dispute warning_*, or a word that we do not know serve, and a person is told: an inquiry takes no money yet
 *     newest payment refunded in full                  serve, and a person is told; suspend `refunded` (by policy)
 *     refunded in part, an older one refunded          serve: the bill was corrected
 *
 * Nothing here destroys: only `end` leads there, and Stripe is asked once more before it does (pool/machine/release.ts).
 * A deleted customer's subscriptions are cancelled by Stripe, and end as such.
 */
import type { Dispute, Standing } from "../stripe/stripe.ts";

export const suspensionReasons = [
  "paused",
  "unpaid",
  "past-due",
  "never-paid",
  "disputed",
  "dispute-lost",
  "refunded",
  "person",
] as const;
export type SuspensionReason = (typeof suspensionReasons)[number];

/** The operator's policy. Durations in milliseconds. */
export interface SuspensionTerms {
  readonly overdueMs: number;
  readonly neverPaidMs: number;
  readonly dispute: "suspend" | "serve";
  readonly lostDispute: "suspend" | "serve";
  readonly refund: "suspend" | "serve";
  /** How long a suspended machine is kept before somebody has to decide; null: for ever. */
  readonly keepMs: number | null;
  /** What then: a person is asked, or the subscription is cancelled in Stripe, whose end then takes its usual way. */
  readonly afterwards: "ask" | "cancel";
}

/** Something that a person should know; `kind` is that of the flag. */
export interface Notice {
  readonly kind: "dispute" | "refund" | "stripe-status";
  readonly text: string;
}

export type Entitlement = {
  readonly notices: readonly Notice[];
  /** Since when (epoch ms) a payment is overdue; null when none is. To be given again the next time. */
  readonly overdueSince: number | null;
} & (
  | {
      readonly do: "serve";
      /** While a payment is overdue: when it will be suspended (epoch ms). */
      readonly suspendsAt: number | null;
    }
  | { readonly do: "suspend"; readonly reason: Exclude<SuspensionReason, "person">; readonly text: string }
  | { readonly do: "end"; readonly text: string }
  | { readonly do: "nothing"; readonly text: string }
);

/** Nothing revives a subscription in these states. */
export const hasEnded = ({ status }: { readonly status: string }): boolean =>
  status === "canceled" || status === "incomplete_expired";

/**
 * @param standing null when Stripe has no such subscription
 * @param overdueSince what this function said of the same subscription the last time; Stripe does not show it
 */
export function entitlement(
  standing: Standing | null,
  { terms, now, overdueSince }: { terms: SuspensionTerms; now: number; overdueSince: number | null },
): Entitlement {
  if (standing === null) {
    const text = "Stripe has no such subscription; is the key of another account or mode?";
    return { do: "nothing", text, notices: [{ kind: "stripe-status", text }], overdueSince };
  }
  const { subscription } = standing;
  const { id, status } = subscription;
  const calm = { notices: [], overdueSince: null };
  switch (status) {
    case "canceled":
    case "incomplete_expired":
      return {
        ...calm,
        do: "end",
        text: `subscription ended: ${subscription.cancelReason ?? "no reason given"}`,
      };
    case "incomplete":
      return { ...calm, do: "nothing", text: "the first payment is under way" };
    case "active":
    case "trialing":
      return byPayments(standing, terms, null, null);
    case "past_due":
      return pastDue(standing, terms, now, overdueSince ?? now);
    case "unpaid": {
      const text = "the payment failed for good: Stripe has given up collecting it";
      return { do: "suspend", reason: "unpaid", text, notices: [], overdueSince };
    }
    case "paused": {
      const why = subscription.pausedBecause;
      const text = `the subscription is paused${why === null ? "" : ` (${why.replaceAll("_", " ")})`}`;
      return { ...calm, do: "suspend", reason: "paused", text };
    }
    default: {
      const text = `subscription ${id} has the status ${status}, which this release does not know; nothing is changed`;
      return { do: "nothing", text, notices: [{ kind: "stripe-status", text }], overdueSince };
    }
  }
}

/** Stripe goes on trying meanwhile; most renewals that fail are paid within days. */
function pastDue(standing: Standing, terms: SuspensionTerms, now: number, since: number): Entitlement {
  const { latestInvoice } = standing.subscription;
  const neverPaid = standing.charges.length === 0 && latestInvoice?.reason === "subscription_create";
  const suspendsAt = since + (neverPaid ? terms.neverPaidMs : terms.overdueMs);
  if (now < suspendsAt) return byPayments(standing, terms, since, suspendsAt);
  const reason = neverPaid ? "never-paid" : "past-due";
  const text = neverPaid
    ? "the first payment failed: nothing was ever paid"
    : "a payment is overdue, and the time to make it up is over";
  return { do: "suspend", reason, text, notices: [], overdueSince: since };
}

/** The subscription says serve; what became of the money that was paid for it may say otherwise. */
function byPayments(
  { subscription, charges }: Standing,
  terms: SuspensionTerms,
  overdueSince: number | null,
  suspendsAt: number | null,
): Entitlement {
  const disputes = charges.flatMap((charge) => charge.disputes);
  const found = (kind: ReturnType<typeof meaning>) => disputes.find((dispute) => meaning(dispute) === kind);
  const [lost, open, inquiry] = [found("lost"), found("open"), found("inquiry")];
  const [newest] = charges;
  const refunded = newest !== undefined && newest.amount > 0 && newest.amountRefunded >= newest.amount;
  const about = `of subscription ${subscription.id}`;
  const notices: Notice[] = [];
  for (const dispute of [lost, open, inquiry]) {
    if (dispute)
      notices.push({ kind: "dispute", text: `dispute ${dispute.id} ${about} is ${dispute.status}` });
  }
  if (refunded) {
    const text = `the newest payment ${about} (${newest.id}) was refunded in full, and the subscription goes on`;
    notices.push({ kind: "refund", text });
  }
  const shared = { notices, overdueSince };
  if (open && terms.dispute === "suspend") {
    const text = "the customer's bank disputes a payment";
    return { ...shared, do: "suspend", reason: "disputed", text };
  }
  if (lost && terms.lostDispute === "suspend") {
    const text = "the customer's bank took a payment back";
    return { ...shared, do: "suspend", reason: "dispute-lost", text };
  }
  if (refunded && terms.refund === "suspend") {
    return { ...shared, do: "suspend", reason: "refunded", text: "the newest payment was refunded in full" };
  }
  return { ...shared, do: "serve", suspendsAt };
}

/** Stripe's statuses of a dispute (API reference, The Dispute object). Inquiries begin with `warning_`. */
function meaning({ status }: Dispute): "open" | "lost" | "settled" | "inquiry" {
  switch (status) {
    case "needs_response":
    case "under_review":
      return "open";
    case "lost":
      return "lost";
    case "won":
    case "prevented":
    case "warning_closed":
      return "settled";
    default:
      return status.startsWith("appeal_") ? "open" : "inquiry";
  }
}
