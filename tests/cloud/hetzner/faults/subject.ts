import { findLocation } from "../catalogue/locations.ts";
import { findServerType } from "../catalogue/server-types.ts";
import type { Store } from "../store/store.ts";
import type { ServerTraits } from "./match.ts";

/** Of a server that exists. */
export function traitsOfServer(store: Store, project: number, id: number): ServerTraits | null {
  const server = store.get("server", project, id);
  return server && { name: server.name, type: server.serverType, location: server.location };
}

/** Of the server that a request orders or names; orders may give type and location by id or by name. */
export function traitsOfRequest(
  store: Store,
  request: {
    readonly method: string;
    readonly path: string;
    readonly body: unknown;
    readonly project: number | null;
  },
): ServerTraits | null {
  const id = serverInPath(request.path);
  if (id !== null) return request.project === null ? null : traitsOfServer(store, request.project, id);
  if (request.method !== "POST" || request.path !== "/servers") return null;
  const { name, server_type, location } = (request.body ?? {}) as Record<string, unknown>;
  if (typeof name !== "string") return null;
  return {
    name,
    type: findServerType(String(server_type))?.name ?? String(server_type),
    location: location === undefined ? null : (findLocation(String(location))?.name ?? String(location)),
  };
}

/** The id in `/servers/{id}…`, or null. */
export function serverInPath(path: string): number | null {
  const id = /^\/servers\/([1-9][0-9]{0,15})(\/|$)/.exec(path)?.[1];
  return id === undefined ? null : Number(id);
}
