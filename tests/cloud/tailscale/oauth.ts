/** OAuth clients and their tokens, as Tailscale's `POST /api/v2/oauth/token` grants them (client credentials). */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { ApiFailure } from "./failure.ts";
import { isScope, needsTags } from "./scopes.ts";

/** Tailscale's access tokens live one hour; that cannot be configured. */
const tokenLifetimeMs = 3_600_000;

interface ClientInput {
  readonly scopes: readonly string[];
  readonly tags: readonly string[];
  readonly description?: string;
}

export interface OAuthClient {
  readonly id: string;
  /** `tskey-client-<id>-…`, shown once. */
  readonly secret: string;
  readonly scopes: readonly string[];
  readonly tags: readonly string[];
  readonly description: string;
  /** ISO 8601. */
  readonly created: string;
  readonly updated: string;
}

/** What a token may do. */
export interface Grant {
  readonly clientId: string;
  readonly scopes: readonly string[];
  readonly tags: readonly string[];
  /** Epoch ms. */
  readonly expiresAt: number;
}

export interface OAuth {
  /** @throws ApiFailure 400 on an unknown scope, or without tags where they are needed */
  createClient(input: ClientInput): OAuthClient;
  client(id: string): OAuthClient | undefined;
  clients(): readonly OAuthClient[];
  /** Null when there is no such client. @throws ApiFailure as createClient */
  updateClient(id: string, input: ClientInput): OAuthClient | null;
  /** Its tokens end with it. */
  removeClient(id: string): boolean;
  /** Answers the form of a token request. @throws ApiFailure 400, 401 */
  grant(form: URLSearchParams, basic: string | null): Record<string, unknown>;
  /** What a bearer token may do; null when it is unknown or expired. */
  check(token: string): Grant | null;
  isClientSecret(text: string): boolean;
}

export function createOAuth(now: () => number): OAuth {
  const clients = new Map<string, OAuthClient>();
  const tokens = new Map<string, Grant>();
  const bySecret = (secret: string) => [...clients.values()].find((client) => same(client.secret, secret));
  const checked = ({ scopes, tags, description = "" }: ClientInput) => {
    if (scopes.length === 0) throw new ApiFailure(400, "at least one scope is required");
    const unknown = scopes.find((scope) => !isScope(scope));
    if (unknown !== undefined) throw new ApiFailure(400, `scope ${unknown} is not valid`);
    if (needsTags(scopes) && tags.length === 0) {
      throw new ApiFailure(400, "tags are required with the scopes devices:core and auth_keys");
    }
    return { scopes, tags, description, updated: new Date(now()).toISOString() };
  };
  const narrowed = (wanted: string | null, held: readonly string[], what: string): readonly string[] => {
    const list = wanted?.trim() ? wanted.trim().split(/\s+/) : held;
    const missing = list.find((one) => !held.includes(one));
    if (missing !== undefined) throw new ApiFailure(400, `the client does not have the ${what} ${missing}`);
    return list;
  };
  return {
    createClient(input) {
      const id = `k${randomBytes(6).toString("hex")}CNTRL`;
      const secret = `tskey-client-${id}-${randomBytes(16).toString("hex")}`;
      const client = { id, secret, created: new Date(now()).toISOString(), ...checked(input) };
      clients.set(id, client);
      return client;
    },
    client: (id) => clients.get(id),
    clients: () => [...clients.values()],
    updateClient(id, input) {
      const old = clients.get(id);
      if (!old) return null;
      const client = { ...old, ...checked(input) };
      clients.set(id, client);
      return client;
    },
    removeClient(id) {
      for (const [token, grant] of tokens) if (grant.clientId === id) tokens.delete(token);
      return clients.delete(id);
    },
    grant(form, basic) {
      // The secret alone decides: Tailscale's own command line sends a made-up client_id.
      const secret = basic?.slice(basic.indexOf(":") + 1) ?? form.get("client_secret") ?? "";
      const client = bySecret(secret);
      if (!client) throw new ApiFailure(401, "API token invalid");
      const type = form.get("grant_type");
      if (type !== null && type !== "client_credentials") {
        throw new ApiFailure(400, `unsupported grant_type ${type}`);
      }
      const scopes = narrowed(form.get("scope"), client.scopes, "scope");
      const tags = narrowed(form.get("tags"), client.tags, "tag");
      const token = `tskey-api-${randomBytes(6).toString("hex")}CNTRL-${randomBytes(16).toString("hex")}`;
      tokens.set(token, { clientId: client.id, scopes, tags, expiresAt: now() + tokenLifetimeMs });
      return {
        access_token: token,
        token_type: "Bearer",
        expires_in: tokenLifetimeMs / 1_000,
        scope: scopes.join(" "),
      };
    },
    check(token) {
      const grant = tokens.get(token);
      return grant && grant.expiresAt > now() ? grant : null;
    },
    isClientSecret: (text) => bySecret(text) !== undefined,
  };
}

function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
