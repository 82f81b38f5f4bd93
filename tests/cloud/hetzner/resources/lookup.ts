import type { Action } from "../actions/engine.ts";
import type { Context } from "../context.ts";
import { ApiError, isProtected, locked, notFound, unique } from "../http/errors.ts";
import type { ApiRequest } from "../http/router.ts";
import type { Kind, Stored } from "../store/documents.ts";

const spoken = (kind: Kind) => kind.replaceAll("_", " ");

/** What a path means by an id; null when it cannot be one. */
export const idOf = (text: string): number | null => (/^[1-9][0-9]{0,15}$/.test(text) ? Number(text) : null);

/** The resource named by `{id}` in the path. @throws ApiError 404 */
export function fromPath<K extends Kind>(context: Context, request: ApiRequest, kind: K): Stored<K> {
  const text = request.parameters.id ?? "";
  const id = idOf(text);
  const found = id === null ? null : context.store.get(kind, request.project, id);
  if (!found || ("reserved" in found && found.reserved)) throw notFound(spoken(kind), text);
  return found;
}

/** The server of a server action. @throws when it is gone, which ends the action in error. */
export function serverOf({ store }: Context, action: Action): Stored<"server"> {
  const id = action.resources.find((resource) => resource.type === "server")?.id ?? 0;
  const server = store.get("server", action.project, id);
  if (!server) throw new Error(`server ${id} is gone`);
  return server;
}

/** @throws ApiError 423 while an action runs on it. */
export function assertUnlocked(context: Context, kind: Kind, id: number): void {
  if (context.actions.isLocked(kind, id)) throw locked(spoken(kind));
}

export function assertUnprotected(kind: Kind, protection: { readonly delete: boolean }): void {
  if (protection.delete) throw isProtected(spoken(kind));
}

const taken: Partial<Record<Kind, string>> = {
  server: "server name is already used",
  ssh_key: "SSH key with the same name already exists",
};

/** @throws ApiError 409 when another resource of the kind has the name. */
export function assertNameFree(
  context: Context,
  kind: Kind,
  project: number,
  name: string,
  except?: number,
): void {
  if (context.store.hasName(kind, project, name, except)) {
    throw unique("name", taken[kind] ?? "name is already used");
  }
}

/** @throws ApiError 403 when the account may not have that many more. */
export function assertBelowLimit({ store, limits }: Context, kind: Kind, more = 1): void {
  const limit = limits[kind];
  if (limit === undefined || store.listAll(kind).length + more <= limit) return;
  throw new ApiError(403, "resource_limit_exceeded", `${spoken(kind)} limit exceeded`, {
    limits: [{ name: `${kind}_limit` }],
  });
}
