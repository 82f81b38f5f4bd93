import { z } from "zod";
import type { Context } from "../context.ts";
import { ApiError } from "../http/errors.ts";
import { answerList, anyOf, byIdNameCreated, filterNamed } from "../http/listing.ts";
import type { Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import { labelsSchema, nameSchema, parseBody, updateSchema } from "../http/validation.ts";
import type { Stored } from "../store/documents.ts";
import { assertBelowLimit, assertNameFree, fromPath } from "./lookup.ts";

/** A spread group puts each server on another host; Hetzner allows ten (docs.hetzner.com, Placement Groups). */
const maxServers = 10;

const createSchema = z.object({
  name: nameSchema,
  type: z.literal("spread", "must be 'spread'"),
  labels: labelsSchema.optional(),
});

function members(context: Context, group: Stored<"placement_group">): number[] {
  return context.store
    .list("server", group.project)
    .filter((server) => server.placementGroup === group.id)
    .map((server) => server.id);
}

/** @throws ApiError 422 placement_error when the group is full. */
export function assertRoomIn(context: Context, group: Stored<"placement_group">): void {
  if (members(context, group).length >= maxServers) {
    throw new ApiError(
      422,
      "placement_error",
      `error during placement: the group has ${maxServers} servers already`,
    );
  }
}

export function presentPlacementGroup(
  context: Context,
  group: Stored<"placement_group">,
): Record<string, unknown> {
  return {
    id: group.id,
    name: group.name,
    labels: group.labels,
    type: group.type,
    created: timestamp(group.created),
    servers: members(context, group),
  };
}

export const placementGroupRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/placement_groups",
    handle: (context, request) => {
      anyOf(request, "type", ["spread"]);
      return answerList(request, {
        key: "placement_groups",
        entries: filterNamed(request, context.store.list("placement_group", request.project)),
        present: (group) => presentPlacementGroup(context, group),
        sortable: byIdNameCreated,
      });
    },
  },
  {
    method: "POST",
    path: "/placement_groups",
    handle: (context, request) => {
      const body = parseBody(createSchema, request.body);
      assertNameFree(context, "placement_group", request.project, body.name);
      assertBelowLimit(context, "placement_group");
      const group = context.store.insert("placement_group", request.project, {
        name: body.name,
        type: body.type,
        labels: body.labels ?? {},
        created: context.clock.now(),
      });
      return {
        status: 201,
        body: { placement_group: presentPlacementGroup(context, group), action: null },
      };
    },
  },
  {
    method: "GET",
    path: "/placement_groups/{id}",
    handle: (context, request) => ({
      status: 200,
      body: {
        placement_group: presentPlacementGroup(context, fromPath(context, request, "placement_group")),
      },
    }),
  },
  {
    method: "PUT",
    path: "/placement_groups/{id}",
    handle: (context, request) => {
      const group = fromPath(context, request, "placement_group");
      const patch = parseBody(updateSchema, request.body);
      if (patch.name !== undefined) {
        assertNameFree(context, "placement_group", request.project, patch.name, group.id);
      }
      const updated = context.store.update("placement_group", group, patch);
      return { status: 200, body: { placement_group: presentPlacementGroup(context, updated) } };
    },
  },
  {
    method: "DELETE",
    path: "/placement_groups/{id}",
    // The description names no error for a group that still has servers: they stay and lose the group.
    handle: (context, request) => {
      const group = fromPath(context, request, "placement_group");
      for (const server of context.store.list("server", request.project)) {
        if (server.placementGroup === group.id)
          context.store.update("server", server, { placementGroup: null });
      }
      context.store.delete(group.id);
      return { status: 204 };
    },
  },
];
