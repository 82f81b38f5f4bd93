import { z } from "zod";
import type { Action, Effects } from "../actions/engine.ts";
import { resourceAction } from "../actions/resource-action.ts";
import { priceOfGb, volumeGbMonthly } from "../catalogue/pricing.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import type { Route } from "../http/router.ts";
import { idSchema, parseBody } from "../http/validation.ts";
import { machineIsLost } from "../lost-machines.ts";
import type { Stored } from "../store/documents.ts";
import { volumesOf } from "./attachments.ts";
import { assertUnlocked } from "./lookup.ts";
import { makeVolume, sizeSchema } from "./volume-store.ts";

/** docs.hetzner.com, Cloud, Volumes: at most 16 on a server. */
export const maxVolumesPerServer = 16;

/**
 * The server that a volume is to be attached to.
 * @throws ApiError 422 when there is none or it is elsewhere, 403 when it has 16 volumes.
 */
export function attachable(
  context: Context,
  project: number,
  id: number,
  location: string | undefined,
): Stored<"server"> {
  const server = context.store.get("server", project, id);
  if (!server || server.reserved) throw invalidField("server", `server with ID '${id}' not found`);
  if (location !== undefined && server.location !== location) {
    throw invalidField("server", `the server is in ${server.location}, the volume in ${location}`);
  }
  if (volumesOf(context, server).length >= maxVolumesPerServer) {
    throw new ApiError(403, "resource_limit_exceeded", "volumes per server limit exceeded", {
      limits: [{ name: "volumes_per_server_limit" }],
    });
  }
  return server;
}

export const volumeActionRoutes: readonly Route[] = [
  resourceAction("volumes", "volume", "attach", (context, request, volume) => {
    const schema = z.object({ server: idSchema, automount: z.boolean().optional() });
    const { server: id, automount = false } = parseBody(schema, request.body);
    if (volume.server !== null) {
      throw new ApiError(422, "volume_already_attached", "the volume is already attached to a server");
    }
    const server = attachable(context, request.project, id, volume.location);
    assertUnlocked(context, "server", server.id);
    return {
      command: "attach_volume",
      also: [{ type: "server", id: server.id }],
      parameters: { automount },
    };
  }),
  resourceAction("volumes", "volume", "detach", (context, _request, volume) => {
    if (volume.server === null) {
      throw new ApiError(422, "service_error", `volume with ID '${volume.id}' is not attached to a server`);
    }
    assertUnlocked(context, "server", volume.server);
    return { command: "detach_volume", also: [{ type: "server", id: volume.server }] };
  }),
  resourceAction("volumes", "volume", "resize", (_context, request, volume) => {
    const { size } = parseBody(z.object({ size: sizeSchema }), request.body);
    if (size <= volume.size) throw invalidField("size", `must be greater than ${volume.size} GB`);
    return { command: "resize_volume", parameters: { size } };
  }),
  resourceAction("volumes", "volume", "change_protection", (_context, request, volume) => {
    const wanted = parseBody(z.object({ delete: z.boolean().optional() }), request.body);
    return {
      command: "change_protection",
      patch: { protection: { delete: wanted.delete ?? volume.protection.delete } },
    };
  }),
];

function volumeOf({ store }: Context, action: Action): Stored<"volume"> {
  const id = action.resources.find((resource) => resource.type === "volume")?.id ?? 0;
  const volume = store.get("volume", action.project, id);
  if (!volume) throw new Error(`volume ${id} is gone`);
  return volume;
}

const serverIdOf = (action: Action) =>
  action.resources.find((resource) => resource.type === "server")?.id ?? 0;

export const volumeEffects: Effects = {
  create_volume: async (context, action) => {
    const volume = volumeOf(context, action);
    try {
      await makeVolume(context.backend, { id: volume.id, size: volume.size, format: volume.format });
      context.store.update("volume", volume, { status: "available" });
    } catch (error) {
      // Nobody pays for what could not be made.
      context.store.delete(volume.id);
      context.billing.end(volume.id);
      throw error;
    }
  },
  attach_volume: async (context, action) => {
    const volume = volumeOf(context, action);
    const server = serverIdOf(action);
    if (volume.server === server) return;
    if (action.parameters.whenFree === true) assertUnlocked(context, "server", server);
    await context.backend.attachVolume(server, volume.id, action.parameters.automount === true);
    context.store.update("volume", volume, { server });
  },
  detach_volume: async (context, action) => {
    const volume = volumeOf(context, action);
    if (volume.server === null) return;
    if (!machineIsLost(context.backend, volume.server)) {
      await context.backend.detachVolume(volume.server, volume.id);
    }
    context.store.update("volume", volume, { server: null });
  },
  resize_volume: async (context, action) => {
    const volume = volumeOf(context, action);
    const size = Number(action.parameters.size);
    await context.backend.resizeVolume(volume.id, size);
    context.store.update("volume", volume, { size });
    context.billing.change("volume", volume.id, {
      type: `${size} GB`,
      ...priceOfGb(size, volumeGbMonthly),
    });
  },
};
