/** What the gate answers to terraform: Hetzner's own answers handed on, or its envelope around ours. */
import type { Sent } from "../wire.ts";

export interface Reply {
  readonly status: number;
  readonly contentType: string | null;
  readonly correlationId: string | null;
  readonly body: string;
}

/** hcloud-go takes a body for JSON only when its content type begins so. */
export function jsonReply(status: number, value: unknown): Reply {
  return {
    status,
    contentType: "application/json",
    correlationId: null,
    body: JSON.stringify(value),
  };
}

/**
 * Hetzner's error envelope. `details: null` and never left out: the provider asserts the type of `details` and
 * panics when `invalid_input` comes without the key.
 */
export function errorReply(status: number, code: string, message: string): Reply {
  return jsonReply(status, { error: { code, message, details: null } });
}

/**
 * What terraform gets for a call. A call without an answer becomes 503 `unavailable`, which hcloud-go does not
 * repeat by itself: whatever can be repeated, the gate has repeated already.
 */
export function replyOf(call: string, sent: Sent): Reply {
  if (sent.kind !== "answer") return errorReply(503, "unavailable", `${call}: ${sent.reason}`);
  const { status, contentType, correlationId, body } = sent;
  return { status, contentType, correlationId, body };
}
