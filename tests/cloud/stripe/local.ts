/** The stand-in's own routes below /_local, for people and for tests in other processes. */
import Router from "@koa/router";
import type { Context, Middleware } from "koa";
import getRawBody from "raw-body";
import { z } from "zod";
import type { Happened, StripeConsole } from "./console.ts";
import { ApiError } from "./errors.ts";
import { type FaultInput, type Faults, faultSchema } from "./faults.ts";
import type { Sender } from "./sender.ts";
import type { Account } from "./state/account.ts";

const sending = {
  order: z.array(z.string()).optional(),
  duplicates: z.int().min(0).max(10).optional(),
  hold: z.boolean().optional(),
};
const ofSession = z.strictObject({ session: z.string(), ...sending });
const ofSubscription = z.strictObject({ subscription: z.string(), ...sending });
const cancelReason = z.enum([
  "cancellation_requested",
  "payment_failed",
  "payment_disputed",
  "canceled_by_retention_policy",
]);
/** A subscription or a charge. */
const ofCharge = z.strictObject({ of: z.string(), ...sending });

export interface LocalRoutes {
  readonly desk: StripeConsole;
  readonly sender: Sender;
  readonly account: Account;
  readonly faults: Faults;
  readonly calls: () => readonly unknown[];
  readonly setWebhook: (url: string | null) => void;
}

/**
 * `POST /_local/{buy, buy-once, payment-succeeds, payment-fails, expire}` with `session`;
 * `POST /_local/{cancel, cancel-at-period-end, pause, resume, pause-collection, renew, fail-payment, recover}` with
 * `subscription`; `POST /_local/{refund, dispute}` with `of`, a subscription or a charge; `POST /_local/refund-fails`,
 * `close-dispute`, `resend`, `roll-secret`, `release`, `webhook`, `pass-time`;
 * `GET /_local/{state, calls, deliveries}`; `GET | POST | DELETE /_local/faults`, `DELETE /_local/faults/{id}`.
 */
export function createLocalRoutes(local: LocalRoutes): Middleware {
  const { desk, sender, account, faults } = local;
  const router = new Router();

  const action = <T>(name: string, shape: z.ZodType<T>, run: (input: T) => unknown) =>
    router.post(`/_local/${name}`, async (context) => {
      const text = await getRawBody(context.req, { limit: "64kb", encoding: "utf8" });
      const input = shape.safeParse(text === "" ? {} : JSON.parse(text));
      if (!input.success) throw new ApiError(400, { message: z.prettifyError(input.error) });
      const result = (await run(input.data)) as Partial<Happened> | undefined;
      await result?.sent;
      context.body = { ...result, ...(result?.sent ? { sent: true } : {}) };
    });

  action("buy", ofSession.extend({ paymentStatus: z.enum(["paid", "unpaid"]).optional() }), (input) =>
    desk.buy(input.session, input),
  );
  action("buy-once", ofSession.extend({ paymentStatus: z.enum(["paid", "unpaid"]).optional() }), (input) =>
    desk.buyOnce(input.session, input),
  );
  action("payment-succeeds", ofSession, (input) => desk.paymentSucceeds(input.session, input));
  action("payment-fails", ofSession, (input) => desk.paymentFails(input.session, input));
  action("expire", ofSession, (input) => desk.expire(input.session, input));
  action("cancel", ofSubscription.extend({ reason: cancelReason.optional() }), (input) =>
    desk.cancel(input.subscription, input),
  );
  action("cancel-at-period-end", ofSubscription.extend({ undo: z.boolean().optional() }), (input) =>
    desk.cancelAtPeriodEnd(input.subscription, input),
  );
  action("pause", ofSubscription, (input) => desk.pause(input.subscription, input));
  action("resume", ofSubscription, (input) => desk.resume(input.subscription, input));
  action(
    "pause-collection",
    ofSubscription.extend({
      behavior: z.enum(["keep_as_draft", "mark_uncollectible", "void"]).nullable().optional(),
    }),
    (input) => desk.pauseCollection(input.subscription, input),
  );
  action("renew", ofSubscription, (input) => desk.renew(input.subscription, input));
  action(
    "fail-payment",
    ofSubscription.extend({ final: z.enum(["past_due", "unpaid", "canceled", "paused"]).optional() }),
    (input) => desk.failPayment(input.subscription, input),
  );
  action("recover", ofSubscription, (input) => desk.paymentRecovers(input.subscription, input));
  action("refund", ofCharge.extend({ amount: z.int().min(1).optional() }), (input) =>
    desk.refund(input.of, { ...input, amount: input.amount ?? null }),
  );
  action("refund-fails", z.strictObject({ refund: z.string(), ...sending }), (input) =>
    desk.refundFails(input.refund, input),
  );
  action(
    "dispute",
    ofCharge.extend({ reason: z.string().optional(), inquiry: z.boolean().optional() }),
    ({ of, reason, inquiry = false, ...how }) =>
      desk.dispute(of, { ...how, inquiry, ...(reason === undefined ? {} : { reason }) }),
  );
  action(
    "close-dispute",
    z.strictObject({
      dispute: z.string(),
      end: z.enum(["won", "lost", "warning_closed", "prevented"]),
      ...sending,
    }),
    (input) => desk.closeDispute(input.dispute, input.end, input),
  );
  action("pass-time", z.strictObject(sending), (input) => desk.passTime(input));
  action("resend", z.strictObject({ event: z.string() }), (input) => desk.resend(input.event));
  action(
    "roll-secret",
    z.strictObject({ destination: z.string(), overlapSeconds: z.int().min(0).optional() }),
    (input) => ({ secret: desk.rollSecret(input.destination, input.overlapSeconds) }),
  );
  action("release", z.strictObject({ order: z.array(z.string()).optional() }), (input) =>
    sender.release(input.order),
  );
  action("webhook", z.strictObject({ url: z.url().nullable() }), (input) => local.setWebhook(input.url));
  action("faults", faultSchema as z.ZodType<FaultInput>, (input) => ({ id: faults.add(input) }));

  router.get("/_local/faults", (context) => {
    context.body = { faults: faults.list(), log: faults.log() };
  });
  router.delete("/_local/faults", (context) => {
    faults.clear();
    context.status = 204;
  });
  router.delete("/_local/faults/:id", (context) => {
    context.status = faults.remove(Number(context.params.id)) ? 204 : 404;
  });
  router.get("/_local/deliveries", (context) => {
    context.body = sender.deliveries();
  });
  router.get("/_local/calls", (context) => {
    context.body = local.calls();
  });
  router.get("/_local/state", (context) => {
    context.body = {
      sessions: [...account.sessions.values()],
      subscriptions: [...account.subscriptions.values()],
      invoices: [...account.invoices.values()],
      charges: [...account.charges.values()],
      refunds: [...account.refunds.values()],
      disputes: [...account.disputes.values()],
      destinations: [...account.destinations.values()].map(({ object, url }) => ({ ...object, url })),
      events: account.events,
    };
  });
  const routes = router.routes();
  return (context, next) => routes(context as never, next);
}

/** Answers what the routes behind it throw: never a stack trace. */
export function answerErrors(): Middleware {
  return async (context: Context, next) => {
    try {
      await next();
      if (context.status === 404 && context.body == null && context.method !== "DELETE") {
        throw new ApiError(404, { message: `There is nothing at ${context.method} ${context.path}.` });
      }
    } catch (error) {
      const known = error instanceof ApiError ? error : badBody(error);
      if (known === null) console.error("Stripe's stand-in:", error);
      context.status = known?.status ?? 500;
      context.body = known?.body ?? { error: { type: "api_error", message: "An unknown error occurred." } };
    }
  };
}

function badBody(error: unknown): ApiError | null {
  if (error instanceof SyntaxError) return new ApiError(400, { message: "The body is not JSON." });
  const type = error instanceof Error && "type" in error ? error.type : null;
  if (type === "entity.too.large") return new ApiError(413, { message: "The request is too large." });
  if (type === "request.aborted")
    return new ApiError(400, { message: "The request ended before its body did." });
  return null;
}
