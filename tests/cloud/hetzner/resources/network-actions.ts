import { z } from "zod";
import type { Action, Effects } from "../actions/engine.ts";
import { type Begun, resourceAction } from "../actions/resource-action.ts";
import type { Context } from "../context.ts";
import { ApiError } from "../http/errors.ts";
import type { ApiRequest, Route } from "../http/router.ts";
import { parseBody } from "../http/validation.ts";
import { machineIsLost } from "../lost-machines.ts";
import type { Stored } from "../store/documents.ts";
import { interfaceOf } from "./network-addresses.ts";
import {
  assertExtends,
  attachedServers,
  rangeSchema,
  routeSchema,
  subnetSchema,
  withoutRoute,
  withoutSubnet,
  withRoute,
  withSubnet,
} from "./network-plan.ts";

const rangeBody = z.object({ ip_range: rangeSchema });

/** @throws ApiError 409 while an action runs on the network, as the API description says for every change of it. */
export function assertUnchanging(context: Context, network: Stored<"network">): void {
  if (context.actions.isLocked("network", network.id)) {
    throw new ApiError(409, "conflict", "another change of the network is running, please retry");
  }
}

const networkAction = (
  name: string,
  begin: (context: Context, request: ApiRequest, network: Stored<"network">) => Begun<"network">,
): Route => resourceAction("networks", "network", name, begin, assertUnchanging);

export const networkActionRoutes: readonly Route[] = [
  networkAction("add_subnet", (_context, { body }, network) => ({
    command: "add_subnet",
    patch: { subnets: withSubnet(network, parseBody(subnetSchema, body)) },
  })),
  networkAction("delete_subnet", (context, { body }, network) => ({
    command: "delete_subnet",
    patch: { subnets: withoutSubnet(context, network, parseBody(rangeBody, body).ip_range) },
  })),
  networkAction("add_route", (_context, { body }, network) => ({
    command: "add_route",
    patch: { routes: withRoute(network, parseBody(routeSchema, body)) },
  })),
  networkAction("delete_route", (_context, { body }, network) => ({
    command: "delete_route",
    patch: { routes: withoutRoute(network, parseBody(routeSchema, body)) },
  })),
  networkAction("change_ip_range", (_context, { body }, network) => {
    const { ip_range: ipRange } = parseBody(rangeBody, body);
    assertExtends(network, ipRange);
    return { command: "change_ip_range", patch: { ipRange } };
  }),
  networkAction("change_protection", (_context, { body }, network) => {
    const wanted = parseBody(z.object({ delete: z.boolean().optional() }), body);
    return {
      command: "change_protection",
      patch: { protection: { delete: wanted.delete ?? network.protection.delete } },
    };
  }),
];

function networkOf({ store }: Context, action: Action): Stored<"network"> {
  const id = action.resources.find((resource) => resource.type === "network")?.id ?? 0;
  const network = store.get("network", action.project, id);
  if (!network) throw new Error(`network ${id} is gone`);
  return network;
}

async function setRoutes(context: Context, action: Action): Promise<void> {
  const network = networkOf(context, action);
  await context.backend.setRoutes(network.id, network.routes);
}

/**
 * At Hetzner a server knows the new range when it was rebooted or somebody told it; here its interface is put in anew
 * at once, so that it is away for a moment.
 */
async function renewInterfaces(context: Context, action: Action): Promise<void> {
  const { backend } = context;
  const network = networkOf(context, action);
  for (const server of attachedServers(context, network)) {
    const entry = server.privateNet.find((each) => each.network === network.id);
    if (!entry || machineIsLost(backend, server.id)) continue;
    await backend.detachNetwork(server.id, network.id);
    await backend.attachNetwork(server.id, interfaceOf(network, entry));
  }
}

export const networkEffects: Effects = {
  add_route: setRoutes,
  delete_route: setRoutes,
  change_ip_range: renewInterfaces,
};
