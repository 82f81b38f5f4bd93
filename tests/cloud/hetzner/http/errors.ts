/** One key of `details.fields`: which input is wrong and why. */
export interface FieldError {
  readonly name: string;
  readonly messages: readonly string[];
}

/** An answer in the documented error envelope `{"error":{code,message,details}}` (Hetzner's API description, "Errors"). */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly details: unknown;

  constructor(status: number, code: string, message: string, details: unknown = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.details = details;
  }

  toBody(): { error: { code: string; message: string; details: unknown } } {
    return { error: { code: this.code, message: this.message, details: this.details } };
  }
}

/** 422 that names its fields. `details` is never left out: terraform-provider-hcloud 1.68.0 crashes on its absence. */
export function invalidInput(fields: readonly FieldError[]): ApiError {
  const first = fields[0];
  const message = first
    ? `invalid input in field '${first.name}': ${first.messages.join(", ")}`
    : "invalid input";
  return new ApiError(422, "invalid_input", message, { fields });
}

export const invalidField = (name: string, message: string) => invalidInput([{ name, messages: [message] }]);

export const notFound = (what: string, id: string | number) =>
  new ApiError(404, "not_found", `${what} with ID '${id}' not found`);

export const unique = (field: string, message: string) =>
  new ApiError(409, "uniqueness_error", message, { fields: [{ name: field }] });

export const locked = (what: string) =>
  new ApiError(423, "locked", `${what} is locked: an action is running on it`);

export const isProtected = (what: string, from: "delete" | "rebuild" = "delete") =>
  new ApiError(423, "protected", `${what} is ${from} protected`);
