import { z } from "zod";
import { actionAnswer, actionRoutesOf } from "../actions/routes.ts";
import { locations } from "../catalogue/locations.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import { answerList, byIdNameCreated, filterNamed } from "../http/listing.ts";
import type { Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import { labelsSchema, nameSchema, parseBody } from "../http/validation.ts";
import type { Stored, Subnet } from "../store/documents.ts";
import { assertNameFree, fromPath } from "./lookup.ts";
import { contains, overlaps, type Range, toIp, toNumber, toRange } from "./network-addresses.ts";

const rangeSchema = z.cidrv4("must be an IPv4 range");
const subnetSchema = z.object({
  // vSwitches couple dedicated servers, which this emulator does not have.
  type: z.enum(["cloud", "server"], "must be 'cloud' or 'server'"),
  ip_range: rangeSchema.optional(),
  network_zone: z.enum(
    locations.map((location) => location.network_zone),
    "unknown network zone",
  ),
});
const createSchema = z.object({
  name: nameSchema,
  ip_range: rangeSchema,
  labels: labelsSchema.optional(),
  subnets: z.array(subnetSchema).optional(),
  routes: z.array(z.never(), "routes are not offered here").optional(),
  expose_routes_to_vswitch: z.boolean().optional(),
});
const updateSchema = z.object({
  name: nameSchema.optional(),
  labels: labelsSchema.optional(),
  expose_routes_to_vswitch: z.boolean().optional(),
});

/** RFC 1918; Hetzner takes nothing else. */
const privateRanges = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map((cidr) =>
  toRange(cidr, "ip_range"),
);

function attached(context: Context, network: Stored<"network">): Stored<"server">[] {
  return context.store
    .list("server", network.project)
    .filter((server) => server.privateNet.some((entry) => entry.network === network.id));
}

const present = (context: Context, network: Stored<"network">) => ({
  id: network.id,
  name: network.name,
  ip_range: network.ipRange,
  subnets: network.subnets.map((subnet) => ({ ...subnet, vswitch_id: null })),
  routes: network.routes,
  servers: attached(context, network).map((server) => server.id),
  load_balancers: [],
  protection: { delete: false },
  labels: network.labels,
  created: timestamp(network.created),
  expose_routes_to_vswitch: network.exposeRoutesToVswitch,
});

/** @throws ApiError 422 when it lies outside of the network or over another subnet. */
function addSubnet(
  networkRange: Range,
  subnets: readonly Subnet[],
  wanted: z.infer<typeof subnetSchema>,
): Subnet {
  const others = subnets.map((subnet) => toRange(subnet.ip_range, "ip_range"));
  const range = wanted.ip_range === undefined ? firstFree24(networkRange, others) : wanted.ip_range;
  const own = toRange(range, "ip_range");
  if (own.bits > 30 || !contains(networkRange, own)) {
    throw invalidField("ip_range", `${range} is no part of the network's range`);
  }
  if (others.some((other) => overlaps(other, own))) {
    throw invalidField("ip_range", `${range} overlaps with another subnet`);
  }
  return {
    type: wanted.type,
    ip_range: range,
    network_zone: wanted.network_zone,
    gateway: toIp(networkRange.first + 1),
  };
}

function firstFree24(network: Range, others: readonly Range[]): string {
  for (let first = network.first; first + 255 <= network.last; first += 256) {
    const range = { first, last: first + 255, bits: 24 };
    if (!others.some((other) => overlaps(other, range))) return `${toIp(first)}/24`;
  }
  throw new ApiError(422, "no_subnet_available", "there is no free /24 in the network's range");
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
  {
    method: "POST",
    path: "/networks",
    handle: (context, request) => {
      const body = parseBody(createSchema, request.body);
      const range = toRange(body.ip_range, "ip_range");
      if (range.bits > 24 || !privateRanges.some((known) => contains(known, range))) {
        throw invalidField("ip_range", "must be a private range (RFC 1918) of at least /24");
      }
      assertNameFree(context, "network", request.project, body.name);
      const subnets: Subnet[] = [];
      for (const wanted of body.subnets ?? []) subnets.push(addSubnet(range, subnets, wanted));
      const network = context.store.insert("network", request.project, {
        name: body.name,
        ipRange: body.ip_range,
        subnets,
        routes: [],
        labels: body.labels ?? {},
        created: context.clock.now(),
        exposeRoutesToVswitch: body.expose_routes_to_vswitch ?? false,
      });
      return { status: 201, body: { network: present(context, network) } };
    },
  },
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
  {
    method: "DELETE",
    path: "/networks/{id}",
    // Hetzner detaches what is attached.
    handle: (context, request) => {
      const network = fromPath(context, request, "network");
      context.store.transaction(() => {
        for (const server of attached(context, network)) {
          context.store.update("server", server, {
            privateNet: server.privateNet.filter((entry) => entry.network !== network.id),
          });
        }
        context.store.delete(network.id);
      });
      return { status: 204 };
    },
  },
  {
    method: "POST",
    path: "/networks/{id}/actions/add_subnet",
    handle: (context, request) => changeSubnets(context, request, "add_subnet"),
  },
  {
    method: "POST",
    path: "/networks/{id}/actions/delete_subnet",
    handle: (context, request) => changeSubnets(context, request, "delete_subnet"),
  },
  ...actionRoutesOf("networks", "network"),
];

function changeSubnets(
  context: Context,
  request: Parameters<Route["handle"]>[1],
  command: "add_subnet" | "delete_subnet",
) {
  return context.store.transaction(() => {
    const network = fromPath(context, request, "network");
    if (context.actions.isLocked("network", network.id)) {
      throw new ApiError(409, "conflict", "another change of the network is running, please retry");
    }
    const subnets =
      command === "add_subnet"
        ? [
            ...network.subnets,
            addSubnet(
              toRange(network.ipRange, "ip_range"),
              network.subnets,
              parseBody(subnetSchema, request.body),
            ),
          ]
        : withoutSubnet(
            context,
            network,
            parseBody(z.object({ ip_range: rangeSchema }), request.body).ip_range,
          );
    context.store.update("network", network, { subnets });
    return actionAnswer(
      context,
      context.actions.start(request.project, command, [{ type: "network", id: network.id }]),
    );
  });
}

function withoutSubnet(context: Context, network: Stored<"network">, ipRange: string): Subnet[] {
  if (!network.subnets.some((subnet) => subnet.ip_range === ipRange)) {
    throw invalidField("ip_range", `the network has no subnet ${ipRange}`);
  }
  const range = toRange(ipRange, "ip_range");
  const busy = attached(context, network)
    .flatMap((server) => server.privateNet)
    .filter((entry) => entry.network === network.id)
    .some((entry) => toNumber(entry.ip) >= range.first && toNumber(entry.ip) <= range.last);
  // terraform-provider-hcloud repeats its call when it reads these words.
  if (busy)
    throw new ApiError(422, "service_error", "cannot remove subnet because servers are attached to it");
  return network.subnets.filter((subnet) => subnet.ip_range !== ipRange);
}
