/** Tailscale: its API as the daemon uses it, and what its control server says to machines. */
import { BorderError } from "../../../pool/errors.ts";
import { Secret } from "../../../pool/secrets/secret.ts";
import type { Tailnet, TailnetDevice } from "../../../pool/tailnet/tailnet.ts";
import type { SimDevice, World } from "../world.ts";

/** The tags that the installation's client owns. */
const ownTags = /^tag:claw/;

/**
 * A machine joins with a key.
 * @returns its node's id
 * @throws Error with the refusal's text
 */
export function joinTailnet(world: World, authKey: string, hostname: string): string {
  const key = world.authKeys.get(authKey);
  if (!key) throw new Error("invalid key: API key does not exist");
  if (key.used || key.revoked || key.expiresAt <= world.clock.now())
    throw new Error(`invalid key: API key ${key.id} not valid`);
  key.used = true;
  const number = world.id();
  const names = new Set([...world.devices.values()].map(({ name }) => name));
  let name = hostname;
  for (let more = 1; names.has(name); more++) name = `${hostname}-${more}`;
  const node = `n${number}CNTRL`;
  world.devices.set(node, {
    hostname,
    name,
    addresses: [`100.64.${(number >> 8) & 255}.${number & 255}`, `fd7a:115c:a1e0::${number.toString(16)}`],
    tags: key.tags,
    ephemeral: key.ephemeral,
    online: true,
    createdAt: world.clock.now(),
  });
  return node;
}

/** In order: an ephemeral one is forgotten at once. */
export function leaveTailnet(world: World, node: string): void {
  const device = world.devices.get(node);
  if (device?.ephemeral) world.devices.delete(node);
  else if (device) device.online = false;
}

export function simulatedTailnet(world: World): Tailnet {
  const call = async () => {
    await world.takes(50, 250);
    if (world.silent === "tailscale") await new Promise(() => {});
    if (world.refused === "tailscale-auth") {
      throw new BorderError("Tailscale answered 403", { border: "tailnet", kind: "auth" });
    }
    if (world.strikes(0.03)) {
      throw new BorderError("Tailscale answered 500", { border: "tailnet", kind: "transient" });
    }
  };
  const shown = (
    nodeId: string,
    { hostname, name, addresses, tags, online, createdAt }: SimDevice,
  ): TailnetDevice => ({
    nodeId,
    hostname,
    name: `${name}.clawpool.ts.net`,
    addresses,
    tags,
    authorized: true,
    connectedToControl: online,
    createdAt,
  });
  return {
    async mintKey({ tags, expirySeconds, description, ephemeral = false }) {
      await call();
      if (tags.length === 0 || !tags.every((tag) => ownTags.test(tag))) {
        const message = "requested tags are invalid or not permitted";
        throw new BorderError(message, { border: "tailnet", kind: "permanent" });
      }
      const id = `k${world.id()}CNTRL`;
      const key = `tskey-auth-${id}-${world.chance.bytes(6).toString("hex")}`;
      const expiresAt = world.clock.now() + expirySeconds * 1_000;
      world.secrets.add(key);
      const createdAt = world.clock.now();
      world.authKeys.set(key, {
        id,
        description,
        used: false,
        revoked: false,
        tags,
        ephemeral,
        createdAt,
        expiresAt,
      });
      return { id, key: new Secret(key), expiresAt };
    },
    async authKeys() {
      await call();
      return [...world.authKeys.values()]
        .filter(({ used, revoked, expiresAt }) => !used && !revoked && expiresAt > world.clock.now())
        .map(({ id, description, createdAt }) => ({ id, description, createdAt }));
    },
    async revokeKey(id) {
      await call();
      for (const key of world.authKeys.values()) if (key.id === id) key.revoked = true;
    },
    async device(nodeId) {
      await call();
      const device = world.devices.get(nodeId);
      return device ? shown(nodeId, device) : null;
    },
    async devices(tag) {
      await call();
      return [...world.devices].filter(([, { tags }]) => tags.includes(tag)).map((entry) => shown(...entry));
    },
    async deleteDevice(nodeId) {
      await call();
      world.devices.delete(nodeId);
    },
  };
}
