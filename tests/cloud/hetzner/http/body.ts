import type { IncomingMessage } from "node:http";
import { ApiError } from "./errors.ts";

/** Far above the largest request that can be right (32 KiB of user_data, escaped). */
const maxBodyBytes = 1024 * 1024;
/** Whoever sends more than this gets no answer but a closed connection. */
const maxDrainedBytes = 64 * maxBodyBytes;

/**
 * Reads and parses a JSON body, whatever content type it claims; undefined when it is empty. What is too long is
 * taken off the wire and thrown away, so that the client gets to see the answer.
 * @throws ApiError 400 json_error, 413
 */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  if (length === undefined && encoding === undefined) return undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= maxBodyBytes) chunks.push(chunk);
    else chunks.length = 0;
    if (bytes > maxDrainedBytes) {
      request.socket.destroy();
      break;
    }
  }
  if (bytes > maxBodyBytes) {
    throw new ApiError(413, "json_error", `the request body is too large (at most ${maxBodyBytes} bytes)`);
  }
  if (bytes === 0) return undefined;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
    return JSON.parse(text) as unknown;
  } catch {
    throw new ApiError(400, "json_error", "invalid JSON in the request body");
  }
}
