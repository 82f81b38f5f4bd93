/** Each call of Stripe's library ends in an answer that was checked, or in a BorderError. */
import { Stripe } from "stripe";
import type { z } from "zod";
import { kindOf } from "../error-kinds.ts";
import { BorderError } from "../errors.ts";
import type { Listing } from "./stripe.ts";

/** Stripe's own limit. */
export const mostInPage = 100;

/** Page after page, one call at a time, until there is no more or one object above `limit` is seen. */
export function list<Shape extends z.ZodType>(
  what: string,
  limit: number,
  shape: Shape,
  object: string,
  open: () => AsyncIterable<unknown>,
): Promise<Listing<z.output<Shape>>> {
  return call(what, async () => {
    const found: z.output<Shape>[] = [];
    for await (const answer of open()) {
      if (found.length === limit) return { found, complete: false };
      found.push(read(shape, answer, object));
    }
    return { found, complete: true };
  });
}

export function read<Shape extends z.ZodType>(shape: Shape, answer: unknown, what: string): z.output<Shape> {
  const parsed = shape.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new BorderError(`Stripe answered with a ${what} that cannot be read: ${parsed.error.message}`, {
    border: "stripe",
    kind: "permanent",
    cause: parsed.error,
  });
}

export async function call<T>(what: string, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    throw borderError(what, error);
  }
}

/** As `call`, but an object that Stripe does not have is null. */
export async function callOrNull<T>(what: string, make: () => Promise<T>): Promise<T | null> {
  try {
    return await make();
  } catch (error) {
    if (error instanceof Stripe.errors.StripeError && error.code === "resource_missing") return null;
    throw borderError(what, error);
  }
}

function borderError(what: string, error: unknown): BorderError {
  if (error instanceof BorderError) return error;
  if (!(error instanceof Stripe.errors.StripeError)) {
    return new BorderError(`could not ${what}: ${error instanceof Error ? error.message : String(error)}`, {
      border: "stripe",
      kind: kindOf("stripe", {}),
      cause: error,
    });
  }
  // Stripe's messages quote parameters back but never a key in full; the key's own error is shortened by Stripe.
  return new BorderError(`could not ${what}: ${error.message}`, {
    border: "stripe",
    kind: kindOf("stripe", { status: error.statusCode, code: error.code }),
    code: error.code ?? error.type,
    retryAfterMs: waitOf(error.headers?.["retry-after"]),
    cause: error,
  });
}

/** Stripe asks for whole seconds. */
function waitOf(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,5}$/.test(header) ? Number(header) * 1_000 : undefined;
}
