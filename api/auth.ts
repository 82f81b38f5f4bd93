/** Bearer tokens, and the headers that every answer carries. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Middleware } from "koa";
import type { Secret } from "../pool/secrets/secret.ts";
import { Problem } from "./problem.ts";

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Lets nobody through without one of `tokens()`, which is asked anew each time. Digests are compared, in the same time
 *  whichever token it is and however long the text is that was sent. */
export function requireToken(tokens: () => readonly Secret[]): Middleware {
  return async (context, next) => {
    const [, given] = /^Bearer +([^\s]+)$/i.exec(context.get("authorization")) ?? [];
    const theirs = digest(given ?? "");
    let matches = false;
    for (const token of tokens()) {
      if (timingSafeEqual(digest(token.expose()), theirs) && token.expose() !== "") matches = true;
    }
    if (given === undefined || !matches) {
      throw new Problem({
        status: 401,
        code: "token",
        title: "A bearer token is needed",
        remedy: "authorization: Bearer <a token of api.tokens in clawpool.yaml>",
        headers: { "www-authenticate": 'Bearer realm="clawpool"' },
      });
    }
    await next();
  };
}

/** For answers that are data; the page has a policy of its own for what it may load. */
export const securityHeaders: Middleware = async (context, next) => {
  context.set({
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
  });
  await next();
};
