import {
  loadBalancerTypes,
  presentLoadBalancerPrices,
  presentLoadBalancerType,
} from "../catalogue/load-balancer-types.ts";
import { datacenters, findLocation, locations } from "../catalogue/locations.ts";
import {
  backupPercent,
  floatingIpMonthly,
  hourlyNet,
  ipv4Monthly,
  money,
  netAndGross,
  snapshotGbMonthly,
  vatPercent,
  volumeGbMonthly,
} from "../catalogue/pricing.ts";
import {
  isSold,
  presentPrices,
  presentServerType,
  type ServerType,
  serverTypes,
} from "../catalogue/server-types.ts";
import type { Context } from "../context.ts";
import { notFound } from "../http/errors.ts";
import { answerList, filterNamed } from "../http/listing.ts";
import type { ApiRequest, Route } from "../http/router.ts";
import { isInStock } from "./stock.ts";

const byIdName = {
  id: (entry: { readonly id: number }) => entry.id,
  name: (entry: { readonly name: string }) => entry.name,
};

function byId<T extends { readonly id: number }>(
  what: string,
  entries: readonly T[],
  request: ApiRequest,
): T {
  const found = entries.find((entry) => String(entry.id) === request.parameters.id);
  if (!found) throw notFound(what, request.parameters.id ?? "");
  return found;
}

const named = <T extends { readonly name: string }>(request: ApiRequest, entries: readonly T[]) =>
  filterNamed(
    request,
    entries.map((entry) => ({ ...entry, labels: {} })),
  );

const present = (context: Context, type: ServerType) =>
  presentServerType(type, context.clock.now(), (location) => isInStock(context, type, location));

function presentDatacenter(
  context: Context,
  datacenter: (typeof datacenters)[number],
): Record<string, unknown> {
  const now = context.clock.now();
  const sold = serverTypes.filter((type) => isSold(type, now));
  const supported = sold.filter((type) => datacenter.location in type.offers);
  const available = supported.filter((type) => isInStock(context, type, datacenter.location));
  const ids = (types: readonly ServerType[]) => types.map((type) => type.id);
  return {
    id: datacenter.id,
    name: datacenter.name,
    description: datacenter.description,
    location: findLocation(datacenter.location),
    server_types: {
      supported: ids(supported),
      available: ids(available),
      available_for_migration: ids(available),
    },
  };
}

function presentPricing(now: number): Record<string, unknown> {
  const ipv4 = { price_hourly: netAndGross(hourlyNet(ipv4Monthly)), price_monthly: netAndGross(ipv4Monthly) };
  const free = { price_hourly: netAndGross(0), price_monthly: netAndGross(0) };
  // hcloud-go sizes one slice by floating_ips and fills it by primary_ips: never fewer of the former.
  return {
    currency: "EUR",
    vat_rate: `${money(vatPercent)}`,
    image: { price_per_gb_month: netAndGross(snapshotGbMonthly) },
    volume: { price_per_gb_month: netAndGross(volumeGbMonthly) },
    server_backup: { percentage: money(backupPercent) },
    floating_ip: { price_monthly: netAndGross(floatingIpMonthly.ipv4) },
    floating_ips: (["ipv4", "ipv6"] as const).map((type) => ({
      type,
      prices: locations.map(({ name }) => ({
        location: name,
        price_monthly: netAndGross(floatingIpMonthly[type]),
      })),
    })),
    primary_ips: [
      { type: "ipv4", prices: locations.map(({ name }) => ({ location: name, ...ipv4 })) },
      { type: "ipv6", prices: locations.map(({ name }) => ({ location: name, ...free })) },
    ],
    server_types: serverTypes
      .filter((type) => isSold(type, now))
      .map((type) => ({ id: type.id, name: type.name, prices: presentPrices(type) })),
    load_balancer_types: loadBalancerTypes.map((type) => ({
      id: type.id,
      name: type.name,
      prices: presentLoadBalancerPrices(type),
    })),
  };
}

/** What is the same for every project: locations, data centers, server types, prices. */
export const catalogueRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/locations",
    handle: (_context, request) =>
      answerList(request, {
        key: "locations",
        entries: locations.filter(
          (location) => (request.query.get("name") ?? location.name) === location.name,
        ),
        present: (location) => location,
        sortable: byIdName,
      }),
  },
  {
    method: "GET",
    path: "/locations/{id}",
    handle: (_context, request) => ({
      status: 200,
      body: { location: byId("location", locations, request) },
    }),
  },
  {
    method: "GET",
    path: "/datacenters",
    handle: (context, request) => {
      const answer = answerList(request, {
        key: "datacenters",
        entries: datacenters.filter((entry) => (request.query.get("name") ?? entry.name) === entry.name),
        present: (datacenter) => presentDatacenter(context, datacenter),
        sortable: byIdName,
      });
      return { ...answer, body: { ...(answer.body as object), recommendation: 4 } };
    },
  },
  {
    method: "GET",
    path: "/datacenters/{id}",
    handle: (context, request) => ({
      status: 200,
      body: { datacenter: presentDatacenter(context, byId("datacenter", datacenters, request)) },
    }),
  },
  {
    method: "GET",
    path: "/server_types",
    handle: (context, request) =>
      answerList(request, {
        key: "server_types",
        entries: named(
          request,
          serverTypes.filter((type) => isSold(type, context.clock.now())),
        ),
        present: (type) => present(context, type),
        sortable: byIdName,
      }),
  },
  {
    method: "GET",
    path: "/server_types/{id}",
    handle: (context, request) => ({
      status: 200,
      body: { server_type: present(context, byId("server type", serverTypes, request)) },
    }),
  },
  {
    method: "GET",
    path: "/load_balancer_types",
    handle: (_context, request) =>
      answerList(request, {
        key: "load_balancer_types",
        entries: loadBalancerTypes.filter(({ name }) => (request.query.get("name") ?? name) === name),
        present: presentLoadBalancerType,
        sortable: byIdName,
      }),
  },
  {
    method: "GET",
    path: "/load_balancer_types/{id}",
    handle: (_context, request) => ({
      status: 200,
      body: {
        load_balancer_type: presentLoadBalancerType(byId("load balancer type", loadBalancerTypes, request)),
      },
    }),
  },
  {
    method: "GET",
    path: "/pricing",
    handle: ({ clock }) => ({ status: 200, body: { pricing: presentPricing(clock.now()) } }),
  },
];
