/** Hetzner's failures as BorderErrors. */
import { kindOf } from "../error-kinds.ts";
import { BorderError } from "../errors.ts";
import { type ErrorAnswer, errorOf } from "./shapes.ts";

interface HetznerFailure {
  readonly status: number;
  /** `error.code` of the envelope; null when the body was not Hetzner's envelope (a bare 502 of a load balancer). */
  readonly code: string | null;
  readonly message: string;
  readonly retryAfterMs?: number;
}

/** The failure as the daemon handles it. */
export function borderError(call: string, failure: HetznerFailure): BorderError {
  const code = failure.code ?? `http_${failure.status}`;
  return new BorderError(`${call}: ${failure.message} (${code}, HTTP ${failure.status})`, {
    border: "cloud",
    kind: kindOf("cloud", failure),
    code,
    retryAfterMs: failure.retryAfterMs,
  });
}

/** @throws BorderError unless the request was taken */
export function assertTaken(call: string, answer: ErrorAnswer): void {
  if (answer.status >= 300) throw borderError(call, { status: answer.status, ...errorOf(answer) });
}

/** No answer at all: cut connection, time-out, or no budget to ask. */
export function noAnswer(call: string, reason: string): BorderError {
  return new BorderError(`${call}: ${reason}`, {
    border: "cloud",
    kind: kindOf("cloud", { code: "no_answer" }),
    code: "no_answer",
  });
}
