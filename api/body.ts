/** Request bodies: read whole, bounded, and never decompressed (a bomb is smaller than any limit). */
import type { ParameterizedContext } from "koa";
import getRawBody from "raw-body";
import { z } from "zod";
import { Problem } from "./problem.ts";

/** The bytes of the body. @throws Problem 413 above `limit` bytes, 400 when the sender ends too early. */
export async function readBody(context: ParameterizedContext, limit: number): Promise<Buffer> {
  try {
    return await getRawBody(context.req, { limit, length: context.request.length ?? null });
  } catch (error) {
    const type = error instanceof Error && "type" in error ? error.type : undefined;
    if (type === "entity.too.large") {
      throw new Problem({
        status: 413,
        code: "too-large",
        title: "The body is too large",
        remedy: `at most ${limit} bytes`,
        // The rest of the body is still on its way; this connection is of no use any more.
        headers: { connection: "close" },
      });
    }
    throw new Problem({ status: 400, code: "incomplete", title: "The body could not be read to its end" });
  }
}

/** @throws Problem 415 when it is compressed or not said to be JSON, 400 when it is none. */
export async function readJson(context: ParameterizedContext, limit: number): Promise<unknown> {
  if (context.is("application/json") !== "application/json") {
    throw new Problem({
      status: 415,
      code: "media-type",
      title: "The body is not JSON",
      remedy: "content-type: application/json",
    });
  }
  if (context.get("content-encoding") !== "") {
    throw new Problem({
      status: 415,
      code: "encoding",
      title: "The body is compressed",
      remedy: "send it without content-encoding",
    });
  }
  const raw = await readBody(context, limit);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
  } catch {
    throw new Problem({ status: 400, code: "malformed", title: "The body is not well-formed JSON in UTF-8" });
  }
}

/** The body as it must be. @throws Problem 422 that names the field */
export function checked<Shape extends z.ZodType>(shape: Shape, body: unknown): z.output<Shape> {
  const parsed = shape.safeParse(body);
  if (parsed.success) return parsed.data;
  const detail = z.prettifyError(parsed.error);
  throw new Problem({ status: 422, code: "invalid-field", title: "A field is not as it must be", detail });
}
