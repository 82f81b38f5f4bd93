import { z } from "zod";
import type { Effects } from "../actions/engine.ts";

import { backupPercent, priceOf } from "../catalogue/pricing.ts";
import { findServerType, isSold, type ServerType } from "../catalogue/server-types.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField, isProtected } from "../http/errors.ts";
import type { Route } from "../http/router.ts";
import { idOrNameSchema, labelsSchema, parseBody, userDataSchema } from "../http/validation.ts";
import { takeSnapshot } from "../lost-machines.ts";
import type { Stored } from "../store/documents.ts";
import { chooseImage, findBootable, presentBootable } from "./bootable.ts";
import { backupsOf, billSnapshot, deleteImage } from "./images.ts";
import { serverOf } from "./lookup.ts";
import { newPassword } from "./server-access.ts";
import { serverAction } from "./server-action.ts";
import { assertOff, switchOn } from "./server-power.ts";
import { takeFromStock } from "./stock.ts";

/** Hetzner's API description, "enable_backup": an eighth backup takes the place of the oldest. */
const backupSlots = 7;

const rebuildSchema = z.object({ image: idOrNameSchema, user_data: userDataSchema.optional() });
const typeSchema = z.object({ server_type: idOrNameSchema, upgrade_disk: z.boolean() });
const imageSchema = z.object({
  description: z.string().max(1000, "is too long (at most 1000 characters)").optional(),
  type: z.enum(["snapshot", "backup"], "must be 'snapshot' or 'backup'").optional(),
  labels: labelsSchema.optional(),
});

function typeOf(server: Stored<"server">): ServerType {
  const type = findServerType(server.serverType);
  if (!type) throw new Error(`server ${server.id} has the unknown type ${server.serverType}`);
  return type;
}

/** @throws ApiError 422 invalid_server_type */
function chooseType(context: Context, server: Stored<"server">, wanted: string): ServerType {
  const type = findServerType(wanted);
  if (!type) throw invalidField("server_type", `server type '${wanted}' not found`);
  const unfit = (why: string) =>
    new ApiError(422, "invalid_server_type", `server type ${type.name} does not fit: ${why}`);
  if (type.name === server.serverType) throw unfit("the server has it already");
  if (!isSold(type, context.clock.now())) throw unfit("it can no longer be ordered");
  if (type.architecture !== typeOf(server).architecture) throw unfit(`it is for ${type.architecture}`);
  if (type.disk < server.primaryDiskSize) throw unfit("its disk is smaller than the server's");
  if (!(server.location in type.offers)) throw unfit(`it is not sold in ${server.location}`);
  return type;
}

export const diskRoutes: readonly Route[] = [
  serverAction("rebuild", (context, request, server) => {
    const body = parseBody(rebuildSchema, request.body);
    if (server.protection.rebuild) throw isProtected("server", "rebuild");
    const { architecture } = typeOf(server);
    const image = chooseImage(context, request.project, body.image, {
      architecture,
      disk: server.primaryDiskSize,
    });
    const nextPassword = server.keyLogin ? null : newPassword();
    return {
      command: "rebuild_server",
      patch: { image: image.id, status: "rebuilding", nextPassword },
      parameters: { image: image.id, userData: body.user_data },
      answer: { root_password: nextPassword },
    };
  }),
  serverAction("change_type", (context, request, server) => {
    const body = parseBody(typeSchema, request.body);
    const type = chooseType(context, server, body.server_type);
    assertOff(context, server);
    takeFromStock(context, request.project, { name: server.name, type, location: server.location });
    return {
      command: "change_server_type",
      patch: { status: "migrating" },
      parameters: { type: type.name, upgradeDisk: body.upgrade_disk },
    };
  }),
  serverAction("create_image", (context, request, server) => {
    const { type = "snapshot", description, labels = {} } = parseBody(imageSchema, request.body ?? {});
    if (type === "backup" && server.backupWindow === null) {
      throw invalidField("type", "backups are not enabled for the server");
    }
    const { store, clock } = context;
    const base = findBootable(context, request.project, server.image)?.base.id ?? server.baseImage;
    const id = store.nextId();
    const image = store.insert(
      "image",
      request.project,
      {
        name: `${type}-${id}`,
        labels,
        created: clock.now(),
        type,
        status: "creating",
        description: description || `${type} of ${server.name}`,
        createdFrom: { id: server.id, name: server.name },
        location: server.location,
        boundTo: type === "backup" ? server.id : null,
        base,
        handle: null,
        size: null,
        diskSize: server.primaryDiskSize,
        protection: { delete: false },
      },
      id,
    );
    const bootable = findBootable(context, request.project, image.id);
    return {
      command: "create_image",
      also: [{ type: "image", id: image.id }],
      answer: { image: bootable && presentBootable(context, bootable) },
    };
  }),
];

const bytesPerGb = 10 ** 9;
/** Two digits, and never nothing. */
const toGb = (bytes: number) => Math.max(0.01, Math.round((bytes / bytesPerGb) * 100) / 100);

export const diskEffects: Effects = {
  rebuild_server: async (context, action) => {
    const { store, backend } = context;
    const server = serverOf(context, action);
    const image = findBootable(context, action.project, Number(action.parameters.image));
    try {
      if (!image) throw new Error("the image is gone");
      const { userData } = action.parameters;
      await backend.rebuild(server.id, {
        image: image.base.name,
        ...(image.stored?.handle ? { snapshot: image.stored.handle } : {}),
        ...(typeof userData === "string" ? { userData } : {}),
      });
    } catch (error) {
      store.update("server", server, { status: backend.isOn(server.id) ? "running" : "off" });
      throw error;
    }
    await switchOn(context, store.update("server", server, { baseImage: image.base.id, rescueUntil: null }));
  },
  // Hetzner starts the server again, and clients such as terraform-provider-hcloud count on it.
  change_server_type: async (context, action) => {
    const { store, backend, billing } = context;
    const server = serverOf(context, action);
    const type = findServerType(String(action.parameters.type));
    if (!type) throw new Error(`unknown server type ${action.parameters.type}`);
    if (server.serverType !== type.name) {
      try {
        await backend.resize(server.id, { cores: type.cores, memoryGiB: type.memory });
      } catch (error) {
        store.update("server", server, { status: "off" });
        throw error;
      }
      store.transaction(() => {
        store.update("server", server, {
          serverType: type.name,
          ...(action.parameters.upgradeDisk === true ? { primaryDiskSize: type.disk } : {}),
        });
        billing.change("server", server.id, { type: type.name, ...priceOf(type.monthly) });
        if (server.backupWindow !== null) {
          billing.change("backup", server.id, { type: type.name, ...backupPrice(type) });
        }
      });
    }
    await switchOn(context, server);
  },
  create_image: async (context, action) => {
    const { store, backend } = context;
    const server = serverOf(context, action);
    const id = action.resources.find((resource) => resource.type === "image")?.id ?? 0;
    const image = store.get("image", action.project, id);
    if (!image) throw new Error(`image ${id} is gone`);
    // A restart of the emulator can fall between the snapshot and the end of the action.
    if (image.status === "creating") {
      try {
        const { handle, bytes } = await takeSnapshot(backend, server.id);
        store.transaction(() => {
          const made = store.update("image", image, { handle, size: toGb(bytes), status: "available" });
          if (made.type === "snapshot") billSnapshot(context, made);
        });
      } catch (error) {
        store.delete(id);
        throw error;
      }
    }
    const backups = backupsOf(context, server);
    for (const old of backups.slice(0, Math.max(0, backups.length - backupSlots))) {
      await deleteImage(context, old);
    }
  },
};

/** What backups of a server of this type cost beside the server. */
export const backupPrice = (type: ServerType) => priceOf((type.monthly * backupPercent) / 100);
