import { z } from "zod";
import type { Action, Effects } from "../actions/engine.ts";

import { findLocation } from "../catalogue/locations.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import type { Route } from "../http/router.ts";
import { idSchema, parseBody } from "../http/validation.ts";
import type { PrivateNet, Stored } from "../store/documents.ts";
import { serverOf } from "./lookup.ts";
import { allocatePrivateNet, assertFreeIn, interfaceOf, overlaps, toRange } from "./network-addresses.ts";
import { serverAction } from "./server-action.ts";

/** docs.hetzner.com, Cloud, Networks: a server is in three networks at most, with five alias addresses in each. */
export const maxNetworksPerServer = 3;
const maxAliasIps = 5;

const ipSchema = z.ipv4("must be an IPv4 address");
const aliasIpsSchema = z.array(ipSchema).max(maxAliasIps, `at most ${maxAliasIps} alias IPs`);
const detachSchema = z.object({ network: idSchema });
const aliasSchema = z.object({ network: idSchema, alias_ips: aliasIpsSchema });
const attachSchema = z.object({
  network: idSchema,
  ip: ipSchema.optional(),
  alias_ips: aliasIpsSchema.optional(),
  ip_range: z.cidrv4("must be an IPv4 range").optional(),
});

const zoneOf = (server: Stored<"server">) => findLocation(server.location)?.network_zone ?? "";

/** @throws ApiError 422 when the server is not attached to the network. */
function attachment(
  context: Context,
  server: Stored<"server">,
  id: number,
): { network: Stored<"network">; entry: PrivateNet } {
  const network = context.store.get("network", server.project, id);
  const entry = server.privateNet.find((each) => each.network === id);
  if (!network || !entry) throw invalidField("network", "the server is not attached to the network");
  return { network, entry };
}

/** @throws ApiError 422 networks_overlap */
function assertApart(context: Context, server: Stored<"server">, network: Stored<"network">): void {
  const range = toRange(network.ipRange, "network");
  for (const entry of server.privateNet) {
    const other = context.store.get("network", server.project, entry.network);
    if (other && overlaps(range, toRange(other.ipRange, "network"))) {
      throw new ApiError(
        422,
        "networks_overlap",
        `the network overlaps with network ${other.id}, to which the server is attached`,
      );
    }
  }
}

export const serverNetworkRoutes: readonly Route[] = [
  serverAction("attach_to_network", (context, request, server) => {
    const body = parseBody(attachSchema, request.body);
    const network = context.store.get("network", request.project, body.network);
    if (!network) throw invalidField("network", `network with ID '${body.network}' not found`);
    if (server.privateNet.some((entry) => entry.network === network.id)) {
      throw new ApiError(422, "server_already_attached", "the server is already attached to the network");
    }
    if (server.privateNet.length >= maxNetworksPerServer) {
      throw new ApiError(403, "resource_limit_exceeded", "networks per server limit exceeded", {
        limits: [{ name: "networks_per_server_limit" }],
      });
    }
    assertApart(context, server, network);
    const entry = allocatePrivateNet(context, network, zoneOf(server), server.id, {
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
  serverAction("detach_from_network", (context, request, server) => {
    const { network } = attachment(context, server, parseBody(detachSchema, request.body).network);
    return { command: "detach_from_network", also: [{ type: "network", id: network.id }] };
  }),
  serverAction("change_alias_ips", (context, request, server) => {
    const body = parseBody(aliasSchema, request.body);
    const { network, entry } = attachment(context, server, body.network);
    const wanted = [...new Set(body.alias_ips)];
    assertFreeIn(
      context,
      network,
      zoneOf(server),
      wanted.filter((ip) => !entry.alias_ips.includes(ip)),
    );
    return {
      command: "change_alias_ips",
      patch: {
        privateNet: server.privateNet.map((each) =>
          each.network === network.id ? { ...each, alias_ips: wanted } : each,
        ),
      },
      also: [{ type: "network", id: network.id }],
    };
  }),
];

const networkIdOf = (action: Action) =>
  action.resources.find((resource) => resource.type === "network")?.id ?? 0;

export const serverNetworkEffects: Effects = {
  attach_to_network: async (context, action) => {
    const server = serverOf(context, action);
    const { network, entry } = attachmentNow(context, server, networkIdOf(action));
    try {
      await context.backend.attachNetwork(server.id, interfaceOf(network, entry));
    } catch (error) {
      forget(context, server, network.id);
      throw error;
    }
  },
  detach_from_network: async (context, action) => {
    const server = serverOf(context, action);
    const network = networkIdOf(action);
    await context.backend.detachNetwork(server.id, network);
    forget(context, server, network);
  },
  change_alias_ips: async (context, action) => {
    const server = serverOf(context, action);
    const { network, entry } = attachmentNow(context, server, networkIdOf(action));
    await context.backend.setAliasIps(server.id, network.id, entry.alias_ips);
  },
};

function forget({ store }: Context, server: Stored<"server">, network: number): void {
  const now = store.get("server", server.project, server.id) ?? server;
  store.update("server", now, {
    privateNet: now.privateNet.filter((entry) => entry.network !== network),
  });
}

/** @throws when the network was deleted meanwhile, which ends the action in error. */
function attachmentNow({ store }: Context, server: Stored<"server">, id: number) {
  const network = store.get("network", server.project, id);
  const entry = server.privateNet.find((each) => each.network === id);
  if (!network || !entry) throw new Error(`server ${server.id} is not attached to network ${id} any more`);
  return { network, entry };
}
