/** Bearer tokens, and the headers that every answer carries. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Middleware, ParameterizedContext } from "koa";
import type { Config } from "../pool/config/config.ts";
import type { Secret } from "../pool/secrets/secret.ts";
import { clientAddress, type FailedTokens } from "./failed-tokens.ts";
import { Problem } from "./problem.ts";

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Who asks: the product team's web app, or a person by name. */
export type Caller = { readonly kind: "app" } | { readonly kind: "person"; readonly name: string };

export interface TokenOptions {
  /** Asked anew each time. */
  readonly config: () => Pick<Config["api"], "tokens" | "operators" | "trustedProxies">;
  readonly failures: FailedTokens;
}

/**
 * Lets nobody through without one of the tokens; `callerOf` then says whose it is. Digests are compared, in the same time
 * whichever token it is and however long the text is that was sent. An address that failed too often waits, whatever it
 * sends.
 */
export function requireToken({ config, failures }: TokenOptions): Middleware {
  return async (context, next) => {
    const { tokens, operators, trustedProxies } = config();
    const peer = context.req.socket.remoteAddress ?? "";
    const address = clientAddress(peer, context.get("x-forwarded-for"), trustedProxies);
    const waitMs = failures.waitMs(address);
    if (waitMs > 0) {
      throw new Problem({
        status: 429,
        code: "too-many-tokens",
        title: "Too many tokens of this address were wrong",
        remedy: "wait as long as Retry-After says, then send a good one",
        headers: { "retry-after": String(Math.ceil(waitMs / 1_000)) },
      });
    }
    const [, given] = /^Bearer +([^\s]+)$/i.exec(context.get("authorization")) ?? [];
    const theirs = digest(given ?? "");
    const known: readonly (readonly [Secret, Caller])[] = [
      ...tokens.map((token) => [token, { kind: "app" }] as const),
      ...operators.map(({ name, token }) => [token, { kind: "person", name }] as const),
    ];
    let caller: Caller | null = null;
    for (const [token, whose] of known) {
      if (timingSafeEqual(digest(token.expose()), theirs) && token.expose() !== "") caller = whose;
    }
    if (given === undefined || caller === null) {
      // No token at all is nobody's try.
      if (given !== undefined) failures.failed(address);
      throw new Problem({
        status: 401,
        code: "token",
        title: "A bearer token is needed",
        remedy: "authorization: Bearer <a token of api.tokens in clawpool.yaml>",
        headers: { "www-authenticate": 'Bearer realm="clawpool"' },
      });
    }
    context.state.caller = caller;
    await next();
  };
}

/** The audit log's actor for what a person does. @throws Problem 403 when it is no person's token */
export function operatorOf(context: ParameterizedContext): string {
  const caller = context.state.caller as Caller | undefined;
  if (caller?.kind === "person") return `person:${caller.name}`;
  throw new Problem({
    status: 403,
    code: "scope",
    title: "This token may not operate",
    remedy: "a token of api.operators in clawpool.yaml: what is done is done by somebody",
  });
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
