/** Tailscale's API as the daemon uses it. */
import { BorderError } from "../../../pool/errors.ts";
import { Secret } from "../../../pool/secrets/secret.ts";
import type { Tailnet, TailnetDevice } from "../../../pool/tailnet/tailnet.ts";
import type { World } from "../world.ts";

export function simulatedTailnet(world: World): Tailnet {
  const call = async () => {
    await world.takes(50, 250);
    if (world.strikes(0.03)) {
      throw new BorderError("Tailscale answered 500", { border: "tailnet", kind: "transient" });
    }
  };
  const shown = (nodeId: string): TailnetDevice | null => {
    const device = world.devices.get(nodeId);
    return device
      ? {
          nodeId,
          hostname: device.hostname,
          name: `${device.hostname}.ts.net`,
          addresses: ["100.64.0.1"],
          tags: device.tags,
          authorized: true,
          connectedToControl: true,
        }
      : null;
  };
  return {
    async mintKey({ tags, expirySeconds }) {
      await call();
      const id = `k${world.id()}`;
      const key = `tskey-auth-${id}`;
      world.secrets.add(key);
      world.authKeys.set(key, { id, used: false, tags });
      return { id, key: new Secret(key), expiresAt: world.clock.now() + expirySeconds * 1_000 };
    },
    async revokeKey(id) {
      await call();
      for (const [text, key] of world.authKeys) if (key.id === id) world.authKeys.delete(text);
    },
    async device(nodeId) {
      await call();
      return shown(nodeId);
    },
    async devices(tag) {
      await call();
      return [...world.devices.keys()]
        .flatMap((node) => shown(node) ?? [])
        .filter(({ tags }) => tags.includes(tag));
    },
    async deleteDevice(nodeId) {
      await call();
      world.devices.delete(nodeId);
    },
  };
}
