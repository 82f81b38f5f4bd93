/** Everything below /v1 and /v2, with Stripe's authentication, bodies, idempotency keys and error envelope. */
import Router from "@koa/router";
import type { Context, Middleware } from "koa";
import getRawBody from "raw-body";
import type { Clock } from "../../../../pool/clock.ts";
import { stripeApiVersion } from "../../../../pool/stripe/gateway.ts";
import { ApiError, internalError, lockTimeout, rateLimited, unrecognized } from "../errors.ts";
import type { Faults, TerminalCallEffect } from "../faults.ts";
import { decodeForm, type Form, FormError } from "../form.ts";
import { makeId } from "../objects/ids.ts";
import type { EventObject } from "../objects/wire.ts";
import type { Account } from "../state/account.ts";
import { passTime } from "../state/time.ts";
import type { Route } from "./call.ts";
import { catalogueRoutes } from "./catalogue.ts";
import { checkoutRoutes } from "./checkout.ts";
import { eventRoutes } from "./events.ts";
import { expand } from "./expand.ts";
import { IdempotencyKeys } from "./idempotency.ts";
import { invoiceRoutes } from "./invoices.ts";
import { Parameters } from "./parameters.ts";
import { paymentMethodRoutes } from "./payment-methods.ts";
import { paymentRoutes } from "./payments.ts";
import type { RateLimit } from "./rate-limit.ts";
import { subscriptionRoutes } from "./subscriptions.ts";
import { routesV2 } from "./v2.ts";

export interface ApiCall {
  /** Epoch ms. */
  readonly at: number;
  readonly method: string;
  readonly path: string;
  readonly idempotencyKey: string | null;
  readonly apiVersion: string | null;
  readonly form: Form;
  /** What was answered; `cut` when the connection was dropped instead. */
  readonly status: number | "cut";
  /** The fault that befell it. */
  readonly fault: number | null;
}

export interface ApiOptions {
  readonly account: Account;
  readonly key: string;
  readonly clock: Clock;
  readonly faults: Faults;
  readonly calls: ApiCall[];
  readonly rateLimit: RateLimit;
  /** For what a call changed. */
  readonly announce: (events: readonly EventObject[]) => void;
  /** Ends what waits, when the stand-in closes. */
  readonly signal: AbortSignal;
}

/** Stripe publishes no limit; nothing that it documents is as large. */
const mostBytes = 1_000_000;

const notAForm =
  "Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have any questions, we can help at https://support.stripe.com/.";

/** What is asked, once its body was read. */
interface Asked {
  readonly form: Form;
  readonly json: unknown;
  /** Null when it is not usable. */
  readonly problem: ApiError | null;
}

const routesV1: readonly Route[] = [
  ...checkoutRoutes,
  ...catalogueRoutes,
  ...subscriptionRoutes,
  ...invoiceRoutes,
  ...paymentMethodRoutes,
  ...paymentRoutes,
  ...eventRoutes,
];

export function createStripeApi(options: ApiOptions): Middleware {
  const { account, faults, clock, signal } = options;
  const keys = new IdempotencyKeys(() => clock.now());
  const routes = routing(account);

  return async (context, next) => {
    if (!/^\/v[12]\//.test(context.path)) return next();
    const at = clock.now();
    const asked = await readBody(context);
    const idempotencyKey = context.method === "POST" ? context.get("idempotency-key") || null : null;
    const requestId = makeId("req_", 14);
    context.set({ "request-id": requestId, "stripe-version": stripeApiVersion });
    if (idempotencyKey !== null) context.set("idempotency-key", idempotencyKey);
    const { delayMs, holds, effect, id: fault } = faults.onCall(context.method, context.path, asked.form);
    const wait = async () => {
      if (delayMs > 0) await clock.delay(delayMs, signal);
      for (const held of holds) await faults.lifted(held, signal);
    };
    const lost = effect !== null && (effect.kind === "drop" || effect.kind === "answer");
    if (lost && effect.when === "before") await wait();
    else {
      const crash = effect?.kind === "crash" ? internalError() : null;
      const refusal = effect === null ? null : (limitOf(effect) ?? null);
      await respond(context, asked, { requestId, idempotencyKey, crash, refusal, wait });
    }
    if (lost) strike(context, effect);
    options.calls.push({
      at,
      method: context.method,
      path: context.path,
      idempotencyKey,
      apiVersion: context.get("stripe-version") || null,
      form: asked.form,
      status: effect?.kind === "drop" ? "cut" : context.status,
      fault,
    });
  };

  async function respond(
    context: Context,
    asked: Asked,
    call: {
      requestId: string;
      idempotencyKey: string | null;
      crash: ApiError | null;
      refusal: ApiError | null;
      /** As long as the faults say; the key is taken meanwhile. */
      wait: () => Promise<void>;
    },
  ): Promise<void> {
    const { requestId, idempotencyKey, crash, refusal, wait } = call;
    /** Set when this call took the key, and so has to give it back or to fill it. */
    let taken: string | null = null;
    try {
      authenticate(context, options.key);
      if (refusal) throw refusal;
      if (!options.rateLimit.take()) throw rateLimited("global-rate");
      if (asked.problem) throw asked.problem;
      if (idempotencyKey !== null && context.path.startsWith("/v1/")) {
        const again = keys.begin(idempotencyKey, [context.method, context.path, asked.form]);
        if (again) {
          context.set({ ...again.headers, "idempotent-replayed": "true" });
          context.status = again.status;
          context.body = again.body;
          return;
        }
        taken = idempotencyKey;
      }
      await wait();
      if (crash) throw crash;
      context.state.asked = asked;
      const cause = { id: requestId, idempotency_key: idempotencyKey };
      context.state.run = <T>(work: () => T): T => account.causedBy(cause, work);
      await routes(context as never, async () => {
        throw unrecognized(context.method, context.path);
      });
      context.status = 200;
      if (taken !== null) keys.keep(taken, { status: 200, body: context.body, headers: {} });
    } catch (error) {
      const known = error instanceof ApiError ? error : unexpected(error);
      answerError(context, known, requestId);
      if (taken === null) return;
      const { status, body, headers } = { status: known.status, body: context.body, headers: known.headers };
      if (known.begun) keys.keep(taken, { status, body, headers });
      else keys.forget(taken);
    } finally {
      options.announce(account.takeFresh());
    }
  }
}

function routing(account: Account): Middleware {
  const router = new Router();
  for (const [method, path, handler] of routesV1) {
    router.register(path, [method], (context) => {
      const { form } = context.state.asked as Asked;
      const parameters = new Parameters(form);
      const paths = parameters.texts("expand", 20) ?? [];
      const id = String(context.params.id ?? "");
      passTime(account);
      context.body = context.state.run(() => {
        const answer = handler({ account, path: context.path, id, parameters });
        return expand(account, answer, paths);
      });
    });
  }
  for (const [method, path, handler] of routesV2) {
    router.register(path, [method], (context) => {
      const { json: body } = context.state.asked as Asked;
      const query = new URLSearchParams(context.querystring);
      const id = String(context.params.id ?? "");
      const { path } = context;
      context.body = context.state.run(() => structuredClone(handler({ account, path, id, query, body })));
    });
  }
  return router.routes() as Middleware;
}

/** Bearer, or HTTP basic with the key as the user, as `curl -u` sends it. */
function authenticate(context: Context, key: string): void {
  const header = context.get("authorization");
  const [, scheme = "", text = ""] = /^(Bearer|Basic) +(\S+)$/i.exec(header) ?? [];
  const given = /^basic$/i.test(scheme) ? (Buffer.from(text, "base64").toString().split(":")[0] ?? "") : text;
  if (given === "") {
    throw new ApiError(
      401,
      {
        message:
          "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/.",
      },
      { headers: { "www-authenticate": 'Basic realm="Stripe"' } },
    );
  }
  if (given !== key) {
    throw new ApiError(401, { message: `Invalid API Key provided: ${masked(given)}` });
  }
  const version = context.get("stripe-version");
  if (version !== "" && version !== stripeApiVersion) {
    throw new ApiError(400, { message: `Invalid Stripe API version: ${version.slice(0, 40)}` });
  }
}

/** Stripe shows the kind of a key and its last four characters. */
function masked(key: string): string {
  const kind = /^[a-z]+_(test|live)_/.exec(key)?.[0] ?? "";
  const rest = key.slice(kind.length);
  return `${kind}${"*".repeat(Math.min(rest.length, 24))}${rest.length > 8 ? rest.slice(-4) : ""}`;
}

async function readBody(context: Context): Promise<Asked> {
  const unusable = (problem: ApiError): Asked => ({ form: {}, json: null, problem });
  try {
    if (context.method !== "POST") {
      return { form: decodeForm(context.querystring), json: null, problem: null };
    }
    const body = await getRawBody(context.req, { limit: mostBytes, encoding: "utf8" });
    if (context.path.startsWith("/v2/")) {
      return { form: {}, json: body === "" ? {} : JSON.parse(body), problem: null };
    }
    const type = context.get("content-type");
    if (body !== "" && type !== "" && !/^application\/x-www-form-urlencoded\b/i.test(type)) {
      return unusable(new ApiError(400, { message: notAForm }));
    }
    return { form: decodeForm(body), json: null, problem: null };
  } catch (error) {
    if (error instanceof FormError || error instanceof SyntaxError) {
      return unusable(new ApiError(400, { message: notAForm }));
    }
    if (error instanceof Error && "type" in error && error.type === "entity.too.large") {
      // The rest of the body is still on its way; this connection is of no use any more.
      const headers = { connection: "close" };
      return unusable(new ApiError(413, { message: "The request is too large." }, { headers }));
    }
    return unusable(new ApiError(400, { message: "The request ended before its body did." }));
  }
}

function answerError(context: Context, error: ApiError, requestId: string): void {
  const log = `https://dashboard.stripe.com/test/logs/${requestId}`;
  context.set(error.headers);
  context.status = error.status;
  context.body = { error: { ...error.body.error, request_log_url: log } };
}

/** A fault of this stand-in: told on its own output, answered like one of Stripe's. */
function unexpected(error: unknown): ApiError {
  console.error("Stripe's stand-in:", error);
  return internalError();
}

const limitOf = (effect: TerminalCallEffect): ApiError | null =>
  effect.kind === "rate-limit"
    ? rateLimited(effect.reason)
    : effect.kind === "lock-timeout"
      ? lockTimeout()
      : null;

/** Puts what the fault says in place of the answer. */
function strike(context: Context, effect: TerminalCallEffect & { kind: "drop" | "answer" }): void {
  if (effect.kind === "drop") {
    context.respond = false;
    context.req.socket.destroy();
    return;
  }
  const error = effect.error ?? { type: "api_error", message: "Something went wrong on Stripe's end." };
  context.set(effect.headers ?? {});
  context.status = effect.status;
  context.body = { error };
}
