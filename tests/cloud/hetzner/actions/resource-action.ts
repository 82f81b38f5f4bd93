import type { Command } from "../catalogue/durations.ts";
import type { Context } from "../context.ts";
import type { ApiRequest, Route } from "../http/router.ts";
import { assertUnlocked, fromPath } from "../resources/lookup.ts";
import type { Documents, Kind, Stored } from "../store/documents.ts";
import type { ActionResource } from "./engine.ts";
import { presentAction } from "./routes.ts";

/** What a `POST /{collection}/{id}/actions/{name}` sets going. */
export interface Begun<K extends Kind> {
  readonly command: Command;
  /** What changes at once. */
  readonly patch?: Partial<Documents[K]>;
  /** Other resources that the action names, and locks. */
  readonly also?: readonly ActionResource[];
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** Keys of the answer beside `action`, e.g. `root_password`. */
  readonly answer?: Readonly<Record<string, unknown>>;
  /** False: other actions may begin meanwhile. Default true. */
  readonly locks?: boolean;
  /** There is nothing to do: the action is a success at once, and its effect does not run. */
  readonly done?: boolean;
}

/**
 * One action of a kind of resource. It is refused with 423 while another action runs on the resource.
 * @param begin checks the request; what it throws leaves everything as it was.
 */
export function resourceAction<K extends Kind>(
  collection: string,
  kind: K,
  name: string,
  begin: (context: Context, request: ApiRequest, resource: Stored<K>) => Begun<K>,
  assertFree: (context: Context, resource: Stored<K>) => void = (context, { id }) =>
    assertUnlocked(context, kind, id),
): Route {
  return {
    method: "POST",
    path: `/${collection}/{id}/actions/${name}`,
    handle: (context, request) =>
      context.store.transaction(() => {
        const resource = fromPath(context, request, kind);
        assertFree(context, resource);
        const begun = begin(context, request, resource);
        const { command, patch, also = [], answer = {} } = begun;
        const { parameters = {}, done = false, locks = true } = begun;
        if (patch) context.store.update(kind, resource, patch);
        const resources = [{ type: kind, id: resource.id }, ...also];
        const options = { parameters, done, locks };
        const action = context.actions.start(request.project, command, resources, options);
        return { status: 201, body: { ...answer, action: presentAction(context, action) } };
      }),
  };
}
