/** Errors of the API: `{"message": …}` with a status, as Tailscale's API description has them for every operation. */
import type { IncomingMessage } from "node:http";
import type { ZodError, ZodType } from "zod";

export class ApiFailure extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Far above the largest request that can be right. */
const maxBodyBytes = 1024 * 1024;

/**
 * The request's body. What is too long is read to its end and thrown away, so that the client gets to see the answer.
 * @throws ApiFailure 413
 */
export async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= maxBodyBytes) chunks.push(chunk);
  }
  if (bytes > maxBodyBytes) throw new ApiFailure(413, "request body too large");
  return Buffer.concat(chunks).toString("utf8");
}

/** @throws ApiFailure 400 when the body is not JSON or not of that shape; 413 */
export async function readJson<T>(request: IncomingMessage, shape: ZodType<T>): Promise<T> {
  const text = await readText(request);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ApiFailure(400, "invalid JSON body");
  }
  return checked(value, shape);
}

/** @throws ApiFailure 400 that names the first field that is wrong */
export function checked<T>(value: unknown, shape: ZodType<T>): T {
  const parsed = shape.safeParse(value);
  if (!parsed.success) throw new ApiFailure(400, firstIssue(parsed.error));
  return parsed.data;
}

function firstIssue(error: ZodError): string {
  const [issue] = error.issues;
  const path = issue?.path.join(".") ?? "";
  return path === "" ? `invalid request: ${issue?.message}` : `${path}: ${issue?.message}`;
}
