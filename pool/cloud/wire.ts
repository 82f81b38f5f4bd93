/**
 * One call to Hetzner's API: budget, token, time-out, and an honest account of what came back. "No answer" is a
 * result of its own and not an exception, because for a write it means "may have happened".
 */
import { ExponentialBackoff } from "cockatiel";
import type { Clock } from "../clock.ts";
import type { Secret } from "../secrets/secret.ts";
import type { Budget, Priority } from "./budget.ts";

export interface Call {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Below the endpoint, with query: `/servers?name=x`. */
  readonly path: string;
  /** JSON text. */
  readonly body?: string;
  readonly priority: Priority;
}

export interface Answer {
  readonly kind: "answer";
  readonly status: number;
  readonly contentType: string | null;
  readonly correlationId: string | null;
  readonly retryAfterMs: number | null;
  readonly body: string;
}

export type Sent =
  | Answer
  /** Sent, and no answer came: it may or may not have been carried out. */
  | { readonly kind: "lost"; readonly reason: string }
  /** Never left: no API budget before the deadline. */
  | { readonly kind: "unsent"; readonly reason: string };

export interface Wire {
  /** One try. `until` (epoch ms) bounds the wait for budget; the time-out of the call itself is the wire's. */
  send(call: Call, until: number): Promise<Sent>;
}

export interface WireOptions {
  /** Ends in `/v1`. */
  readonly endpoint: string;
  readonly token: Secret;
  readonly budget: Budget;
  readonly clock: Clock;
  /** Default 10 s: Hetzner answers reads in well under one. */
  readonly readTimeoutMs?: number;
  /** Default 30 s: a `POST /servers` may take several seconds to place the server. */
  readonly writeTimeoutMs?: number;
  /** Told of each call just before it leaves. */
  readonly onSend?: (call: Call) => void;
}

export function createWire(options: WireOptions): Wire {
  const { endpoint, token, budget, clock, readTimeoutMs = 10_000, writeTimeoutMs = 30_000 } = options;
  return {
    async send(call, until) {
      if (!(await budget.take(call.priority, until))) {
        return { kind: "unsent", reason: "no API budget before the deadline" };
      }
      options.onSend?.(call);
      const timeoutMs = call.method === "GET" ? readTimeoutMs : writeTimeoutMs;
      const abort = new AbortController();
      const done = new AbortController();
      void clock.delay(timeoutMs, done.signal).then(() => {
        if (!done.signal.aborted) abort.abort();
      });
      try {
        const response = await fetch(`${endpoint}${call.path}`, {
          method: call.method,
          body: call.body,
          headers: {
            authorization: `Bearer ${token.expose()}`,
            accept: "application/json",
            "user-agent": "clawpool",
            ...(call.body === undefined ? {} : { "content-type": "application/json" }),
          },
          redirect: "manual",
          signal: abort.signal,
        });
        const body = await response.text();
        const header = (name: string) => response.headers.get(name);
        const retryAfterMs = seconds(header("retry-after"));
        budget.observe({
          status: response.status,
          remaining: count(header("ratelimit-remaining")),
          retryAfterMs,
        });
        return {
          kind: "answer",
          status: response.status,
          contentType: header("content-type"),
          correlationId: header("x-correlation-id"),
          retryAfterMs,
          body,
        };
      } catch (error) {
        const reason = abort.signal.aborted ? `no answer within ${timeoutMs} ms` : cutReason(error);
        return { kind: "lost", reason };
      } finally {
        done.abort();
      }
    },
  };
}

/** `fetch` says only "fetch failed"; what happened to the connection is in the cause. */
function cutReason(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return `connection failed: ${cause instanceof Error ? cause.message || cause.name : String(cause)}`;
}

const count = (text: string | null): number | null =>
  text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null;
const seconds = (text: string | null): number | null => {
  const value = count(text);
  return value === null ? null : value * 1_000;
};

/** True for what a repeat may cure: no answer, 429, 5xx. Only for calls that may be made twice. */
export function isPassing(sent: Sent): boolean {
  return sent.kind === "lost" || (sent.kind === "answer" && (sent.status === 429 || sent.status >= 500));
}

/** Decorrelated jitter from 300 ms up to 5 s: a 90 s deadline holds about 25 tries. */
const backoff = new ExponentialBackoff({ initialDelay: 300, maxDelay: 5_000 });

/** When a series of repeats must end (epoch ms); a function, because closing the gate brings it forward. */
export type Deadline = () => number;

/**
 * The pauses of one series of repeats, on the injected clock (cockatiel's own retry policy waits on the system's
 * timers, which a virtual clock cannot move; its jitter is used as it is). `pause` waits for the next try; it is
 * false when that would not begin before the deadline.
 */
export function createPauses(
  clock: Clock,
  deadline: Deadline,
): { pause(atLeastMs?: number): Promise<boolean> } {
  let step = backoff.next();
  return {
    async pause(atLeastMs = 0) {
      const ms = Math.max(step.duration, atLeastMs);
      step = step.next(undefined);
      if (clock.now() + ms >= deadline()) return false;
      await clock.delay(ms);
      return clock.now() < deadline();
    },
  };
}

/** Repeats `call` (which must be harmless when made twice) until it is answered for good or the deadline is near. */
export async function sendRepeatedly(
  wire: Wire,
  clock: Clock,
  call: Call,
  deadline: Deadline,
): Promise<Sent> {
  const pauses = createPauses(clock, deadline);
  for (;;) {
    const sent = await wire.send(call, deadline());
    if (!isPassing(sent)) return sent;
    const atLeast = sent.kind === "answer" ? (sent.retryAfterMs ?? 0) : 0;
    if (!(await pauses.pause(atLeast))) return sent;
  }
}

/** The body as JSON; undefined when it is none. hcloud-go's rule: only a JSON content type counts. */
export function json(answer: Pick<Answer, "contentType" | "body">): unknown {
  if (!answer.contentType?.startsWith("application/json")) return undefined;
  try {
    return JSON.parse(answer.body);
  } catch {
    return undefined;
  }
}
