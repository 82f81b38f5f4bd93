import { z } from "zod";
import type { Action } from "../actions/engine.ts";
import { actionRoutesOf, presentAction } from "../actions/routes.ts";
import { findLocation } from "../catalogue/locations.ts";
import { priceOfGb, volumeGbMonthly } from "../catalogue/pricing.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import { answerList, anyOf, byIdNameCreated, filterNamed } from "../http/listing.ts";
import type { Answer, ApiRequest, Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import { idOrNameSchema, idSchema, labelsSchema, parseBody } from "../http/validation.ts";
import type { Stored } from "../store/documents.ts";
import { assertBelowLimit, assertNameFree, assertUnlocked, assertUnprotected, fromPath } from "./lookup.ts";
import { attachable, volumeActionRoutes } from "./volume-actions.ts";
import { discardVolume, sizeSchema } from "./volume-store.ts";

const volumeNameSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/,
    "must be letters, digits, dashes, underscores and dots",
  )
  .max(64, "is too long (at most 64 characters)");

const createSchema = z
  .object({
    size: sizeSchema,
    name: volumeNameSchema,
    labels: labelsSchema.optional(),
    automount: z.boolean().optional(),
    format: z.enum(["xfs", "ext4"], "must be 'xfs' or 'ext4'").nullish(),
    location: idOrNameSchema.optional(),
    server: idSchema.nullish(),
  })
  .superRefine((body, context) => {
    if (body.automount && body.server == null) {
      context.addIssue({ code: "custom", path: ["automount"], message: "needs a server" });
    }
  });
const updateSchema = z.object({ name: volumeNameSchema.optional(), labels: labelsSchema.optional() });

const present = (volume: Stored<"volume">) => ({
  id: volume.id,
  created: timestamp(volume.created),
  name: volume.name,
  server: volume.server,
  location: findLocation(volume.location),
  size: volume.size,
  linux_device: `/dev/disk/by-id/scsi-0HC_Volume_${volume.id}`,
  protection: volume.protection,
  labels: volume.labels,
  status: volume.status,
  format: volume.format,
});

/** `POST /volumes`; with a server the volume is attached to it when it is made. */
function create(context: Context, request: ApiRequest): Answer {
  const { store, billing, clock, actions } = context;
  const { project } = request;
  const body = parseBody(createSchema, request.body);
  return store.transaction(() => {
    const given = body.location === undefined ? undefined : findLocation(body.location);
    if (body.location !== undefined && !given) {
      throw invalidField("location", `location '${body.location}' not found`);
    }
    const server = body.server == null ? null : attachable(context, project, body.server, given?.name);
    const location = server?.location ?? given?.name;
    if (location === undefined) throw invalidField("location", "is required without a server");
    assertNameFree(context, "volume", project, body.name);
    assertBelowLimit(context, "volume");
    const volume = store.insert("volume", project, {
      name: body.name,
      labels: body.labels ?? {},
      created: clock.now(),
      size: body.size,
      location,
      server: null,
      format: body.format ?? null,
      status: "creating",
      protection: { delete: false },
    });
    billing.begin({
      kind: "volume",
      id: volume.id,
      project,
      name: volume.name,
      type: `${body.size} GB`,
      location,
      ...priceOfGb(body.size, volumeGbMonthly),
    });
    const own = { type: "volume", id: volume.id };
    const made = actions.start(project, "create_volume", [own]);
    const next: Action[] = server
      ? [
          // A server that is locked does not keep the volume from being made; that it is not attached then is told by
          // the action (terraform-provider-hcloud, internal/volume/resource.go, knows this of the real API).
          actions.start(project, "attach_volume", [own, { type: "server", id: server.id }], {
            after: made.id,
            locks: false,
            parameters: { automount: body.automount ?? false, whenFree: true },
          }),
        ]
      : [];
    return {
      status: 201,
      body: {
        volume: present(volume),
        action: presentAction(context, made),
        next_actions: next.map((action) => presentAction(context, action)),
      },
    };
  });
}

export const volumeRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/volumes",
    handle: ({ store }, request) => {
      const status = anyOf(request, "status", ["available", "creating"]);
      return answerList(request, {
        key: "volumes",
        entries: filterNamed(request, store.list("volume", request.project)).filter(
          (volume) => !status || status.has(volume.status),
        ),
        present,
        sortable: byIdNameCreated,
      });
    },
  },
  { method: "POST", path: "/volumes", handle: create },
  {
    method: "GET",
    path: "/volumes/{id}",
    handle: (context, request) => ({
      status: 200,
      body: { volume: present(fromPath(context, request, "volume")) },
    }),
  },
  {
    method: "PUT",
    path: "/volumes/{id}",
    handle: (context, request) => {
      const volume = fromPath(context, request, "volume");
      const patch = parseBody(updateSchema, request.body);
      if (patch.name !== undefined) {
        assertNameFree(context, "volume", request.project, patch.name, volume.id);
      }
      return { status: 200, body: { volume: present(context.store.update("volume", volume, patch)) } };
    },
  },
  {
    method: "DELETE",
    path: "/volumes/{id}",
    handle: async (context, request) => {
      const volume = fromPath(context, request, "volume");
      assertUnprotected("volume", volume.protection);
      assertUnlocked(context, "volume", volume.id);
      // Code and words as hetznercloud/csi-driver logged them (its issue 12).
      if (volume.server !== null) {
        throw new ApiError(
          422,
          "service_error",
          `volume with ID '${volume.id}' is still attached to a server`,
        );
      }
      context.store.transaction(() => {
        context.store.delete(volume.id);
        context.billing.end(volume.id);
      });
      await discardVolume(context.backend, volume.id);
      return { status: 204 };
    },
  },
  ...volumeActionRoutes,
  ...actionRoutesOf("volumes", "volume"),
];
