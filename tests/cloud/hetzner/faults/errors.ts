/**
 * The errors that Hetzner's API description documents for any operation ("Error Codes" and the operations' own
 * tables), by code; the wording is what clients have reported where there is a report, else the description's.
 */
export const documentedErrors = {
  unauthorized: { status: 401, message: "the token you have provided is invalid" },
  token_readonly: { status: 401, message: "the token is only allowed to perform GET requests" },
  forbidden: { status: 403, message: "insufficient permissions for this request" },
  maintenance: { status: 403, message: "cannot perform operation due to maintenance" },
  resource_limit_exceeded: {
    status: 403,
    message: "server limit exceeded",
    details: { limits: [{ name: "server_limit" }] },
  },
  not_found: { status: 404, message: "entity not found" },
  uniqueness_error: {
    status: 409,
    message: "server name is already used",
    details: { fields: [{ name: "name" }] },
  },
  conflict: { status: 409, message: "resource changed during request" },
  resource_unavailable: { status: 412, message: "error during placement" },
  placement_error: { status: 422, message: "error during placement" },
  service_error: { status: 422, message: "error within a service" },
  locked: { status: 423, message: "resource is locked" },
  protected: { status: 423, message: "server deletion is protected" },
  rate_limit_exceeded: { status: 429, message: "limit of 3600 requests per hour reached" },
  server_error: { status: 500, message: "internal server error" },
  bad_gateway: { status: 502, message: "bad gateway" },
  unavailable: { status: 503, message: "service unavailable" },
  timeout: { status: 504, message: "the request could not be answered in time" },
} as const satisfies Record<string, { status: number; message: string; details?: object }>;

export type DocumentedCode = keyof typeof documentedErrors;

export const documentedCodes = Object.keys(documentedErrors) as [DocumentedCode, ...DocumentedCode[]];
