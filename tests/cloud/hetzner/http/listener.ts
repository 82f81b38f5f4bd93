import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { CallLog } from "../calls.ts";
import type { Context } from "../context.ts";
import type { Faults, TerminalEffect } from "../faults.ts";
import { answerLocal, type LocalControls } from "../local.ts";
import { readJson } from "./body.ts";
import { ApiError } from "./errors.ts";
import type { RateLimit } from "./rate-limit.ts";
import type { Answer, Method, Router } from "./router.ts";

interface Parts {
  readonly context: Context;
  readonly router: Router;
  readonly rateLimit: RateLimit;
  readonly faults: Faults;
  readonly calls: CallLog;
  readonly local: LocalControls;
  /** SHA-256 of each token in hexadecimal, to its project. */
  readonly projects: ReadonlyMap<string, number>;
  /** Ends delays when the emulator closes. */
  readonly signal: AbortSignal;
}

export const digest = (token: string) => createHash("sha256").update(token).digest("hex");

export interface Listener {
  readonly server: Server;
  /** Resolves when no request is being carried out any more, whether its client still waits or not. */
  idle(): Promise<void>;
}

/** The API below /v1, and the controls of the emulator itself below /_local (no token: it listens on loopback). */
export function createListener(parts: Parts): Listener {
  const inFlight = new Set<Promise<void>>();
  const server = createServer((request, response) => {
    const done = handle(parts, request, response)
      .catch((error: unknown) => {
        // A client that went away in the middle of its body is no fault of ours.
        if (request.destroyed && !request.complete) return;
        console.error("Hetzner emulator:", error);
        if (response.headersSent) response.destroy();
        else send(response, errorAnswer(new ApiError(500, "server_error", "internal server error")));
      })
      .finally(() => inFlight.delete(done));
    inFlight.add(done);
  });
  // Longer than the idle time of Go's and undici's connection pools' usual reuse, so that a client's next request
  // does not meet a connection that is just being closed.
  server.keepAliveTimeout = 120_000;
  return {
    server,
    idle: async () => {
      while (inFlight.size > 0) await Promise.all(inFlight);
    },
  };
}

async function handle(parts: Parts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://localhost");
  if (url.pathname.startsWith("/_local/")) {
    const body = await readJson(request).catch(() => null);
    return send(response, answerLocal(parts.local, request.method ?? "GET", url.pathname, body));
  }
  const time = parts.context.clock.now();
  const project = projectOf(parts, request);
  const path = url.pathname.startsWith("/v1/") ? url.pathname.slice(3) : url.pathname;
  const { delayMs, effect, id: fault } = parts.faults.take(request.method ?? "GET", path);
  const limit = parts.rateLimit.take(project);
  let route: string | null = null;
  let answer: Answer;
  if (delayMs > 0) await parts.context.clock.delay(delayMs, parts.signal);
  if (effect?.when === "before") {
    request.resume();
    answer = faultAnswer(effect);
  } else {
    try {
      if (!limit.allowed) {
        throw new ApiError(
          429,
          "rate_limit_exceeded",
          `limit of ${limit.headers["RateLimit-Limit"]} requests per hour reached`,
        );
      }
      if (!url.pathname.startsWith("/v1/")) throw new ApiError(404, "not_found", "api route not found");
      const match = parts.router.match(request.method ?? "GET", path);
      route = match.route.path;
      if (project === null) throw unauthorized(request);
      answer = await match.route.handle(parts.context, {
        method: match.route.method as Method,
        path,
        parameters: match.parameters,
        query: url.searchParams,
        body: await readJson(request),
        project,
      });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      answer = errorAnswer(error);
    }
    if (effect) answer = faultAnswer(effect);
  }
  // A request that was refused before its body was read still has to be taken off the wire.
  request.resume();
  const dropped = effect?.kind === "drop";
  parts.calls.add({
    time,
    method: request.method ?? "",
    path: request.url ?? "",
    route,
    status: dropped ? null : answer.status,
    project,
    userAgent: request.headers["user-agent"] ?? "",
    fault,
  });
  if (dropped) request.socket.destroy();
  else send(response, { ...answer, headers: { ...limit.headers, ...answer.headers } });
}

function projectOf(parts: Parts, request: IncomingMessage): number | null {
  const [, token] = /^Bearer ([^ ]+)$/.exec(request.headers.authorization ?? "") ?? [];
  return token === undefined ? null : (parts.projects.get(digest(token)) ?? null);
}

/** Wording as the API answers it. */
function unauthorized(request: IncomingMessage): ApiError {
  const message =
    request.headers.authorization === undefined
      ? "token is required"
      : "the token you have provided is invalid";
  return new ApiError(401, "unauthorized", message);
}

const errorAnswer = (error: ApiError): Answer => ({ status: error.status, body: error.toBody() });

function faultAnswer(effect: TerminalEffect): Answer {
  if (effect.kind === "drop") return { status: 0 };
  return {
    status: effect.status,
    ...(effect.error ? { body: { error: effect.error } } : {}),
    ...(effect.headers ? { headers: effect.headers } : {}),
  };
}

function send(response: ServerResponse, answer: Answer): void {
  const text = answer.body === undefined ? "" : JSON.stringify(answer.body);
  response.writeHead(answer.status, {
    // Clients read the error code only from what calls itself JSON.
    ...(text === "" ? {} : { "Content-Type": "application/json" }),
    ...(answer.status === 204 ? {} : { "Content-Length": Buffer.byteLength(text) }),
    ...answer.headers,
  });
  response.end(text);
}
