import { z } from "zod";
import type { Effects } from "../actions/engine.ts";

import { findIso } from "../catalogue/isos.ts";
import { findServerType } from "../catalogue/server-types.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import type { Route } from "../http/router.ts";
import { idOrNameSchema, idSchema, parseBody } from "../http/validation.ts";
import { backupsOf, deleteImage } from "./images.ts";
import { serverOf } from "./lookup.ts";
import { assertRoomIn } from "./placement-groups.ts";
import { canonicalAddress, changedDnsPtrs, covers } from "./reverse-dns.ts";
import { serverAction } from "./server-action.ts";
import { backupPrice } from "./server-disk.ts";
import { assertOff, switchOn } from "./server-power.ts";

const protectionSchema = z.object({ delete: z.boolean().optional(), rebuild: z.boolean().optional() });
const groupSchema = z.object({ placement_group: idSchema });
const isoSchema = z.object({ iso: idOrNameSchema });
const ipSchema = z.object({ ip: z.string().min(1) });

/** Hetzner chooses the window; which one it is makes no difference here. */
const backupWindow = "22-02";

export const settingRoutes: readonly Route[] = [
  serverAction("change_protection", (_context, request, server) => {
    const body = parseBody(protectionSchema, request.body);
    const protection = { ...server.protection, ...body };
    // Hetzner: both must always have the same value.
    if (protection.delete !== protection.rebuild) {
      throw invalidField("rebuild", "delete and rebuild protection must have the same value");
    }
    return { command: "change_protection", patch: { protection } };
  }),
  serverAction("change_dns_ptr", (context, request, server) => {
    const wanted = canonicalAddress(parseBody(ipSchema, request.body).ip);
    for (const id of [server.ipv4, server.ipv6]) {
      const address = id === null ? null : context.store.get("primary_ip", request.project, id);
      if (!address || wanted === null || !covers(address.ip, wanted)) continue;
      context.store.update("primary_ip", address, {
        dnsPtrs: changedDnsPtrs([address.ip], address.dnsPtrs, request.body),
      });
      // terraform-provider-hcloud's acceptance suite sets the names of both addresses at once.
      return { command: "change_dns_ptr", locks: false };
    }
    throw invalidField("ip", "is no address of the server");
  }),
  serverAction("enable_backup", (context, _request, server) => {
    const type = findServerType(server.serverType);
    if (server.backupWindow !== null || !type) return { command: "enable_backup", done: true };
    const { id, project, name, location } = server;
    context.billing.begin({
      kind: "backup",
      id,
      project,
      name,
      type: type.name,
      location,
      ...backupPrice(type),
    });
    return { command: "enable_backup", patch: { backupWindow } };
  }),
  serverAction("disable_backup", (context, _request, server) => {
    if (server.backupWindow === null) return { command: "disable_backup", done: true };
    context.billing.end(server.id, "backup");
    return { command: "disable_backup", patch: { backupWindow: null } };
  }),
  serverAction("attach_iso", (_context, request, server) => {
    const wanted = parseBody(isoSchema, request.body).iso;
    const iso = findIso(wanted);
    if (!iso) throw invalidField("iso", `ISO '${wanted}' not found`);
    if (iso.architecture !== findServerType(server.serverType)?.architecture) {
      throw invalidField("iso", `the ISO is for ${iso.architecture}`);
    }
    return { command: "attach_iso", patch: { iso: iso.id } };
  }),
  serverAction("detach_iso", (_context, _request, server) => ({
    command: "detach_iso",
    patch: { iso: null },
    done: server.iso === null,
  })),
  serverAction("add_to_placement_group", (context, request, server) => {
    const { placement_group: id } = parseBody(groupSchema, request.body);
    const group = context.store.get("placement_group", request.project, id);
    if (!group) throw invalidField("placement_group", `placement group with ID '${id}' not found`);
    if (server.placementGroup !== null) {
      throw new ApiError(422, "already_in_placement_group", "the server is already in a placement group");
    }
    assertOff(context, server);
    assertRoomIn(context, group);
    return { command: "add_to_placement_group", patch: { placementGroup: id, status: "starting" } };
  }),
  serverAction("remove_from_placement_group", (_context, _request, server) => {
    if (server.placementGroup === null) {
      throw new ApiError(422, "unsupported_error", "the server is in no placement group");
    }
    return { command: "remove_from_placement_group", patch: { placementGroup: null } };
  }),
];

export const settingEffects: Effects = {
  // Seen at Hetzner by terraform-provider-hcloud's acceptance suite: the server runs afterwards.
  add_to_placement_group: (context, action) => switchOn(context, serverOf(context, action)),
  disable_backup: async (context, action) => {
    for (const image of backupsOf(context, serverOf(context, action))) await deleteImage(context, image);
  },
};
