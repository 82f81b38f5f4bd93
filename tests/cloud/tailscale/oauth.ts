/** OAuth clients and their tokens, as Tailscale's `POST /api/v2/oauth/token` grants them (client credentials). */
import { randomBytes, timingSafeEqual } from "node:crypto";

/** Tailscale's access tokens live one hour; that cannot be configured. */
const tokenLifetimeMs = 3_600_000;

export interface Grant {
  readonly scopes: readonly string[];
  readonly tags: readonly string[];
  readonly expiresAt: number;
}

export interface OAuth {
  readonly clientId: string;
  readonly clientSecret: string;
  /** The form of a token request; the answer's status and body, errors in the shape of RFC 6749 §5.2. */
  grant(form: URLSearchParams, basic: string | null): { status: number; body: Record<string, unknown> };
  /** What a bearer token may do; null when it is unknown or expired. */
  check(token: string): Grant | null;
  /** Ends all tokens at once, as if an hour had passed. */
  expireTokens(): void;
}

/** One OAuth client with the given scopes and tags. */
export function oauthClient(scopes: readonly string[], tags: readonly string[], now: () => number): OAuth {
  const clientId = `k${randomBytes(6).toString("hex")}CNTRL`;
  const clientSecret = `tskey-client-${clientId}-${randomBytes(16).toString("hex")}`;
  const tokens = new Map<string, Grant>();
  const refuse = (status: number, error: string, description: string) => ({
    status,
    body: { error, error_description: description },
  });
  return {
    clientId,
    clientSecret,
    grant(form, basic) {
      const secret = basic?.slice(basic.indexOf(":") + 1) ?? form.get("client_secret") ?? "";
      // The secret alone decides: Tailscale's own client sends a made-up client_id.
      if (!same(secret, clientSecret)) return refuse(401, "invalid_client", "client authentication failed");
      const type = form.get("grant_type");
      if (type !== null && type !== "client_credentials") {
        return refuse(400, "unsupported_grant_type", `grant type ${type} is not supported`);
      }
      const wanted = words(form.get("scope"), scopes);
      if (!wanted.every((scope) => scopes.includes(scope))) {
        return refuse(400, "invalid_scope", "the client does not have all requested scopes");
      }
      const narrowed = words(form.get("tags"), tags);
      if (!narrowed.every((tag) => tags.includes(tag))) {
        return refuse(400, "invalid_request", "the client does not have all requested tags");
      }
      const token = `tskey-api-${randomBytes(6).toString("hex")}CNTRL-${randomBytes(16).toString("hex")}`;
      tokens.set(token, { scopes: wanted, tags: narrowed, expiresAt: now() + tokenLifetimeMs });
      const body = {
        access_token: token,
        token_type: "Bearer",
        expires_in: tokenLifetimeMs / 1_000,
        scope: wanted.join(" "),
      };
      return { status: 200, body };
    },
    check(token) {
      const grant = tokens.get(token);
      return grant && grant.expiresAt > now() ? grant : null;
    },
    expireTokens: () => tokens.clear(),
  };
}

const words = (text: string | null, all: readonly string[]): readonly string[] =>
  text === null || text.trim() === "" ? all : text.trim().split(/\s+/);

function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
