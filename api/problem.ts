/** Errors as RFC 9457 problem details, with the field that is wrong and what to send instead. */
import type { Middleware, ParameterizedContext } from "koa";
import type { Logger } from "pino";
import { BorderError } from "../pool/errors.ts";
import { OrderQueryError } from "../pool/order/list.ts";
import { type FieldProblem, OrderRequestError } from "../pool/order/request.ts";
import { RetryRefusedError } from "../pool/order/retry.ts";
import { InvalidWebhookError } from "../pool/stripe/stripe.ts";

export interface ProblemDetails {
  readonly status: number;
  /** A word that programs may decide by; part of the `type` URI. */
  readonly code: string;
  readonly title: string;
  readonly detail?: string;
  readonly field?: string;
  readonly remedy?: string;
  readonly errors?: readonly FieldProblem[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** Thrown by handlers, answered by `problems()`. */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly details: ProblemDetails;

  constructor(details: ProblemDetails) {
    super(details.title);
    this.details = details;
  }
}

/** Answers every error of the handlers behind it. What is nobody's fault but ours is logged and told without detail. */
export function problems(log: Logger): Middleware {
  return async (context, next) => {
    try {
      await next();
      if (context.status === 404 && context.body === undefined) throw notFound();
      if (context.status === 405 || context.status === 501) {
        throw new Problem({
          status: context.status,
          code: "method",
          title: "This resource has no such method",
        });
      }
    } catch (error) {
      const details = detailsOf(error);
      if (details.status >= 500) log.error({ err: error, path: context.path }, "request failed");
      answer(context, details);
    }
  };
}

export const notFound = (): Problem =>
  new Problem({ status: 404, code: "not-found", title: "There is nothing of this name" });

function answer(context: ParameterizedContext, details: ProblemDetails): void {
  const { headers, code, ...rest } = details;
  if (headers) context.set(headers);
  context.status = details.status;
  context.body = JSON.stringify({ type: `urn:clawpool:problem:${code}`, ...rest });
  context.type = "application/problem+json";
}

function detailsOf(error: unknown): ProblemDetails {
  if (error instanceof Problem) return error.details;
  // No detail: whoever sends forged webhooks learns nothing about why.
  if (error instanceof InvalidWebhookError) {
    return { status: 400, code: "invalid-webhook", title: "Not a webhook that we accept" };
  }
  if (error instanceof OrderQueryError) {
    const { field, remedy } = error;
    return {
      status: 422,
      code: "invalid-field",
      title: "A parameter is not as it must be",
      detail: error.message,
      field,
      remedy,
    };
  }
  if (error instanceof RetryRefusedError) {
    const title = "The order cannot be started again";
    return { status: 409, code: "not-failed", title, detail: error.message };
  }
  if (error instanceof OrderRequestError) {
    const [first] = error.problems;
    return {
      status: error.kind === "conflict" ? 409 : 422,
      code: error.kind === "conflict" ? "conflict" : "invalid-field",
      title:
        error.kind === "conflict" ? "This contradicts an earlier request" : "A field is not as it must be",
      ...first,
      errors: error.problems,
    };
  }
  if (error instanceof BorderError && error.border === "stripe") {
    const transient = error.kind === "transient";
    return {
      status: transient ? 503 : 502,
      code: "stripe",
      title: transient ? "Stripe does not answer now" : "Stripe refused",
      remedy: transient
        ? "repeat the request with the same Idempotency-Key"
        : "ask the operator to run clawpool doctor",
      ...(transient ? { headers: { "retry-after": "5" } } : {}),
    };
  }
  return { status: 500, code: "internal", title: "Something went wrong on our side" };
}
