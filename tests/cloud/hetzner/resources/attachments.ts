import type { Context } from "../context.ts";
import type { Stored } from "../store/documents.ts";

/** Ids of the volumes that a server has. */
export function volumesOf({ store }: Context, server: Stored<"server">): number[] {
  return store
    .list("volume", server.project)
    .filter((volume) => volume.server === server.id)
    .map((volume) => volume.id);
}

/** Ids of the floating IPs that are assigned to a server. */
export function floatingIpsOf({ store }: Context, server: Stored<"server">): number[] {
  return store
    .list("floating_ip", server.project)
    .filter((address) => address.server === server.id)
    .map((address) => address.id);
}

/**
 * What becomes of a server's addresses and volumes when it is deleted: primary IPs with auto_delete go with it, all
 * else is set free. Call it inside of the transaction that deletes the server.
 */
export function detachAll({ store, billing }: Context, server: Stored<"server">): void {
  for (const id of [server.ipv4, server.ipv6]) {
    const address = id === null ? null : store.get("primary_ip", server.project, id);
    if (!address) continue;
    if (address.autoDelete) {
      store.delete(address.id);
      billing.end(address.id);
    } else store.update("primary_ip", address, { assignee: null });
  }
  for (const address of store.list("floating_ip", server.project)) {
    if (address.server === server.id) store.update("floating_ip", address, { server: null });
  }
  for (const volume of store.list("volume", server.project)) {
    if (volume.server === server.id) store.update("volume", volume, { server: null });
  }
}
