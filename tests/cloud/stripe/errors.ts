/** Errors in Stripe's envelope: `{"error": {"type", "code", "message", "param"}}`. */
export class ApiError extends Error {
  readonly status: number;
  readonly body: { readonly error: Readonly<Record<string, string>> };

  constructor(
    status: number,
    error: { type?: string; code?: string; message: string; param?: string; doc_url?: string },
  ) {
    super(error.message);
    this.status = status;
    this.body = { error: { type: "invalid_request_error", ...error } };
  }
}

export function missing(kind: string, id: string, param = "id", status = 404): ApiError {
  return new ApiError(status, {
    code: "resource_missing",
    message: `No such ${kind}: '${id}'`,
    param,
    doc_url: "https://stripe.com/docs/error-codes/resource-missing",
  });
}

export function unknownParameter(param: string): ApiError {
  return new ApiError(400, {
    code: "parameter_unknown",
    message: `Received unknown parameter: ${param}`,
    param,
    doc_url: "https://stripe.com/docs/error-codes/parameter-unknown",
  });
}

export function missingParameter(param: string): ApiError {
  return new ApiError(400, {
    code: "parameter_missing",
    message: `Missing required param: ${param}.`,
    param,
    doc_url: "https://stripe.com/docs/error-codes/parameter-missing",
  });
}

export function invalidParameter(param: string, message: string): ApiError {
  return new ApiError(400, { message, param });
}
