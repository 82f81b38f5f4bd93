import { z } from "zod";
import type { ActionResource, Effects } from "../actions/engine.ts";
import { actionAnswer } from "../actions/routes.ts";
import type { Command } from "../catalogue/durations.ts";
import { findLocation } from "../catalogue/locations.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import type { Answer, ApiRequest, Route } from "../http/router.ts";
import { idSchema, parseBody } from "../http/validation.ts";
import type { ServerDocument, ServerStatus, Stored } from "../store/documents.ts";
import { assertUnlocked, fromPath } from "./lookup.ts";
import { allocatePrivateNet } from "./network-addresses.ts";
import { assertRoomIn } from "./placement-groups.ts";
import { serverOf } from "./server-create.ts";
import { statusOf } from "./server-view.ts";

interface Begun {
  readonly command: Command;
  /** What changes at once. */
  readonly patch?: Partial<ServerDocument>;
  readonly also?: readonly ActionResource[];
  readonly parameters?: Readonly<Record<string, unknown>>;
}

/** One `POST /servers/{id}/actions/{name}`: refused with 423 while another action runs on the server. */
function serverAction(
  name: string,
  begin: (context: Context, request: ApiRequest, server: Stored<"server">) => Begun,
): Route {
  return {
    method: "POST",
    path: `/servers/{id}/actions/${name}`,
    handle: (context, request): Answer =>
      context.store.transaction(() => {
        const server = fromPath(context, request, "server");
        assertUnlocked(context, "server", server.id);
        const { command, patch, also = [], parameters } = begin(context, request, server);
        if (patch) context.store.update("server", server, patch);
        const resources = [{ type: "server", id: server.id }, ...also];
        const action = context.actions.start(
          request.project,
          command,
          resources,
          parameters ? { parameters } : {},
        );
        return actionAnswer(context, action);
      }),
  };
}

function assertOn(context: Context, server: Stored<"server">): void {
  if (statusOf(context, server) !== "running") {
    throw new ApiError(422, "unsupported_error", "the server is not running");
  }
}

const protectionSchema = z.object({ delete: z.boolean().optional(), rebuild: z.boolean().optional() });
const groupSchema = z.object({ placement_group: idSchema });
const detachSchema = z.object({ network: idSchema });
const attachSchema = z.object({
  network: idSchema,
  ip: z.ipv4("must be an IPv4 address").optional(),
  alias_ips: z.array(z.ipv4("must be an IPv4 address")).optional(),
  ip_range: z.cidrv4("must be an IPv4 range").optional(),
});

export const serverActionRoutes: readonly Route[] = [
  serverAction("poweron", (_context, _request, server) => ({
    command: "start_server",
    patch: server.status === "running" ? {} : { status: "starting" },
  })),
  serverAction("poweroff", () => ({ command: "stop_server", patch: { status: "stopping" } })),
  // Only asks the machine; the server is `off` when the machine has obeyed.
  serverAction("shutdown", () => ({ command: "shutdown_server" })),
  serverAction("reboot", (context, _request, server) => {
    assertOn(context, server);
    return { command: "reboot_server" };
  }),
  serverAction("reset", (context, _request, server) => {
    assertOn(context, server);
    return { command: "reset_server" };
  }),
  serverAction("change_protection", (_context, request, server) => {
    const body = parseBody(protectionSchema, request.body);
    const protection = { ...server.protection, ...body };
    // Hetzner: both must always have the same value.
    if (protection.delete !== protection.rebuild) {
      throw invalidField("rebuild", "delete and rebuild protection must have the same value");
    }
    return { command: "change_protection", patch: { protection } };
  }),
  serverAction("add_to_placement_group", (context, request, server) => {
    const { placement_group: id } = parseBody(groupSchema, request.body);
    const group = context.store.get("placement_group", request.project, id);
    if (!group) throw invalidField("placement_group", `placement group with ID '${id}' not found`);
    if (server.placementGroup !== null) {
      throw new ApiError(422, "already_in_placement_group", "the server is already in a placement group");
    }
    if (statusOf(context, server) !== "off") {
      throw new ApiError(422, "server_not_stopped", "the server must be stopped");
    }
    assertRoomIn(context, group);
    return { command: "add_to_placement_group", patch: { placementGroup: id, status: "starting" } };
  }),
  serverAction("remove_from_placement_group", (_context, _request, server) => {
    if (server.placementGroup === null) {
      throw new ApiError(422, "unsupported_error", "the server is in no placement group");
    }
    return { command: "remove_from_placement_group", patch: { placementGroup: null } };
  }),
  serverAction("attach_to_network", (context, request, server) => {
    const body = parseBody(attachSchema, request.body);
    const network = context.store.get("network", request.project, body.network);
    if (!network) throw invalidField("network", `network with ID '${body.network}' not found`);
    if (server.privateNet.some((entry) => entry.network === network.id)) {
      throw new ApiError(422, "server_already_attached", "the server is already attached to the network");
    }
    const zone = findLocation(server.location)?.network_zone ?? "";
    const entry = allocatePrivateNet(context, network, zone, server.id, {
      ip: body.ip,
      aliasIps: body.alias_ips,
      ipRange: body.ip_range,
    });
    return {
      command: "attach_to_network",
      patch: { privateNet: [...server.privateNet, entry] },
      also: [{ type: "network", id: network.id }],
    };
  }),
  serverAction("detach_from_network", (_context, request, server) => {
    const { network } = parseBody(detachSchema, request.body);
    if (!server.privateNet.some((entry) => entry.network === network)) {
      throw invalidField("network", "the server is not attached to the network");
    }
    return {
      command: "detach_from_network",
      also: [{ type: "network", id: network }],
      parameters: { network },
    };
  }),
];

const set = (context: Context, server: Stored<"server">, status: ServerStatus) =>
  context.store.update("server", server, { status });

export const serverEffects: Effects = {
  start_server: async (context, action) => {
    const server = serverOf(context.store, action);
    await switchOn(context, server);
  },
  stop_server: async (context, action) => {
    const server = serverOf(context.store, action);
    await context.backend.powerOff(server.id);
    set(context, server, "off");
  },
  shutdown_server: async (context, action) => {
    await context.backend.shutdown(serverOf(context.store, action).id);
  },
  reboot_server: async (context, action) => {
    await context.backend.reboot(serverOf(context.store, action).id);
  },
  reset_server: async (context, action) => {
    const server = serverOf(context.store, action);
    await context.backend.powerOff(server.id);
    await switchOn(context, server);
  },
  // Seen at Hetzner by terraform-provider-hcloud's acceptance suite: the server runs afterwards.
  add_to_placement_group: async (context, action) => {
    await switchOn(context, serverOf(context.store, action));
  },
  detach_from_network: (context, action) => {
    const server = serverOf(context.store, action);
    context.store.update("server", server, {
      privateNet: server.privateNet.filter((entry) => entry.network !== action.parameters.network),
    });
  },
};

async function switchOn(context: Context, server: Stored<"server">): Promise<void> {
  try {
    if (!context.backend.isOn(server.id)) await context.backend.powerOn(server.id);
    set(context, server, "running");
  } catch (error) {
    set(context, server, "off");
    throw error;
  }
}
