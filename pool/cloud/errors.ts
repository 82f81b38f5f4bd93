/** Hetzner's documented error codes, mapped to the five kinds of BorderError, in this one place. */
import { BorderError, type BorderErrorKind } from "../errors.ts";

interface HetznerFailure {
  readonly status: number;
  /** `error.code` of the envelope; null when the body was not Hetzner's envelope (a bare 502 of a load balancer). */
  readonly code: string | null;
  readonly message: string;
  readonly retryAfterMs?: number;
}

/**
 * What to do about an answer that is not a success. Codes from Hetzner's API description ("Errors") and its
 * operations' own tables; `server_limit_reached` is not in it but is answered all the same.
 */
export function kindOf(status: number, code: string | null): BorderErrorKind {
  switch (code) {
    case "rate_limit_exceeded":
    case "conflict":
    case "locked":
    case "maintenance":
    case "server_error":
    case "service_error":
    case "bad_gateway":
    case "unavailable":
    case "timeout":
    case "resource_in_use":
      return "transient";
    case "resource_unavailable":
    case "placement_error":
    case "no_space_left_in_location":
      return "capacity";
    case "resource_limit_exceeded":
    case "server_limit_reached":
      return "quota";
    case "unauthorized":
    case "token_readonly":
    case "forbidden":
      return "auth";
    default:
      if (status === 401) return "auth";
      return status === 408 || status === 429 || status >= 500 ? "transient" : "permanent";
  }
}

/** The failure as the daemon handles it. */
export function borderError(call: string, failure: HetznerFailure): BorderError {
  const code = failure.code ?? `http_${failure.status}`;
  return new BorderError(`${call}: ${failure.message} (${code}, HTTP ${failure.status})`, {
    border: "cloud",
    kind: kindOf(failure.status, failure.code),
    code,
    retryAfterMs: failure.retryAfterMs,
  });
}

/** No answer at all: cut connection, time-out, or no budget to ask. */
export function noAnswer(call: string, reason: string): BorderError {
  return new BorderError(`${call}: ${reason}`, { border: "cloud", kind: "transient", code: "no_answer" });
}
