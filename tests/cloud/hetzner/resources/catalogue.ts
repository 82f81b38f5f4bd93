import { images, presentImage } from "../catalogue/images.ts";
import { datacenters, findLocation, locations } from "../catalogue/locations.ts";
import { gross, hourlyNet, ipv4Monthly, money, vatPercent } from "../catalogue/pricing.ts";
import {
  isSold,
  presentPrices,
  presentServerType,
  type ServerType,
  serverTypes,
} from "../catalogue/server-types.ts";
import { notFound } from "../http/errors.ts";
import { answerList, anyOf, filterNamed } from "../http/listing.ts";
import type { ApiRequest, Route } from "../http/router.ts";

const byIdName = {
  id: (entry: { readonly id: number }) => entry.id,
  name: (entry: { readonly name: string }) => entry.name,
};

const both = (net: number) => ({ net: money(net), gross: money(gross(net)) });

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

function presentDatacenter(datacenter: (typeof datacenters)[number], now: number): Record<string, unknown> {
  const sold = serverTypes.filter((type) => isSold(type, now));
  const supported = sold.filter((type) => datacenter.location in type.offers);
  const available = supported.filter((type) => type.offers[datacenter.location]);
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
  const ipv4 = { price_hourly: both(hourlyNet(ipv4Monthly)), price_monthly: both(ipv4Monthly) };
  const free = { price_hourly: both(0), price_monthly: both(0) };
  // hcloud-go sizes one slice by floating_ips and fills it by primary_ips: never fewer of the former.
  return {
    currency: "EUR",
    vat_rate: `${money(vatPercent)}`,
    image: { price_per_gb_month: both(0.0143) },
    volume: { price_per_gb_month: both(0.0572) },
    server_backup: { percentage: money(20) },
    floating_ip: { price_monthly: both(3) },
    floating_ips: [
      { type: "ipv4", prices: locations.map(({ name }) => ({ location: name, price_monthly: both(3) })) },
      { type: "ipv6", prices: locations.map(({ name }) => ({ location: name, price_monthly: both(1) })) },
    ],
    primary_ips: [
      { type: "ipv4", prices: locations.map(({ name }) => ({ location: name, ...ipv4 })) },
      { type: "ipv6", prices: locations.map(({ name }) => ({ location: name, ...free })) },
    ],
    server_types: serverTypes
      .filter((type) => isSold(type, now))
      .map((type) => ({ id: type.id, name: type.name, prices: presentPrices(type) })),
    load_balancer_types: [],
  };
}

/** What is the same for every project: locations, data centers, server types, system images, prices. */
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
    handle: ({ clock }, request) => {
      const answer = answerList(request, {
        key: "datacenters",
        entries: datacenters.filter((entry) => (request.query.get("name") ?? entry.name) === entry.name),
        present: (datacenter) => presentDatacenter(datacenter, clock.now()),
        sortable: byIdName,
      });
      return { ...answer, body: { ...(answer.body as object), recommendation: 4 } };
    },
  },
  {
    method: "GET",
    path: "/datacenters/{id}",
    handle: ({ clock }, request) => ({
      status: 200,
      body: { datacenter: presentDatacenter(byId("datacenter", datacenters, request), clock.now()) },
    }),
  },
  {
    method: "GET",
    path: "/server_types",
    handle: ({ clock }, request) =>
      answerList(request, {
        key: "server_types",
        entries: named(
          request,
          serverTypes.filter((type) => isSold(type, clock.now())),
        ),
        present: (type) => presentServerType(type, clock.now()),
        sortable: byIdName,
      }),
  },
  {
    method: "GET",
    path: "/server_types/{id}",
    handle: ({ clock }, request) => ({
      status: 200,
      body: { server_type: presentServerType(byId("server type", serverTypes, request), clock.now()) },
    }),
  },
  {
    method: "GET",
    path: "/images",
    handle: (_context, request) => {
      const architecture = anyOf(request, "architecture", ["x86", "arm"]);
      const type = anyOf(request, "type", ["system", "app", "snapshot", "backup"]);
      const status = anyOf(request, "status", ["available", "creating", "unavailable"]);
      const deprecated = request.query.get("include_deprecated") === "true";
      const boundTo = request.query.has("bound_to");
      return answerList(request, {
        key: "images",
        entries: named(request, images).filter(
          (image) =>
            (!architecture || architecture.has(image.architecture)) &&
            (!type || type.has("system")) &&
            (!status || status.has("available")) &&
            (deprecated || image.deprecated === null) &&
            !boundTo,
        ),
        present: presentImage,
        sortable: { ...byIdName, created: (image) => image.created },
      });
    },
  },
  {
    method: "GET",
    path: "/images/{id}",
    handle: (_context, request) => ({
      status: 200,
      body: { image: presentImage(byId("image", images, request)) },
    }),
  },
  {
    method: "GET",
    path: "/pricing",
    handle: ({ clock }) => ({ status: 200, body: { pricing: presentPricing(clock.now()) } }),
  },
];
