import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { Socket } from "node:net";
import type { CallLog } from "../calls.ts";
import type { Context } from "../context.ts";
import { answerLocal, type LocalControls } from "../local.ts";
import { readJson } from "./body.ts";
import { ApiError } from "./errors.ts";
import { type Outcome, type PipelineParts, respond } from "./pipeline.ts";
import type { Answer } from "./router.ts";

interface Parts extends PipelineParts {
  readonly context: Context;
  readonly calls: CallLog;
  readonly local: LocalControls;
  /** Until when the headers of a request must be there, in milliseconds. */
  readonly headersTimeoutMs: number;
}

export interface Listener {
  readonly server: Server;
  /** Resolves when no request is being carried out any more, whether its client still waits or not. */
  idle(): Promise<void>;
}

/** The API below /v1, and the controls of the emulator itself below /_local (no token: it listens on loopback). */
export function createListener(parts: Parts): Listener {
  const inFlight = new Set<Promise<void>>();
  const timeouts = {
    headersTimeout: parts.headersTimeoutMs,
    connectionsCheckingInterval: Math.min(30_000, parts.headersTimeoutMs / 2),
  };
  const server = createServer(timeouts, (request, response) => {
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
  server.on("clientError", refuseUnreadable);
  return {
    server,
    idle: async () => {
      while (inFlight.size > 0) await Promise.all(inFlight);
    },
  };
}

async function handle(parts: Parts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = urlOf(request);
  if (url?.pathname.startsWith("/_local/")) {
    const body = await readJson(request).catch(() => null);
    return send(response, answerLocal(parts.local, request.method ?? "GET", url, body));
  }
  const time = parts.context.clock.now();
  const outcome = await respond(parts, request, url);
  // A request that was refused before its body was read still has to be taken off the wire.
  request.resume();
  logCall(parts, request, time, outcome);
  if (outcome.answer) send(response, outcome.answer);
  else request.socket.destroy();
}

/** Null when the target is none, e.g. `//`. */
function urlOf(request: IncomingMessage): URL | null {
  return URL.parse(request.url ?? "/", "http://localhost");
}

function logCall(parts: Parts, request: IncomingMessage, time: number, outcome: Outcome): void {
  parts.calls.add({
    time,
    method: request.method ?? "",
    path: request.url ?? "",
    route: outcome.route,
    status: outcome.answer?.status ?? null,
    project: outcome.project,
    userAgent: request.headers["user-agent"] ?? "",
    fault: outcome.fault,
  });
}

/** What is no HTTP, has too many headers or is not sent in time: Node's parser says so before there is a request. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, code, message] =
    error.code === "ERR_HTTP_REQUEST_TIMEOUT"
      ? ([408, "timeout", "the request was not sent in time"] as const)
      : error.code === "HPE_HEADER_OVERFLOW"
        ? ([431, "invalid_input", "the request's headers are too long"] as const)
        : ([400, "invalid_input", "the request is no HTTP/1.1"] as const);
  const body = JSON.stringify(new ApiError(status, code, message, { fields: [] }).toBody());
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

const errorAnswer = (error: ApiError): Answer => ({ status: error.status, body: error.toBody() });

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
