/**
 * A language model that costs nothing: an OpenAI-compatible HTTP server with deterministic replies, so that a test
 * can tell which key an agent used and what it was told. Replies are "claw says: <the last user message's words>".
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface ModelRequest {
  /** Epoch ms. */
  readonly at: number;
  readonly path: string;
  readonly model: string | null;
  /** `keyDigest` of the key in `Authorization: Bearer …`; null when none was sent. */
  readonly keyDigest: string | null;
  readonly stream: boolean;
  readonly lastUserText: string;
}

export interface ModelServer {
  /** `http://<host>:<port>`; OpenAI clients want `/v1` behind it. */
  readonly url: string;
  readonly port: number;
  /** What was asked so far, oldest first; the last 1,000. */
  requests(): readonly ModelRequest[];
  close(): Promise<void>;
}

/** Tells keys apart without keeping them: the first 16 hex digits of their SHA-256. */
export function keyDigest(key: string): string {
  return createHash("sha256").update(key).digest("hex").slice(0, 16);
}

const models = ["mock-1", "mock-2"];
const maxBodyBytes = 8 * 1024 * 1024;

/** Starts the server; `port` 0 or absent takes a free one. Rejects when the address cannot be had. */
export async function startModelServer(options: { host: string; port?: number }): Promise<ModelServer> {
  const seen: ModelRequest[] = [];
  const server = createServer((request, response) => {
    answer(request, response, seen).catch((error: unknown) => {
      if (!response.headersSent)
        json(response, 500, { error: { message: String(error), type: "server_error" } });
      else response.destroy();
    });
  });
  server.listen(options.port ?? 0, options.host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${options.host}:${port}`,
    port,
    requests: () => [...seen],
    close: async () => {
      server.closeAllConnections();
      if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  seen: ModelRequest[],
): Promise<void> {
  const path = new URL(request.url ?? "/", "http://model").pathname;
  const key = /^Bearer (\S+)$/.exec(request.headers.authorization ?? "")?.[1] ?? null;
  const note = (part: Pick<ModelRequest, "model" | "stream" | "lastUserText">) => {
    seen.push({ at: Date.now(), path, keyDigest: key === null ? null : keyDigest(key), ...part });
    if (seen.length > 1_000) seen.shift();
  };
  if (key === null) {
    note({ model: null, stream: false, lastUserText: "" });
    return json(response, 401, { error: { message: "no API key", type: "invalid_request_error" } });
  }
  if (request.method === "GET" && path === "/v1/models") {
    note({ model: null, stream: false, lastUserText: "" });
    return json(response, 200, {
      object: "list",
      data: models.map((id) => ({ id, object: "model", owned_by: "mock" })),
    });
  }
  if (request.method !== "POST" || path !== "/v1/chat/completions") {
    return json(response, 404, {
      error: { message: `no ${request.method} ${path}`, type: "invalid_request_error" },
    });
  }
  const body = parseChat(await readBody(request));
  if (!body)
    return json(response, 400, { error: { message: "want a chat request", type: "invalid_request_error" } });
  note(body);
  reply(response, body);
}

interface ChatRequest {
  readonly model: string;
  readonly stream: boolean;
  readonly lastUserText: string;
}

function parseChat(text: string): ChatRequest | null {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof body !== "object" || body === null) return null;
  const { model, messages, stream } = body as { model?: unknown; messages?: unknown; stream?: unknown };
  if (typeof model !== "string" || !Array.isArray(messages)) return null;
  const texts = messages
    .filter((message: { role?: unknown }) => message?.role === "user")
    .map((message: { content?: unknown }) => spoken(textOf(message.content)))
    .filter((said) => said !== "");
  return { model, stream: stream === true, lastUserText: texts.at(-1) ?? "" };
}

const contextBegins = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>";
const contextEnds = "<<<END_OPENCLAW_INTERNAL_CONTEXT>>>";

/** The time that OpenClaw 2026.9.6 puts before what was said, and the line about its runtime that it puts behind. */
const timeBefore = /^\[[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d [A-Za-z0-9+:-]+\] /;
const runtimeBehind = /\n\s*Runtime: agent=[^\n]*\s*$/;

/**
 * What the user said. OpenClaw puts context of its own into user messages: time and runtime around the words, and blocks
 * between marks that stand on lines of their own (within a line they are only spoken of).
 */
function spoken(text: string): string {
  let depth = 0;
  const said = text.split(/\r?\n/).filter((line) => {
    const mark = line.trim();
    if (mark === contextBegins) depth++;
    else if (mark === contextEnds) depth = Math.max(0, depth - 1);
    else return depth === 0;
    return false;
  });
  return said.join("\n").replace(runtimeBehind, "").replace(timeBefore, "").trim();
}

/** `content` is a string or a list of parts; only text parts count. */
function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content
    .map((part: { text?: unknown }) => (typeof part?.text === "string" ? part.text : ""))
    .filter((text) => text !== "")
    .join("\n");
}

function reply(response: ServerResponse, { model, stream, lastUserText }: ChatRequest): void {
  const text = `claw says: ${lastUserText.trim().split(/\s+/).slice(-24).join(" ")}`;
  const id = `chatcmpl-${createHash("sha256").update(text).digest("hex").slice(0, 24)}`;
  const created = Math.floor(Date.now() / 1_000);
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  if (!stream) {
    const choices = [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }];
    json(response, 200, { id, object: "chat.completion", created, model, choices, usage });
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  const chunk = (delta: object, finish: string | null, more: object = {}) =>
    response.write(
      `data: ${JSON.stringify({ id, object: "chat.completion.chunk", created, model, choices: [{ index: 0, delta, finish_reason: finish }], ...more })}\n\n`,
    );
  chunk({ role: "assistant", content: "" }, null);
  for (const word of text.split(/(?<= )/)) chunk({ content: word }, null);
  chunk({}, "stop", { usage });
  response.end("data: [DONE]\n\n");
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBodyBytes) throw new Error(`a request body of more than ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
