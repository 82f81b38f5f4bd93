import { z } from "zod";
import { locations } from "../catalogue/locations.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import { idSchema } from "../http/validation.ts";
import type { NetworkRoute, Stored, Subnet } from "../store/documents.ts";
import {
  contains,
  overlaps,
  publicGateway,
  type Range,
  toIp,
  toNumber,
  toRange,
} from "./network-addresses.ts";

/** Limits of docs.hetzner.com, Cloud, Networks. */
const maxSubnets = 50;
const maxRoutes = 100;

export const rangeSchema = z.cidrv4("must be an IPv4 range");

export const subnetSchema = z
  .object({
    type: z.enum(["cloud", "server", "vswitch"], "must be 'cloud', 'server' or 'vswitch'"),
    ip_range: rangeSchema.optional(),
    network_zone: z.enum(
      locations.map((location) => location.network_zone),
      "unknown network zone",
    ),
    vswitch_id: idSchema.nullish(),
  })
  .superRefine(({ type, vswitch_id: id }, context) => {
    const complain = (message: string) => context.addIssue({ code: "custom", path: ["vswitch_id"], message });
    if (type !== "vswitch") {
      if (id != null) complain(`must not be given for subnets of type '${type}'`);
    } else if (id == null) complain("is required for subnets of type 'vswitch'");
    // They couple dedicated servers, and here is no Robot account that could have one.
    else complain(`vSwitch with ID '${id}' not found`);
  });

export const routeSchema = z.object({
  destination: rangeSchema,
  gateway: z.ipv4("must be an IPv4 address"),
});

/** RFC 1918; Hetzner takes nothing else. */
const privateRanges = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map((cidr) =>
  toRange(cidr, "ip_range"),
);
const isPrivate = (range: Range) => privateRanges.some((known) => contains(known, range));

/** What a network is made of while it is planned. */
type Plan = Pick<Stored<"network">, "ipRange" | "subnets" | "routes">;

/** @throws ApiError 422 when a network cannot have the range. */
export function networkRange(cidr: string): Range {
  const range = toRange(cidr, "ip_range");
  if (range.bits > 24 || !isPrivate(range)) {
    throw invalidField("ip_range", "must be a private range (RFC 1918) of at least /24");
  }
  return range;
}

/** @throws ApiError 422 when the new range does not begin as the old one or is smaller. */
export function assertExtends(network: Plan, cidr: string): void {
  const [old, wanted] = [toRange(network.ipRange, "ip_range"), networkRange(cidr)];
  if (wanted.first !== old.first || wanted.bits > old.bits) {
    throw invalidField("ip_range", `must begin as ${network.ipRange} does and can only be extended`);
  }
}

/** @throws ApiError 422 when it lies outside of the network or over another subnet or a route's destination. */
export function withSubnet(plan: Plan, wanted: z.output<typeof subnetSchema>): Subnet[] {
  if (plan.subnets.length >= maxSubnets) throw limitExceeded("subnets");
  const network = toRange(plan.ipRange, "ip_range");
  const taken = [
    ...plan.subnets.map((subnet) => toRange(subnet.ip_range, "ip_range")),
    ...specific(plan.routes).map((route) => toRange(route.destination, "destination")),
  ];
  const ipRange = wanted.ip_range ?? firstFree24(network, taken);
  const range = toRange(ipRange, "ip_range");
  if (range.bits > 30 || !contains(network, range)) {
    throw invalidField("ip_range", `${ipRange} is no part of the network's range`);
  }
  if (taken.some((other) => overlaps(other, range))) {
    throw invalidField("ip_range", `${ipRange} overlaps with another subnet or with a route`);
  }
  if (wanted.type === "vswitch") throw new Error("the schema lets no vSwitch through");
  return [
    ...plan.subnets,
    {
      type: wanted.type,
      ip_range: ipRange,
      network_zone: wanted.network_zone,
      gateway: toIp(network.first + 1),
    },
  ];
}

function firstFree24(network: Range, taken: readonly Range[]): string {
  for (let first = network.first; first + 255 <= network.last; first += 256) {
    const range = { first, last: first + 255, bits: 24 };
    if (!taken.some((other) => overlaps(other, range))) return `${toIp(first)}/24`;
  }
  throw new ApiError(422, "no_subnet_available", "there is no free /24 in the network's range");
}

/** @throws ApiError 422 when the network has no such subnet or servers are in it. */
export function withoutSubnet(context: Context, network: Stored<"network">, ipRange: string): Subnet[] {
  if (!network.subnets.some((subnet) => subnet.ip_range === ipRange)) {
    throw invalidField("ip_range", `the network has no subnet ${ipRange}`);
  }
  const range = toRange(ipRange, "ip_range");
  const busy = attachedServers(context, network)
    .flatMap((server) => server.privateNet)
    .filter((entry) => entry.network === network.id)
    .some((entry) => toNumber(entry.ip) >= range.first && toNumber(entry.ip) <= range.last);
  // terraform-provider-hcloud repeats its call when it reads these words.
  if (busy)
    throw new ApiError(422, "service_error", "cannot remove subnet because servers are attached to it");
  return network.subnets.filter((subnet) => subnet.ip_range !== ipRange);
}

export function attachedServers(context: Context, network: Stored<"network">): Stored<"server">[] {
  return context.store
    .list("server", network.project)
    .filter((server) => server.privateNet.some((entry) => entry.network === network.id));
}

/** Every route but the default one, which lies over everything and may. */
const specific = (routes: readonly NetworkRoute[]) =>
  routes.filter((route) => route.destination !== "0.0.0.0/0");

/** @throws ApiError 422 when destination or gateway cannot be. */
export function withRoute(plan: Plan, wanted: NetworkRoute): NetworkRoute[] {
  if (plan.routes.length >= maxRoutes) throw limitExceeded("routes");
  const destination = toRange(wanted.destination, "destination");
  if (plan.routes.some((route) => route.destination === wanted.destination)) {
    throw invalidField("destination", `there is a route to ${wanted.destination} already`);
  }
  if (wanted.destination !== "0.0.0.0/0") {
    if (!isPrivate(destination)) {
      throw invalidField("destination", "must be a private range (RFC 1918) or 0.0.0.0/0");
    }
    const single = toNumber(publicGateway);
    const taken = [
      ...plan.subnets.map((subnet) => toRange(subnet.ip_range, "ip_range")),
      ...specific(plan.routes).map((route) => toRange(route.destination, "destination")),
      { first: single, last: single, bits: 32 },
    ];
    if (taken.some((other) => overlaps(other, destination))) {
      throw invalidField("destination", `${wanted.destination} overlaps with a subnet or another route`);
    }
  }
  const network = toRange(plan.ipRange, "ip_range");
  const gateway = toNumber(wanted.gateway);
  if (gateway <= network.first + 1 || gateway >= network.last || wanted.gateway === publicGateway) {
    throw invalidField("gateway", "must be an address of the network other than its first");
  }
  return [...plan.routes, { destination: wanted.destination, gateway: wanted.gateway }];
}

/** @throws ApiError 422 when the network has no such route. */
export function withoutRoute(network: Plan, wanted: NetworkRoute): NetworkRoute[] {
  const others = network.routes.filter(
    (route) => route.destination !== wanted.destination || route.gateway !== wanted.gateway,
  );
  if (others.length === network.routes.length) {
    throw invalidField("destination", `the network has no route to ${wanted.destination}`);
  }
  return others;
}

const limitExceeded = (what: string) =>
  new ApiError(403, "resource_limit_exceeded", `${what} per network limit exceeded`, {
    limits: [{ name: `${what}_per_network_limit` }],
  });
