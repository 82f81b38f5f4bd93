/**
 * A callback: one POST, signed as the Standard Webhooks specification (standardwebhooks.com) has it, so that receivers
 * verify it with that project's own libraries and know a repeated one by its `webhook-id`.
 */
import { Webhook } from "standardwebhooks";
import type { CallbackConfig } from "../config/config.ts";
import { kindOf } from "../error-kinds.ts";
import { BorderError } from "../errors.ts";
import { waitOf } from "../retry-after.ts";
import type { Envelope } from "./courier.ts";

/** @param now epoch ms; receivers refuse what was signed more than five minutes ago. @throws BorderError (callback) */
export async function postCallback(
  { url, secrets }: CallbackConfig,
  { id, json }: Envelope,
  now: number,
  signal: AbortSignal,
): Promise<void> {
  const at = new Date(Math.floor(now / 1_000) * 1_000);
  const { host } = new URL(url);
  let answer: Response;
  try {
    answer = await fetch(url, {
      method: "POST",
      // A redirect would send it to somebody whom nobody configured.
      redirect: "manual",
      headers: {
        "content-type": "application/json",
        "user-agent": "clawpool",
        "webhook-id": id,
        "webhook-timestamp": String(at.getTime() / 1_000),
        "webhook-signature": secrets.map((key) => new Webhook(key.expose()).sign(id, at, json)).join(" "),
      },
      body: json,
      signal,
    });
  } catch (error) {
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    const reason = signal.aborted
      ? "no answer in time"
      : cause instanceof Error
        ? cause.message
        : String(cause);
    throw failed(`${host}: ${reason || "the connection failed"}`, undefined, undefined);
  }
  const { status, headers } = answer;
  // Nobody reads what is said; an endless answer must not hold the connection.
  await answer.body?.cancel().catch(() => {});
  if (!answer.ok) throw failed(`${host} answered ${status}`, status, waitOf(headers.get("retry-after"), now));
}

const failed = (text: string, status: number | undefined, retryAfterMs: number | undefined): BorderError =>
  new BorderError(text, {
    border: "callback",
    kind: kindOf("callback", { status }),
    code: status === undefined ? "no_answer" : `http_${status}`,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
