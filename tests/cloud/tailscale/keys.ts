/**
 * Keys at the API: `POST|GET /tailnet/-/keys`, `GET|PUT|DELETE /tailnet/-/keys/{id}`, for auth keys and OAuth clients,
 * with the rules of Tailscale's API description.
 */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { Control, ControlKey } from "./control.ts";
import { ApiFailure, checked } from "./failure.ts";
import type { Grant, OAuth, OAuthClient } from "./oauth.ts";
import { permits } from "./scopes.ts";

/** What a key lives when the request does not say: 90 days, which is also the most. */
const defaultExpirySeconds = 90 * 86_400;

const description = z
  .string()
  .max(50)
  .regex(/^[A-Za-z0-9 -]*$/, "only letters, digits, hyphens and spaces")
  .default("");

const authKey = z.object({
  keyType: z.literal("auth").default("auth"),
  capabilities: z.object({
    devices: z.object({
      create: z
        .object({
          reusable: z.boolean().default(false),
          ephemeral: z.boolean().default(false),
          preauthorized: z.boolean().default(false),
          tags: z.array(z.string()).nullish(),
        })
        .prefault({}),
    }),
  }),
  // Go clients send 0 for "not said".
  expirySeconds: z.int().min(0).max(defaultExpirySeconds).default(0),
  description,
});

const oauthClient = z.object({
  keyType: z.literal("client"),
  scopes: z.array(z.string()).default([]),
  tags: z
    .array(z.string())
    .nullish()
    .transform((tags) => tags ?? []),
  description,
});

/** Says which of the two shapes holds, so that what is wrong in it can be named. */
const anyKey = z.looseObject({ keyType: z.enum(["auth", "client"]).default("auth") });
export const changedKeyShape = oauthClient;

export interface KeysApi {
  create(body: unknown, grant: Grant): Promise<object>;
  /** `all`: auth keys too; without it a token of an OAuth client sees the OAuth clients alone. */
  list(all: boolean, grant: Grant): Promise<object>;
  get(id: string, grant: Grant): Promise<object>;
  update(id: string, body: z.output<typeof changedKeyShape>, grant: Grant): object;
  remove(id: string, grant: Grant): Promise<void>;
}

export const forbidden = (): ApiFailure =>
  new ApiFailure(403, "calling actor does not have enough permissions to perform this function");

export interface KeysParts {
  readonly control: Control;
  readonly oauth: OAuth;
  /** For each tag of the policy the tags that own it. */
  readonly tagOwners: Readonly<Record<string, readonly string[]>>;
  readonly now: () => number;
}

export function keysApi({ control, oauth, tagOwners, now }: KeysParts): KeysApi {
  const descriptions = new Map<string, string>();
  const need = (grant: Grant, scope: string) => {
    if (!permits(grant.scopes, scope)) throw forbidden();
  };
  const notFound = () => new ApiFailure(404, "key not found");
  const shownKey = (key: ControlKey) => ({
    id: key.id,
    keyType: "auth",
    description: descriptions.get(key.id) ?? "",
    expirySeconds: Math.round((Date.parse(key.expires) - Date.parse(key.created)) / 1_000),
    created: key.created,
    expires: key.expires,
    ...(key.revoked === undefined ? {} : { revoked: key.revoked }),
    ...(isInvalid(key, now()) ? { invalid: true } : {}),
    capabilities: {
      devices: {
        create: {
          reusable: key.reusable,
          ephemeral: key.ephemeral,
          preauthorized: key.preauthorized,
          tags: key.tags,
        },
      },
    },
  });
  const findKey = async (id: string) => (await control.keys()).find((candidate) => candidate.id === id);
  return {
    async create(request, grant) {
      if (checked(request, anyKey).keyType === "client") {
        need(grant, "oauth_keys");
        const client = oauth.createClient(checked(request, oauthClient));
        return { ...shownClient(client), key: client.secret };
      }
      need(grant, "auth_keys");
      const body = checked(request, authKey);
      const create = { ...body.capabilities.devices.create };
      const tags = create.tags ?? [];
      if (!mayAssign(tags, grant.tags, tagOwners)) throw badTags(tags);
      const id = `k${randomBytes(6).toString("hex")}CNTRL`;
      const text = `tskey-auth-${id}-${randomBytes(16).toString("hex")}`;
      const expires = new Date(now() + (body.expirySeconds || defaultExpirySeconds) * 1_000).toISOString();
      await control.addKey(text, { ...create, id, expires, tags });
      descriptions.set(id, body.description);
      const key = await findKey(id);
      if (!key) throw new Error(`key ${id} left the control server as it was made`);
      return { ...shownKey(key), key: text };
    },
    async list(all, grant) {
      const seesClients = permits(grant.scopes, "oauth_keys:read");
      const seesKeys = permits(grant.scopes, "auth_keys:read");
      if (!seesClients && !seesKeys) throw forbidden();
      const keys = all && seesKeys ? (await control.keys()).filter((key) => !isInvalid(key, now())) : [];
      return { keys: [...(seesClients ? oauth.clients().map(shownClient) : []), ...keys.map(shownKey)] };
    },
    async get(id, grant) {
      const client = oauth.client(id);
      if (client) {
        // Every token may look at the credential that it came from.
        if (id !== grant.clientId) need(grant, "oauth_keys:read");
        return shownClient(client);
      }
      need(grant, "auth_keys:read");
      const key = await findKey(id);
      if (!key) throw notFound();
      return shownKey(key);
    },
    update(id, body, grant) {
      need(grant, "oauth_keys");
      const client = oauth.updateClient(id, body);
      if (!client) throw notFound();
      return shownClient(client);
    },
    async remove(id, grant) {
      if (oauth.client(id)) {
        need(grant, "oauth_keys");
        oauth.removeClient(id);
        return;
      }
      need(grant, "auth_keys");
      if (!(await control.revokeKey(id))) throw notFound();
    },
  };
}

const shownClient = ({ secret: _, ...client }: OAuthClient) => ({ ...client, keyType: "client" });

const isInvalid = (key: ControlKey, now: number): boolean =>
  key.revoked !== undefined || Date.parse(key.expires) <= now || (!key.reusable && key.uses > 0);

export const badTags = (tags: readonly string[]): ApiFailure =>
  new ApiFailure(400, `requested tags [${tags.join(" ")}] are invalid or not permitted`);

/** A credential gives its own tags, all of them, or tags that those own. */
export function mayAssign(
  wanted: readonly string[],
  held: readonly string[],
  tagOwners: Readonly<Record<string, readonly string[]>>,
): boolean {
  if (wanted.length === 0) return false;
  const exactly = wanted.length === held.length && wanted.every((tag) => held.includes(tag));
  return exactly || wanted.every((tag) => tagOwners[tag]?.some((owner) => held.includes(owner)));
}
