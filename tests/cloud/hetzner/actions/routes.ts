import type { Context } from "../context.ts";
import { ApiError, notFound } from "../http/errors.ts";
import { answerList, anyOf } from "../http/listing.ts";
import type { Answer, ApiRequest, Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import { idOf } from "../resources/lookup.ts";
import type { Kind } from "../store/documents.ts";
import type { Action } from "./engine.ts";

export function presentAction(context: Context, action: Action): Record<string, unknown> {
  return {
    id: action.id,
    command: action.command,
    status: action.status,
    progress: context.actions.progress(action),
    started: timestamp(action.started),
    finished: action.finished === null ? null : timestamp(action.finished),
    resources: action.resources,
    error: action.error,
  };
}

/** `201 {"action": …}`, the answer of nearly every POST below `/actions`. */
export function actionAnswer(context: Context, action: Action, status = 201): Answer {
  return { status, body: { action: presentAction(context, action) } };
}

const statuses = ["running", "success", "error"];

function answerActions(context: Context, request: ApiRequest, actions: readonly Action[]): Answer {
  const status = anyOf(request, "status", statuses);
  const ids = anyOf(request, "id");
  return answerList(request, {
    key: "actions",
    entries: actions.filter(
      (action) => (!status || status.has(action.status)) && (!ids || ids.has(String(action.id))),
    ),
    present: (action) => presentAction(context, action),
    sortable: {
      id: (action) => action.id,
      command: (action) => action.command,
      status: (action) => action.status,
      started: (action) => action.started,
      finished: (action) => action.finished ?? Number.POSITIVE_INFINITY,
    },
  });
}

function answerAction(context: Context, request: ApiRequest, id: string, type?: string, of?: string): Answer {
  const action = context.actions.find(request.project, Number(id));
  const belongs = action?.resources.some(
    (resource) =>
      (type === undefined || resource.type === type) && (of === undefined || String(resource.id) === of),
  );
  if (!action || !belongs) throw notFound("action", id);
  return actionAnswer(context, action, 200);
}

/** The global routes. Without ids the list was removed on 2025-01-30. */
export const actionRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/actions",
    handle: (context, request) => {
      if (!request.query.has("id")) {
        throw new ApiError(410, "deprecated_api_endpoint", "listing all actions was removed: give `id`", {
          announcement:
            "https://docs.hetzner.cloud/changelog#2025-01-30-listing-arbitrary-actions-in-the-actions-list-endpoint-is-removed",
        });
      }
      const wanted = new Set(request.query.getAll("id"));
      const found = [...wanted]
        .map((id) => context.actions.find(request.project, Number(id)))
        .filter((action) => action !== null)
        .sort((a, b) => a.id - b.id);
      return answerActions(context, request, found);
    },
  },
  {
    method: "GET",
    path: "/actions/{id}",
    handle: (context, request) => answerAction(context, request, request.parameters.id ?? ""),
  },
];

/**
 * `/X/actions`, `/X/actions/{id}`, `/X/{id}/actions` and `/X/{id}/actions/{action_id}` of a kind of resource.
 * @param isBuiltIn says which ids belong to resources that no project owns
 */
export function actionRoutesOf(
  collection: string,
  kind: Kind,
  isBuiltIn: (id: number) => boolean = () => false,
): readonly Route[] {
  return [
    {
      method: "GET",
      path: `/${collection}/actions`,
      handle: (context, request) =>
        answerActions(context, request, context.actions.list(request.project, { type: kind })),
    },
    {
      method: "GET",
      path: `/${collection}/actions/{id}`,
      handle: (context, request) => answerAction(context, request, request.parameters.id ?? "", kind),
    },
    {
      method: "GET",
      path: `/${collection}/{id}/actions`,
      handle: (context, request) => {
        const text = request.parameters.id ?? "";
        const id = idOf(text);
        const actions = id === null ? [] : context.actions.list(request.project, { type: kind, id });
        // Actions outlive their resource; an id that never had one is unknown.
        const known = id !== null && (isBuiltIn(id) || context.store.get(kind, request.project, id) !== null);
        if (actions.length === 0 && !known) throw notFound(kind.replaceAll("_", " "), text);
        return answerActions(context, request, actions);
      },
    },
    {
      method: "GET",
      path: `/${collection}/{id}/actions/{action_id}`,
      handle: (context, request) =>
        answerAction(context, request, request.parameters.action_id ?? "", kind, request.parameters.id),
    },
  ];
}
