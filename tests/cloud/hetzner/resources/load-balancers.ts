import { z } from "zod";
import { resourceAction } from "../actions/resource-action.ts";
import { actionRoutesOf, presentAction } from "../actions/routes.ts";
import {
  findLoadBalancerType,
  type LoadBalancerType,
  loadBalancerTraffic,
  presentLoadBalancerType,
} from "../catalogue/load-balancer-types.ts";
import { findLocation, locations } from "../catalogue/locations.ts";
import { priceOf } from "../catalogue/pricing.ts";
import type { Context } from "../context.ts";
import { invalidField } from "../http/errors.ts";
import { answerList, byIdNameCreated, filterNamed } from "../http/listing.ts";
import type { Answer, ApiRequest, Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import { idOrNameSchema, labelsSchema, nameSchema, parseBody, updateSchema } from "../http/validation.ts";
import type { Stored } from "../store/documents.ts";
import { holdIpv4 } from "./held-addresses.ts";
import { assertBelowLimit, assertNameFree, assertUnlocked, assertUnprotected, fromPath } from "./lookup.ts";
import { ipv6Prefix } from "./primary-ips.ts";
import { changedDnsPtrs, reverseName } from "./reverse-dns.ts";

const algorithmSchema = z.object({ type: z.enum(["round_robin", "least_connections"]) });
const notOffered = (what: string) => z.array(z.unknown()).max(0, `${what} are not emulated`).optional();

const createSchema = z.object({
  name: nameSchema,
  load_balancer_type: idOrNameSchema,
  algorithm: algorithmSchema.optional(),
  location: idOrNameSchema.optional(),
  network_zone: z.string().optional(),
  labels: labelsSchema.optional(),
  public_interface: z.literal(true, "load balancers have their public interface alone here").optional(),
  services: notOffered("services"),
  targets: notOffered("targets"),
  network: z.undefined("private networks of load balancers are not emulated").optional(),
});

function typeOfBody(idOrName: string): LoadBalancerType {
  const type = findLoadBalancerType(idOrName);
  if (!type) throw invalidField("load_balancer_type", `load balancer type '${idOrName}' not found`);
  return type;
}

function present(balancer: Stored<"load_balancer">): Record<string, unknown> {
  const { id, ipv4, ipv6, location, dnsPtrs } = balancer;
  return {
    id,
    name: balancer.name,
    public_net: {
      enabled: true,
      ipv4: { ip: ipv4, dns_ptr: dnsPtrs[ipv4] ?? reverseName(ipv4) },
      ipv6: { ip: ipv6, dns_ptr: dnsPtrs[ipv6] ?? null },
    },
    private_net: [],
    location: findLocation(location),
    load_balancer_type: presentLoadBalancerType(typeOfBody(balancer.type)),
    protection: balancer.protection,
    labels: balancer.labels,
    created: timestamp(balancer.created),
    services: [],
    targets: [],
    algorithm: { type: balancer.algorithm },
    outgoing_traffic: null,
    ingoing_traffic: null,
    included_traffic: loadBalancerTraffic(location),
  };
}

function chooseLocation({ location, network_zone: zone }: z.output<typeof createSchema>): string {
  if (location === undefined && zone === undefined) {
    throw invalidField("location", "is required without a network zone");
  }
  const found =
    location === undefined ? locations.find((known) => known.network_zone === zone) : findLocation(location);
  if (found) return found.name;
  throw location === undefined
    ? invalidField("network_zone", `network zone '${zone}' not found`)
    : invalidField("location", `location '${location}' not found`);
}

/** `POST /load_balancers`: two addresses with names. What would stand behind them is refused, not forgotten. */
async function create(context: Context, request: ApiRequest): Promise<Answer> {
  const { store, billing, clock } = context;
  const { project } = request;
  const body = parseBody(createSchema, request.body);
  const type = typeOfBody(body.load_balancer_type);
  const location = chooseLocation(body);
  assertNameFree(context, "load_balancer", project, body.name);
  return holdIpv4(context, (ipv4) =>
    store.transaction(() => {
      assertNameFree(context, "load_balancer", project, body.name);
      assertBelowLimit(context, "load_balancer");
      const id = store.nextId();
      const item = {
        kind: "load_balancer",
        id,
        project,
        name: body.name,
        type: type.name,
        location,
      } as const;
      billing.begin({ ...item, ...priceOf(type.monthly) });
      const document = {
        name: body.name,
        labels: body.labels ?? {},
        created: clock.now(),
        type: type.name,
        location,
        ipv4,
        ipv6: ipv6Prefix(id).replace("/64", "1"),
        algorithm: body.algorithm?.type ?? ("round_robin" as const),
        dnsPtrs: {},
        protection: { delete: false },
      };
      const balancer = store.insert("load_balancer", project, document, id);
      const action = context.actions.start(project, "create_load_balancer", [{ type: "load_balancer", id }]);
      return {
        status: 201,
        body: { load_balancer: present(balancer), action: presentAction(context, action) },
      };
    }),
  );
}

export const loadBalancerRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/load_balancers",
    handle: ({ store }, request) =>
      answerList(request, {
        key: "load_balancers",
        entries: filterNamed(request, store.list("load_balancer", request.project)),
        present,
        sortable: byIdNameCreated,
      }),
  },
  { method: "POST", path: "/load_balancers", handle: create },
  {
    method: "GET",
    path: "/load_balancers/{id}",
    handle: (context, request) => ({
      status: 200,
      body: { load_balancer: present(fromPath(context, request, "load_balancer")) },
    }),
  },
  {
    method: "PUT",
    path: "/load_balancers/{id}",
    handle: (context, request) => {
      const balancer = fromPath(context, request, "load_balancer");
      const patch = parseBody(updateSchema, request.body);
      if (patch.name !== undefined) {
        assertNameFree(context, "load_balancer", request.project, patch.name, balancer.id);
      }
      const updated = context.store.update("load_balancer", balancer, patch);
      return { status: 200, body: { load_balancer: present(updated) } };
    },
  },
  {
    method: "DELETE",
    path: "/load_balancers/{id}",
    handle: async (context, request) => {
      const balancer = fromPath(context, request, "load_balancer");
      assertUnprotected("load_balancer", balancer.protection);
      assertUnlocked(context, "load_balancer", balancer.id);
      context.store.transaction(() => {
        context.store.delete(balancer.id);
        context.billing.end(balancer.id);
      });
      await context.backend.releaseAddress(balancer.ipv4);
      return { status: 204 };
    },
  },
  resourceAction("load_balancers", "load_balancer", "change_dns_ptr", (_context, { body }, balancer) => ({
    command: "change_dns_ptr",
    locks: false,
    patch: { dnsPtrs: changedDnsPtrs([balancer.ipv4, balancer.ipv6], balancer.dnsPtrs, body) },
  })),
  resourceAction("load_balancers", "load_balancer", "change_protection", (_context, { body }, balancer) => {
    const wanted = parseBody(z.object({ delete: z.boolean().optional() }), body);
    return {
      command: "change_protection",
      patch: { protection: { delete: wanted.delete ?? balancer.protection.delete } },
    };
  }),
  resourceAction("load_balancers", "load_balancer", "change_algorithm", (_context, { body }) => ({
    command: "change_algorithm",
    patch: { algorithm: parseBody(algorithmSchema, body).type },
  })),
  resourceAction("load_balancers", "load_balancer", "change_type", (context, { body }, balancer) => {
    const type = typeOfBody(
      parseBody(z.object({ load_balancer_type: idOrNameSchema }), body).load_balancer_type,
    );
    if (type.name !== balancer.type) {
      context.billing.change("load_balancer", balancer.id, { type: type.name, ...priceOf(type.monthly) });
    }
    return { command: "change_load_balancer_type", patch: { type: type.name } };
  }),
  ...actionRoutesOf("load_balancers", "load_balancer"),
];
