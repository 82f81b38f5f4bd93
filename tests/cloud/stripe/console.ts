/** The buyer's and the operator's side: what people do at Stripe that is no API call of the product. */
import Router from "@koa/router";
import type { Context, Middleware } from "koa";
import getRawBody from "raw-body";
import { z } from "zod";
import type { Fault } from "./api.ts";
import type { Sender, SendOptions } from "./delivery.ts";
import { ApiError } from "./errors.ts";
import type { SessionObject, SubscriptionObject } from "./objects.ts";
import type { Account, EventObject } from "./state.ts";

export interface BuyOptions extends SendOptions {
  readonly paymentStatus?: "paid" | "unpaid";
}

export interface Happened {
  readonly events: readonly EventObject[];
  /** Resolves when each event had its first try at the webhook. */
  readonly sent: Promise<void>;
}

export interface StripeConsole {
  /** The buyer completes the hosted page. */
  buy(
    session: string,
    options?: BuyOptions,
  ): Happened & { session: SessionObject; subscription: SubscriptionObject };
  /** The payment of a session bought with `unpaid` clears. */
  paymentSucceeds(session: string, options?: SendOptions): Happened;
  paymentFails(session: string, options?: SendOptions): Happened;
  /** The checkout is left alone for too long. */
  expire(session: string, options?: SendOptions): Happened;
  cancel(subscription: string, options?: SendOptions & { reason?: string }): Happened;
  /** Makes the next matching calls of the API fail. */
  fail(fault: Fault): void;
  /** Keeps the next matching call of the API waiting until the returned function is called. */
  hold(call: string): () => void;
}

export function createConsole(account: Account, sender: Sender, faults: Fault[]): StripeConsole {
  const announce = (events: readonly EventObject[], options: SendOptions = {}): Happened => ({
    events,
    sent: sender.send(events, options),
  });
  return {
    buy(sessionId, options = {}) {
      const happened = announce(account.complete(sessionId, options.paymentStatus ?? "paid"), options);
      const session = account.session(sessionId);
      return { ...happened, session, subscription: account.subscription(session.subscription ?? "") };
    },
    paymentSucceeds: (session, options) => announce(account.settle(session, "succeeded"), options),
    paymentFails: (session, options) => announce(account.settle(session, "failed"), options),
    expire: (session, options) => announce(account.expire(session), options),
    cancel: (subscription, options = {}) => announce(account.cancel(subscription, options.reason), options),
    fail: (fault) => {
      faults.push(fault);
    },
    hold: (call) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      faults.push({ call, status: "held", times: 1, until: promise });
      return resolve;
    },
  };
}

const sending = {
  order: z.array(z.string()).optional(),
  duplicates: z.int().min(0).max(10).optional(),
  hold: z.boolean().optional(),
};
const ofSession = z.strictObject({ session: z.string(), ...sending });

/** The console over HTTP below /_local, and the page that a checkout URL leads to. */
export function createLocalRoutes(desk: StripeConsole, sender: Sender, account: Account): Middleware {
  const router = new Router();

  const action = <T>(name: string, shape: z.ZodType<T>, run: (input: T) => unknown) =>
    router.post(`/_local/${name}`, async (context) => {
      const text = await getRawBody(context.req, { limit: "64kb", encoding: "utf8" });
      const input = shape.safeParse(text === "" ? {} : JSON.parse(text));
      if (!input.success) throw new ApiError(400, { message: z.prettifyError(input.error) });
      const result = (await run(input.data)) as Partial<Happened> | undefined;
      await result?.sent;
      context.body = result?.events === undefined ? { ok: true } : { ...result, sent: true };
    });

  action("buy", ofSession.extend({ paymentStatus: z.enum(["paid", "unpaid"]).optional() }), (input) =>
    desk.buy(input.session, input),
  );
  action("payment-succeeds", ofSession, (input) => desk.paymentSucceeds(input.session, input));
  action("payment-fails", ofSession, (input) => desk.paymentFails(input.session, input));
  action("expire", ofSession, (input) => desk.expire(input.session, input));
  action(
    "cancel",
    z.strictObject({ subscription: z.string(), reason: z.string().optional(), ...sending }),
    (input) => desk.cancel(input.subscription, input),
  );
  action("release", z.strictObject({ order: z.array(z.string()).optional() }), (input) =>
    sender.release(input.order),
  );
  action("webhook", z.strictObject({ url: z.url().nullable() }), (input) => sender.setWebhook(input.url));
  action(
    "fail",
    z.strictObject({
      call: z.string(),
      status: z.union([z.int().min(400).max(599), z.literal("cut")]),
      times: z.int().min(1),
      after: z.boolean().optional(),
    }),
    (input) => desk.fail(input),
  );
  router.get("/_local/deliveries", (context) => {
    context.body = sender.deliveries();
  });
  router.get("/_local/state", (context) => {
    context.body = {
      sessions: [...account.sessions.values()],
      subscriptions: [...account.subscriptions.values()],
      events: account.events,
    };
  });

  router.get("/c/pay/:session", (context) => {
    context.type = "html";
    context.body = payPage(account.session(String(context.params.session)));
  });
  router.post("/c/pay/:session", async (context) => {
    const session = account.session(String(context.params.session));
    await desk.buy(session.id).sent;
    context.redirect(session.success_url.replace("{CHECKOUT_SESSION_ID}", session.id));
    context.status = 303;
  });

  const routes = router.routes();
  return async (context: Context, next) => {
    try {
      await routes(context as never, next);
    } catch (error) {
      if (error instanceof SyntaxError) context.status = 400;
      else if (error instanceof ApiError) {
        context.status = error.status;
        context.body = error.body;
      } else throw error;
    }
  };
}

function payPage(session: SessionObject): string {
  const open = session.status === "open";
  const amount = `${(Number(session.amount_total) / 100).toFixed(2)} ${String(session.currency).toUpperCase()}`;
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Checkout (stand-in)</title>
<meta name="viewport" content="width=device-width"><style>
:root{color-scheme:light dark;font:16px system-ui}main{max-width:24rem;margin:15vh auto;text-align:center}
button{font:inherit;padding:.7em 2em;cursor:pointer}code{font-size:.75em;overflow-wrap:anywhere}</style>
<main><h1>${amount} a month</h1><p>This page stands for Stripe's. No money moves.</p>
${open ? '<form method="post"><button>Pay</button></form>' : `<p>This checkout is ${session.status}.</p>`}
<p><code>${session.id}</code></p></main></html>`;
}
