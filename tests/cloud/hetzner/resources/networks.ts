import { z } from "zod";
import { actionRoutesOf } from "../actions/routes.ts";
import type { Context } from "../context.ts";
import { ApiError } from "../http/errors.ts";
import { answerList, byIdNameCreated, filterNamed } from "../http/listing.ts";
import type { Answer, ApiRequest, Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import { labelsSchema, nameSchema, parseBody } from "../http/validation.ts";
import { machineIsLost } from "../lost-machines.ts";
import type { NetworkRoute, Stored, Subnet } from "../store/documents.ts";
import { assertBelowLimit, assertNameFree, assertUnprotected, fromPath } from "./lookup.ts";
import { assertUnchanging, networkActionRoutes } from "./network-actions.ts";
import {
  attachedServers,
  networkRange,
  rangeSchema,
  routeSchema,
  subnetSchema,
  withRoute,
  withSubnet,
} from "./network-plan.ts";

const createSchema = z.object({
  name: nameSchema,
  ip_range: rangeSchema,
  labels: labelsSchema.optional(),
  subnets: z.array(subnetSchema).optional(),
  routes: z.array(routeSchema).optional(),
  expose_routes_to_vswitch: z.boolean().optional(),
});
const updateSchema = z.object({
  name: nameSchema.optional(),
  labels: labelsSchema.optional(),
  expose_routes_to_vswitch: z.boolean().optional(),
});

const present = (context: Context, network: Stored<"network">) => ({
  id: network.id,
  name: network.name,
  ip_range: network.ipRange,
  subnets: network.subnets.map((subnet) => ({ ...subnet, vswitch_id: null })),
  routes: network.routes,
  servers: attachedServers(context, network).map((server) => server.id),
  load_balancers: [],
  protection: network.protection,
  labels: network.labels,
  created: timestamp(network.created),
  expose_routes_to_vswitch: network.exposeRoutesToVswitch,
});

async function create(context: Context, request: ApiRequest): Promise<Answer> {
  const body = parseBody(createSchema, request.body);
  networkRange(body.ip_range);
  let subnets: readonly Subnet[] = [];
  let routes: readonly NetworkRoute[] = [];
  for (const wanted of body.subnets ?? []) {
    subnets = withSubnet({ ipRange: body.ip_range, subnets, routes }, wanted);
  }
  for (const wanted of body.routes ?? []) {
    routes = withRoute({ ipRange: body.ip_range, subnets, routes }, wanted);
  }
  assertNameFree(context, "network", request.project, body.name);
  assertBelowLimit(context, "network");
  const network = context.store.insert("network", request.project, {
    name: body.name,
    ipRange: body.ip_range,
    subnets,
    routes,
    labels: body.labels ?? {},
    created: context.clock.now(),
    exposeRoutesToVswitch: body.expose_routes_to_vswitch ?? false,
    protection: { delete: false },
  });
  try {
    if (routes.length > 0) await context.backend.setRoutes(network.id, routes);
  } catch (error) {
    context.store.delete(network.id);
    const reason = error instanceof Error ? error.message : String(error);
    throw new ApiError(503, "unavailable", `the routes could not be set: ${reason}`);
  }
  return { status: 201, body: { network: present(context, network) } };
}

/** Servers that are attached are detached. */
async function remove(context: Context, request: ApiRequest): Promise<Answer> {
  const { store, backend } = context;
  const network = fromPath(context, request, "network");
  assertUnprotected("network", network.protection);
  assertUnchanging(context, network);
  const servers = attachedServers(context, network);
  store.transaction(() => {
    for (const server of servers) {
      const privateNet = server.privateNet.filter((entry) => entry.network !== network.id);
      store.update("server", server, { privateNet });
    }
    store.delete(network.id);
  });
  await Promise.all(
    servers
      .filter((server) => !machineIsLost(backend, server.id))
      .map((server) => backend.detachNetwork(server.id, network.id)),
  );
  return { status: 204 };
}

export const networkRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/networks",
    handle: (context, request) =>
      answerList(request, {
        key: "networks",
        entries: filterNamed(request, context.store.list("network", request.project)),
        present: (network) => present(context, network),
        sortable: byIdNameCreated,
      }),
  },
  { method: "POST", path: "/networks", handle: create },
  {
    method: "GET",
    path: "/networks/{id}",
    handle: (context, request) => ({
      status: 200,
      body: { network: present(context, fromPath(context, request, "network")) },
    }),
  },
  {
    method: "PUT",
    path: "/networks/{id}",
    handle: (context, request) => {
      const network = fromPath(context, request, "network");
      const { expose_routes_to_vswitch: expose, ...patch } = parseBody(updateSchema, request.body);
      assertUnchanging(context, network);
      if (patch.name !== undefined) {
        assertNameFree(context, "network", request.project, patch.name, network.id);
      }
      const updated = context.store.update("network", network, {
        ...patch,
        ...(expose === undefined ? {} : { exposeRoutesToVswitch: expose }),
      });
      return { status: 200, body: { network: present(context, updated) } };
    },
  },
  { method: "DELETE", path: "/networks/{id}", handle: remove },
  ...networkActionRoutes,
  ...actionRoutesOf("networks", "network"),
];
