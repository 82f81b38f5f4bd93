/** The hosted page that a checkout URL leads to: for the buyer to pay at, then for whoever plays with the purchase. */
import Router from "@koa/router";
import type { Middleware } from "koa";
import getRawBody from "raw-body";
import type { Happened, StripeConsole } from "./console.ts";
import { refused } from "./errors.ts";
import { decodeForm } from "./form.ts";
import type { SessionObject, SubscriptionObject } from "./objects/wire.ts";
import type { Account } from "./state/account.ts";

/** What can be done next, by the name that the form sends. */
type Action = (session: SessionObject) => Happened;

export function createPayPage(account: Account, desk: StripeConsole): Middleware {
  const subscription = (session: SessionObject) => account.subscription(session.subscription ?? "").id;
  const onSubscription =
    (act: (id: string) => Happened): Action =>
    (session) =>
      act(subscription(session));
  const buy = ({ id, mode }: SessionObject, paymentStatus: "paid" | "unpaid") =>
    mode === "payment" ? desk.buyOnce(id, { paymentStatus }) : desk.buy(id, { paymentStatus });
  const actions: Readonly<Record<string, Action>> = {
    pay: (session) => buy(session, "paid"),
    "pay-later": (session) => buy(session, "unpaid"),
    expire: ({ id }) => desk.expire(id),
    "payment-succeeds": ({ id }) => desk.paymentSucceeds(id),
    "payment-fails": ({ id }) => desk.paymentFails(id),
    cancel: onSubscription((id) => desk.cancel(id)),
    "cancel-at-period-end": onSubscription((id) => desk.cancelAtPeriodEnd(id)),
    "keep-after-all": onSubscription((id) => desk.cancelAtPeriodEnd(id, { undo: true })),
    pause: onSubscription((id) => desk.pause(id)),
    resume: onSubscription((id) => desk.resume(id)),
    renew: onSubscription((id) => desk.renew(id)),
    "fail-payment": onSubscription((id) => desk.failPayment(id)),
    "fail-payment-for-good": onSubscription((id) => desk.failPayment(id, { final: "unpaid" })),
    recover: onSubscription((id) => desk.paymentRecovers(id)),
    refund: onSubscription((id) => desk.refund(id)),
    dispute: onSubscription((id) => desk.dispute(id)),
  };

  const router = new Router();
  router.get("/c/pay/:session", (context) => {
    const session = account.session(String(context.params.session));
    context.type = "html";
    context.body = page(session, account.subscriptions.get(session.subscription ?? "") ?? null);
  });
  router.post("/c/pay/:session", async (context) => {
    const session = account.session(String(context.params.session));
    const form = decodeForm(await getRawBody(context.req, { limit: "4kb", encoding: "utf8" }));
    const name = typeof form.action === "string" ? form.action : "pay";
    const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
    if (!action) throw refused(`There is no ${name.slice(0, 40)}.`);
    // The buyer goes on when the webhook has answered, as at Stripe.
    await action(session).sent;
    const paid = name === "pay" || name === "pay-later";
    const back = paid ? session.success_url?.replaceAll("{CHECKOUT_SESSION_ID}", session.id) : null;
    context.redirect(back ?? context.path);
    context.status = 303;
  });
  const routes = router.routes();
  return (context, next) => routes(context as never, next);
}

/** The actions that make sense now, by name and words. */
function choices(
  session: SessionObject,
  subscription: SubscriptionObject | null,
): readonly (readonly [name: string, words: string])[] {
  if (session.status === "open") {
    return [
      ["pay", "Pay"],
      ["pay-later", "Pay by bank debit"],
      ["expire", "Let it run out"],
    ];
  }
  const pending = session.status === "complete" && session.payment_status === "unpaid";
  const settling = [
    ["payment-succeeds", "The debit clears"],
    ["payment-fails", "The debit fails"],
  ] as const;
  if (!subscription || subscription.ended_at !== null) return pending ? settling : [];
  return [
    ...(pending ? settling : []),
    ...(subscription.status === "paused"
      ? ([["resume", "Resume"]] as const)
      : ([["pause", "Pause"]] as const)),
    subscription.cancel_at_period_end
      ? (["keep-after-all", "Keep it after all"] as const)
      : (["cancel-at-period-end", "Cancel at the period's end"] as const),
    ["cancel", "Cancel now"],
    ["renew", "The period ends"],
    ["fail-payment", "The next payment fails"],
    ["fail-payment-for-good", "… and was the last try"],
    ["recover", "The open invoice is paid"],
    ["refund", "Refund"],
    ["dispute", "Dispute"],
  ];
}

function page(session: SessionObject, subscription: SubscriptionObject | null): string {
  const amount = `${((session.amount_total ?? 0) / 100).toFixed(2)} ${String(session.currency).toUpperCase()}`;
  const buttons = choices(session, subscription)
    .map(([name, words]) => `<button name="action" value="${name}">${words}</button>`)
    .join("\n");
  const state =
    session.status === "open"
      ? ""
      : `<p>This checkout is ${session.status}, ${session.payment_status}${
          subscription ? `; the subscription is ${subscription.status}` : ""
        }.</p>`;
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Checkout (stand-in)</title>
<meta name="viewport" content="width=device-width"><style>
:root{color-scheme:light dark;font:16px system-ui}main{max-width:24rem;margin:15vh auto;text-align:center}
form{display:grid;gap:.5em}button{font:inherit;padding:.7em 2em;cursor:pointer}
code{font-size:.75em;overflow-wrap:anywhere}</style>
<main><h1>${amount}${session.mode === "subscription" ? " a month" : ""}</h1>
<p>This page stands for Stripe's. No money moves.</p>
${state}
<form method="post">${buttons}</form>
<p><code>${session.id}</code></p></main></html>`;
}
