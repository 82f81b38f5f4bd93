/** Errors in Stripe's envelope: `{"error": {"type", "code", "message", "param", "doc_url"}}`. */

export interface ErrorFields {
  readonly type?: "invalid_request_error" | "idempotency_error" | "card_error" | "api_error";
  readonly code?: string;
  readonly message: string;
  readonly param?: string;
  readonly [more: string]: string | undefined;
}

export interface ErrorMore {
  /** The call was begun, so that its idempotency key keeps this answer; what never passed the checks is not kept. */
  readonly begun?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
}

export class ApiError extends Error {
  readonly status: number;
  readonly body: { readonly error: Readonly<Record<string, string>> };
  readonly begun: boolean;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, error: ErrorFields, more: ErrorMore = {}) {
    super(error.message);
    this.status = status;
    const { code } = error;
    const doc = code === undefined ? {} : { doc_url: `https://docs.stripe.com/error-codes#${slug(code)}` };
    const fields = Object.entries({ type: "invalid_request_error", ...doc, ...error });
    this.body = { error: Object.fromEntries(fields.filter(([, value]) => value !== undefined)) as never };
    this.begun = more.begun ?? false;
    this.headers = more.headers ?? {};
  }
}

const slug = (code: string): string => code.replaceAll("_", "-");

/** 404 where the path names it, 400 where a parameter does. */
export function missing(kind: string, id: string, param = "id", status = 404): ApiError {
  return new ApiError(status, { code: "resource_missing", message: `No such ${kind}: '${id}'`, param });
}

export function unknownParameter(param: string): ApiError {
  return new ApiError(400, {
    code: "parameter_unknown",
    message: `Received unknown parameter: ${param}`,
    param,
  });
}

/** Documented at Stripe, but nothing here knows what it means: said, not ignored. */
export function notModelled(param: string): ApiError {
  return new ApiError(400, { message: `This stand-in for Stripe does not know what ${param} does.`, param });
}

export function missingParameter(param: string): ApiError {
  return new ApiError(400, {
    code: "parameter_missing",
    message: `Missing required param: ${param}.`,
    param,
  });
}

export function invalidParameter(param: string, message: string, code?: string): ApiError {
  return new ApiError(400, { ...(code === undefined ? {} : { code }), message, param });
}

/** The call is well-formed, but the object is not in a state for it. */
export function refused(message: string, code?: string, param?: string): ApiError {
  const fields = { ...(code === undefined ? {} : { code }), ...(param === undefined ? {} : { param }) };
  return new ApiError(400, { ...fields, message }, { begun: true });
}

export function unrecognized(method: string, path: string): ApiError {
  return new ApiError(404, {
    message: `Unrecognized request URL (${method}: ${path}). Please see https://stripe.com/docs or we can help at https://support.stripe.com/.`,
  });
}

/** Source: Stripe's documentation of rate limits: status, code, and the header that says which limit it was. */
export function rateLimited(reason: string): ApiError {
  return new ApiError(
    429,
    {
      code: "rate_limit",
      message:
        "Request rate limit exceeded. Learn more about rate limits at https://docs.stripe.com/rate-limits.",
    },
    { headers: { "stripe-rate-limited-reason": reason } },
  );
}

/** Source: Stripe's documentation of rate limits, "object lock timeouts"; the library repeats what the header allows. */
export function lockTimeout(): ApiError {
  return new ApiError(
    429,
    {
      code: "lock_timeout",
      message:
        "This object cannot be accessed right now because another API request or Stripe process is currently accessing it. " +
        "If you see this error intermittently, retry the request. If you see this error frequently and are making multiple " +
        "concurrent requests to a single object, make your requests serially or at a lower rate.",
    },
    { headers: { "stripe-should-retry": "true" } },
  );
}

/** Its key would only give the same 500 again, so nobody should repeat it. Source: the comments of Stripe's library. */
export function internalError(): ApiError {
  const fields = { type: "api_error", message: "An unknown error occurred." } as const;
  return new ApiError(500, fields, { begun: true, headers: { "stripe-should-retry": "false" } });
}
