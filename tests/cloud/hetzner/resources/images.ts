import { z } from "zod";
import { resourceAction } from "../actions/resource-action.ts";
import { actionRoutesOf } from "../actions/routes.ts";
import { images as systemImages } from "../catalogue/images.ts";
import { priceOfGb, snapshotGbMonthly } from "../catalogue/pricing.ts";
import type { Context } from "../context.ts";
import { ApiError, notFound } from "../http/errors.ts";
import { answerList, anyOf } from "../http/listing.ts";
import type { Answer, ApiRequest, Route } from "../http/router.ts";
import { labelsSchema, parseBody } from "../http/validation.ts";
import { parseLabelSelector } from "../label-selector.ts";
import { deleteSnapshot } from "../lost-machines.ts";
import type { Stored } from "../store/documents.ts";
import { allBootable, type Bootable, findBootable, presentBootable, statusOfImage } from "./bootable.ts";
import { assertUnlocked, assertUnprotected, fromPath, idOf } from "./lookup.ts";

const updateSchema = z.object({
  description: z.string().max(1000, "is too long (at most 1000 characters)").optional(),
  type: z.literal("snapshot", "must be 'snapshot'").optional(),
  labels: labelsSchema.optional(),
});
const protectionSchema = z.object({ delete: z.boolean().optional() });

const typeOf = ({ stored }: Bootable) => stored?.type ?? "system";
const createdOf = ({ base, stored }: Bootable) => stored?.created ?? Date.parse(base.created);
const nameOf = ({ base, stored }: Bootable) => (stored ? null : base.name);

function list(context: Context, request: ApiRequest): Answer {
  const { query } = request;
  const name = query.get("name");
  const selects = parseLabelSelector(query.get("label_selector") ?? "");
  const architecture = anyOf(request, "architecture", ["x86", "arm"]);
  const type = anyOf(request, "type", ["system", "app", "snapshot", "backup"]);
  const status = anyOf(request, "status", ["available", "creating", "unavailable"]);
  const boundTo = anyOf(request, "bound_to");
  const withDeprecated = query.get("include_deprecated") === "true";
  return answerList(request, {
    key: "images",
    entries: allBootable(context, request.project).filter((image) => {
      const { base, stored } = image;
      return (
        (name === null || nameOf(image) === name) &&
        selects(stored?.labels ?? {}) &&
        (!architecture || architecture.has(base.architecture)) &&
        (!type || type.has(typeOf(image))) &&
        (!status || status.has(stored ? statusOfImage(context, stored) : "available")) &&
        (!boundTo || boundTo.has(String(stored?.boundTo))) &&
        (withDeprecated || stored !== null || base.deprecated === null)
      );
    }),
    present: (image) => presentBootable(context, image),
    sortable: {
      id: (image) => image.id,
      name: (image) => nameOf(image) ?? "",
      created: createdOf,
    },
  });
}

/** @throws ApiError 404; 403 for a system image, which nobody can change. */
function ownFromPath(context: Context, request: ApiRequest): Stored<"image"> {
  if (systemImages.some((known) => String(known.id) === request.parameters.id)) {
    throw new ApiError(403, "forbidden", "only snapshots and backups can be changed");
  }
  return fromPath(context, request, "image");
}

function answerImage(context: Context, request: ApiRequest): Answer {
  const text = request.parameters.id ?? "";
  const id = idOf(text);
  const image = id === null ? null : findBootable(context, request.project, id);
  if (!image) throw notFound("image", text);
  return { status: 200, body: { image: presentBootable(context, image) } };
}

/** From now on a snapshot is on the bill; backups are in the surcharge of their server. */
export function billSnapshot({ billing }: Context, image: Stored<"image">): void {
  const { id, project, location, description } = image;
  const gb = image.size ?? 0;
  const price = priceOfGb(gb, snapshotGbMonthly);
  billing.begin({ kind: "snapshot", id, project, name: description, type: `${gb} GB`, location, ...price });
}

function update(context: Context, request: ApiRequest): Answer {
  const { store } = context;
  const image = ownFromPath(context, request);
  const { type, ...patch } = parseBody(updateSchema, request.body);
  return store.transaction(() => {
    const converted = type === "snapshot" && image.type === "backup";
    if (converted) assertUnlocked(context, "image", image.id);
    const updated = store.update("image", image, {
      ...patch,
      ...(converted ? { type, boundTo: null } : {}),
    });
    if (converted) billSnapshot(context, updated);
    return answerImage(context, request);
  });
}

/** Servers that were made from it live on and show no image any more. @throws what the backend throws; it is there then */
export async function deleteImage(context: Context, image: Stored<"image">): Promise<void> {
  if (image.handle !== null) await deleteSnapshot(context.backend, image.handle);
  context.store.transaction(() => {
    context.store.delete(image.id);
    context.billing.end(image.id);
  });
}

/** @throws ApiError 503 when its data cannot be deleted; 404 when another request has just done it. */
async function remove(context: Context, request: ApiRequest): Promise<Answer> {
  const image = ownFromPath(context, request);
  assertUnprotected("image", image.protection);
  assertUnlocked(context, "image", image.id);
  try {
    await deleteImage(context, image);
  } catch (error) {
    const { id } = fromPath(context, request, "image");
    const reason = error instanceof Error ? error.message : String(error);
    throw new ApiError(503, "unavailable", `image ${id} could not be deleted: ${reason}`);
  }
  return { status: 204 };
}

/** Oldest first. */
export function backupsOf({ store }: Context, server: Stored<"server">): Stored<"image">[] {
  return store.list("image", server.project).filter((image) => image.boundTo === server.id);
}

export const imageRoutes: readonly Route[] = [
  { method: "GET", path: "/images", handle: list },
  { method: "GET", path: "/images/{id}", handle: answerImage },
  { method: "PUT", path: "/images/{id}", handle: update },
  { method: "DELETE", path: "/images/{id}", handle: remove },
  resourceAction("images", "image", "change_protection", (_context, request, image) => {
    const protection = { ...image.protection, ...parseBody(protectionSchema, request.body) };
    if (image.type !== "snapshot") {
      throw new ApiError(422, "unsupported_error", "only snapshots can be protected");
    }
    return { command: "change_protection", patch: { protection } };
  }),
  ...actionRoutesOf("images", "image", (id) => systemImages.some((known) => known.id === id)),
];
