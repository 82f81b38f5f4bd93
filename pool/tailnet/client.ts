/** The Tailnet over Tailscale's API v2. Answers are checked at this border, only in the fields that are used. */
import { z } from "zod";
import { BorderError } from "../errors.ts";
import { Secret } from "../secrets/secret.ts";
import type { Tailnet, TailnetDevice } from "./tailnet.ts";
import { createWire, type TailnetOptions } from "./wire.ts";

const keyShape = z.object({
  id: z.string().min(1),
  key: z.string().min(1),
  created: z.iso.datetime({ offset: true }),
  expires: z.iso.datetime({ offset: true }),
});

const deviceShape = z.object({
  nodeId: z.string().min(1),
  hostname: z.string(),
  name: z.string(),
  addresses: z.array(z.string()),
  // Absent on devices that belong to a person.
  tags: z.array(z.string()).default([]),
  authorized: z.boolean(),
  connectedToControl: z.boolean(),
  // Empty on devices that others share with the tailnet.
  created: z.string().nullish(),
});
type DeviceShown = z.output<typeof deviceShape>;

const device = ({ created, ...shown }: DeviceShown): TailnetDevice => {
  const createdAt = Date.parse(created ?? "");
  return { ...shown, createdAt: Number.isNaN(createdAt) ? null : createdAt };
};

const listedKeys = z.object({
  keys: z.array(
    z.object({
      id: z.string().min(1),
      keyType: z.string().default("auth"),
      description: z.string().default(""),
      created: z.string().optional(),
      invalid: z.boolean().default(false),
    }),
  ),
});

const devicesShape = z.object({ devices: z.array(deviceShape) });

/**
 * Tailscale's tailnet of the given OAuth client, which needs the scopes `auth_keys` and `devices:core`.
 * Every method throws BorderError of border `tailnet`; nothing is repeated except once after a 401.
 */
export function createTailnet(options: TailnetOptions): Tailnet {
  const wire = createWire(options);
  return {
    async mintKey({ tags, expirySeconds, description, ephemeral = false }) {
      if (!/^[A-Za-z0-9 -]{0,50}$/.test(description)) {
        throw new RangeError("description: at most 50 letters, digits, hyphens and spaces");
      }
      const create = { reusable: false, ephemeral, preauthorized: true, tags };
      const body = { capabilities: { devices: { create } }, expirySeconds, description };
      const asked = options.clock.now();
      const answer = await wire.call("POST", "/tailnet/-/keys", keyShape, body);
      if (!answer) throw notFound("POST /tailnet/-/keys");
      // Counted from our own clock: the server's may differ, its two times agree with each other.
      const lifeMs = Date.parse(answer.expires) - Date.parse(answer.created);
      return { id: answer.id, key: new Secret(answer.key), expiresAt: asked + lifeMs };
    },
    async revokeKey(id) {
      await wire.call("DELETE", `/tailnet/-/keys/${encodeURIComponent(id)}`, z.unknown());
    },
    async authKeys() {
      const answer = await wire.call("GET", "/tailnet/-/keys?all=true", listedKeys);
      if (!answer) throw notFound("GET /tailnet/-/keys");
      return answer.keys.flatMap(({ id, keyType, description, created, invalid }) => {
        const createdAt = Date.parse(created ?? "");
        // Without a time nobody can say how old it is; it expires by itself.
        return keyType !== "auth" || invalid || Number.isNaN(createdAt)
          ? []
          : [{ id, description, createdAt }];
      });
    },
    async device(nodeId) {
      const shown = await wire.call("GET", `/device/${encodeURIComponent(nodeId)}`, deviceShape);
      return shown && device(shown);
    },
    async devices(tag) {
      const path = `/tailnet/-/devices?tags=${encodeURIComponent(tag)}`;
      const answer = await wire.call("GET", path, devicesShape);
      if (!answer) throw notFound("GET /tailnet/-/devices");
      // A server that does not know the filter gives all devices, and callers delete what they get from here.
      const tagged = answer.devices.filter(({ tags }) => tags.includes(tag)).map(device);
      return [...new Map(tagged.map((one) => [one.nodeId, one])).values()];
    },
    async deleteDevice(nodeId) {
      const path = `/device/${encodeURIComponent(nodeId)}`;
      try {
        await wire.call("DELETE", path, z.unknown());
      } catch (error) {
        // Tailscale's API description has no 404 here, but 400 and 501 for what is not a device of the tailnet.
        const refused = error instanceof BorderError && error.kind === "permanent";
        if (!refused || (await wire.call("GET", path, deviceShape)) !== null) throw error;
      }
    },
  };
}

/** 404 on a collection: the API's address or the tailnet is wrong. */
const notFound = (call: string): BorderError =>
  new BorderError(`${call}: not found; is the API's address right?`, {
    border: "tailnet",
    kind: "permanent",
    code: "http_404",
  });
