/** Auth keys at the API: `POST|GET|DELETE /tailnet/-/keys[/{id}]`, with the rules that Tailscale documents. */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { Control, ControlKey } from "./control.ts";

/** What a key lives when the request does not say: 90 days, which is also the most. */
const defaultExpirySeconds = 90 * 86_400;

/** An answer other than success: `{message}` with this status. */
export class ApiFailure extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const newKey = z.object({
  capabilities: z.object({
    devices: z.object({
      create: z.object({
        reusable: z.boolean().default(false),
        ephemeral: z.boolean().default(false),
        preauthorized: z.boolean().default(false),
        tags: z.array(z.string()).default([]),
      }),
    }),
  }),
  expirySeconds: z.number().int().min(1).max(defaultExpirySeconds).default(defaultExpirySeconds),
  description: z
    .string()
    .max(50)
    .regex(/^[A-Za-z0-9 -]*$/, "only letters, digits, hyphens and spaces")
    .default(""),
});

interface KeysApi {
  create(body: unknown, grantTags: readonly string[]): Promise<unknown>;
  list(): Promise<unknown>;
  get(id: string): Promise<unknown>;
  remove(id: string): Promise<void>;
}

/** `tagOwners`: for each tag of the policy the tags that own it. */
export function keysApi(
  control: Control,
  tagOwners: Readonly<Record<string, readonly string[]>>,
  now: () => number,
): KeysApi {
  const descriptions = new Map<string, string>();
  const shown = (key: ControlKey) => ({
    id: key.id,
    keyType: "auth",
    description: descriptions.get(key.id) ?? "",
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
  const find = async (id: string) => {
    const key = (await control.keys()).find((candidate) => candidate.id === id);
    if (!key) throw new ApiFailure(404, "key not found");
    return key;
  };
  return {
    async create(body, grantTags) {
      const parsed = newKey.safeParse(body);
      if (!parsed.success) {
        const [issue] = parsed.error.issues;
        throw new ApiFailure(400, `${issue?.path.join(".")}: ${issue?.message}`);
      }
      const { capabilities, expirySeconds, description } = parsed.data;
      const create = capabilities.devices.create;
      if (!mayAssign(create.tags, grantTags, tagOwners)) {
        throw new ApiFailure(
          400,
          `requested tags ${JSON.stringify(create.tags)} are invalid or not permitted`,
        );
      }
      const id = `k${randomBytes(6).toString("hex")}CNTRL`;
      const text = `tskey-auth-${id}-${randomBytes(16).toString("hex")}`;
      const expires = new Date(now() + expirySeconds * 1_000).toISOString();
      await control.addKey(text, { id, expires, ...create });
      descriptions.set(id, description);
      return { ...shown(await find(id)), key: text, expirySeconds };
    },
    list: async () => ({ keys: (await control.keys()).filter((key) => !isInvalid(key, now())).map(shown) }),
    get: async (id) => shown(await find(id)),
    async remove(id) {
      if (!(await control.revokeKey(id))) throw new ApiFailure(404, "key not found");
    },
  };
}

const isInvalid = (key: ControlKey, now: number): boolean =>
  key.revoked !== undefined || Date.parse(key.expires) <= now || (!key.reusable && key.uses > 0);

/** An OAuth client's keys are tagged, with exactly the client's tags or with tags that those own. */
function mayAssign(
  wanted: readonly string[],
  held: readonly string[],
  tagOwners: Readonly<Record<string, readonly string[]>>,
): boolean {
  if (wanted.length === 0) return false;
  const exactly = wanted.length === held.length && wanted.every((tag) => held.includes(tag));
  return exactly || wanted.every((tag) => tagOwners[tag]?.some((owner) => held.includes(owner)));
}
