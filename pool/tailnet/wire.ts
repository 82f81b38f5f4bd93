/**
 * One call to Tailscale's API: token, time-out, error mapping. The token comes from an OAuth client (Tailscale's
 * "client credentials"), lives one hour and is shared by all calls.
 */
import { z } from "zod";
import type { Clock } from "../clock.ts";
import { kindOf } from "../error-kinds.ts";
import { BorderError } from "../errors.ts";
import { waitOf } from "../retry-after.ts";
import { Secret } from "../secrets/secret.ts";

export interface TailnetOptions {
  /** Ends in /api/v2. */
  readonly apiUrl: string;
  readonly clientId: string;
  /** `tskey-client-…` */
  readonly clientSecret: Secret;
  readonly clock: Clock;
  /** Default: the global one. */
  readonly fetch?: typeof globalThis.fetch;
  /** For each request. Default 10 s: Tailscale answers in well under one, the device list of a big tailnet slower. */
  readonly timeoutMs?: number;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly retryAfterMs: number | undefined;
}

interface Wire {
  /**
   * The parsed body of a successful answer, or `null` for 404.
   *
   * @throws BorderError of border `tailnet`
   */
  call<T>(
    method: "GET" | "POST" | "DELETE",
    path: string,
    shape: z.ZodType<T>,
    body?: unknown,
  ): Promise<T | null>;
}

/** Of a token's 60 minutes: leaves ten for a call that waits, and for clocks that differ. */
const tokenUseMs = 50 * 60_000;

const tokenShape = z.object({
  access_token: z.string().min(1),
  expires_in: z.number().positive().optional(),
});
/** `message` is Tailscale's own envelope, the others are RFC 6749's. */
const failureShape = z.object({
  message: z.string().optional(),
  error: z.string().optional(),
  error_description: z.string().optional(),
});

export function createWire(options: TailnetOptions): Wire {
  const { apiUrl, clock, timeoutMs = 10_000 } = options;
  let token: { readonly value: Secret; readonly until: number } | null = null;
  let granting: Promise<Secret> | null = null;

  const request = async (method: string, path: string, headers: Record<string, string>, body?: string) => {
    const abort = new AbortController();
    const done = new AbortController();
    void clock.delay(timeoutMs, done.signal).then(() => {
      if (!done.signal.aborted) abort.abort();
    });
    try {
      const send = options.fetch ?? globalThis.fetch;
      const response = await send(`${apiUrl}${path}`, {
        method,
        headers: { accept: "application/json", "user-agent": "clawpool", ...headers },
        body,
        redirect: "manual",
        signal: abort.signal,
      });
      const retryAfterMs = waitOf(response.headers.get("retry-after"), clock.now());
      return { status: response.status, body: await response.text(), retryAfterMs } satisfies Answer;
    } catch (error) {
      const reason = abort.signal.aborted ? `no answer within ${timeoutMs} ms` : cutReason(error);
      throw new BorderError(`${method} ${shown(path)}: ${reason}`, {
        border: "tailnet",
        kind: kindOf("tailnet", { code: "no_answer" }),
        code: "no_answer",
      });
    } finally {
      done.abort();
    }
  };

  const grant = async (): Promise<Secret> => {
    const form = new URLSearchParams({
      client_id: options.clientId,
      client_secret: options.clientSecret.expose(),
      grant_type: "client_credentials",
    });
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const asked = clock.now();
    const answer = await request("POST", "/oauth/token", headers, form.toString());
    if (answer.status !== 200) throw failed("POST", "/oauth/token", answer);
    const { access_token, expires_in = 3_600 } = parse("POST", "/oauth/token", tokenShape, answer.body);
    const value = new Secret(access_token);
    token = { value, until: asked + Math.min(tokenUseMs, (expires_in * 1_000 * 5) / 6) };
    return value;
  };

  /** All callers that find no good token wait for one and the same request. */
  const bearer = (): Promise<Secret> => {
    if (token && clock.now() < token.until) return Promise.resolve(token.value);
    granting ??= grant().finally(() => {
      granting = null;
    });
    return granting;
  };

  return {
    async call(method, path, shape, body) {
      const once = async () => {
        const value = await bearer();
        const headers: Record<string, string> = { authorization: `Bearer ${value.expose()}` };
        if (body !== undefined) headers["content-type"] = "application/json";
        const answer = await request(
          method,
          path,
          headers,
          body === undefined ? undefined : JSON.stringify(body),
        );
        // Only the token that was refused is dropped: another call may have brought a new one meanwhile.
        if (answer.status === 401 && token?.value === value) token = null;
        return answer;
      };
      const first = await once();
      const answer = first.status === 401 ? await once() : first;
      if (answer.status === 404) return null;
      if (answer.status < 200 || answer.status > 299) throw failed(method, path, answer);
      return parse(method, path, shape, answer.body);
    },
  };
}

function parse<T>(method: string, path: string, shape: z.ZodType<T>, body: string): T {
  let value: unknown = null;
  try {
    if (body.trim() !== "") value = JSON.parse(body);
  } catch {
    // Falls through: null fits no shape that wants something.
  }
  const parsed = shape.safeParse(value);
  if (parsed.success) return parsed.data;
  // The issue's path only: the answer may hold a key.
  const where = parsed.error.issues[0]?.path.join(".") || "body";
  throw new BorderError(`${method} ${shown(path)}: the answer is not as documented (${where})`, {
    border: "tailnet",
    kind: kindOf("tailnet", { code: "bad_answer" }),
    code: "bad_answer",
  });
}

function failed(method: string, path: string, answer: Answer): BorderError {
  let envelope: z.infer<typeof failureShape> = {};
  try {
    envelope = failureShape.parse(JSON.parse(answer.body));
  } catch {
    // A proxy's page, or nothing: the status has to do.
  }
  const message = (
    envelope.message ??
    envelope.error_description ??
    envelope.error ??
    "no reason given"
  ).slice(0, 200);
  return new BorderError(`${method} ${shown(path)}: ${message} (HTTP ${answer.status})`, {
    border: "tailnet",
    kind: kindOf("tailnet", { status: answer.status, code: envelope.error }),
    code: envelope.error ?? `http_${answer.status}`,
    retryAfterMs: answer.retryAfterMs,
  });
}

/** Without the query. */
const shown = (path: string): string => path.split("?")[0] ?? path;

/** `fetch` says only "fetch failed"; what happened to the connection is in the cause. */
function cutReason(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return `connection failed: ${cause instanceof Error ? cause.message || cause.name : String(cause)}`;
}
