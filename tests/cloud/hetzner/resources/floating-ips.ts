import { z } from "zod";
import { resourceAction } from "../actions/resource-action.ts";
import { actionRoutesOf, presentAction } from "../actions/routes.ts";
import { findLocation } from "../catalogue/locations.ts";
import { floatingIpMonthly } from "../catalogue/pricing.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import { answerList, filterNamed } from "../http/listing.ts";
import type { Answer, ApiRequest, Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import { idOrNameSchema, idSchema, labelsSchema, nameSchema, parseBody } from "../http/validation.ts";
import type { Stored } from "../store/documents.ts";
import { holdAddress } from "./held-addresses.ts";
import { assertBelowLimit, assertNameFree, assertUnlocked, assertUnprotected, fromPath } from "./lookup.ts";
import { ipv6Prefix } from "./primary-ips.ts";
import { changedDnsPtrs, presentDnsPtrs } from "./reverse-dns.ts";

const createSchema = z.object({
  type: z.enum(["ipv4", "ipv6"], "must be 'ipv4' or 'ipv6'"),
  server: idSchema.nullish(),
  home_location: idOrNameSchema.optional(),
  description: z.string().nullish(),
  name: nameSchema.optional(),
  labels: labelsSchema.optional(),
});
const updateSchema = z.object({
  name: nameSchema.optional(),
  labels: labelsSchema.optional(),
  description: z.string().nullish(),
});

const present = (address: Stored<"floating_ip">) => ({
  id: address.id,
  name: address.name,
  description: address.description,
  ip: address.ip,
  type: address.type,
  server: address.server,
  dns_ptr: presentDnsPtrs(address),
  home_location: findLocation(address.homeLocation),
  blocked: false,
  protection: address.protection,
  labels: address.labels,
  created: timestamp(address.created),
});

function serverOfBody(context: Context, project: number, id: number): Stored<"server"> {
  const server = context.store.get("server", project, id);
  if (!server || server.reserved) throw invalidField("server", `server with ID '${id}' not found`);
  return server;
}

/**
 * `POST /floating_ips`. As at Hetzner a machine has a floating IP only when it is configured inside of it; IPv4
 * addresses come from the machines' own network, where that works. That only the assigned machine gets the traffic is
 * not enforced.
 */
function create(context: Context, request: ApiRequest): Promise<Answer> {
  const { store, billing, clock } = context;
  const { project } = request;
  const body = parseBody(createSchema, request.body);
  const check = () => {
    const server = body.server == null ? null : serverOfBody(context, project, body.server);
    const location = findLocation(body.home_location ?? server?.location ?? "");
    if (!location) {
      const why =
        body.home_location === undefined
          ? "is required without a server"
          : `location '${body.home_location}' not found`;
      throw invalidField("home_location", why);
    }
    if (body.name !== undefined) assertNameFree(context, "floating_ip", project, body.name);
    assertBelowLimit(context, "floating_ip");
    return { server, homeLocation: location.name };
  };
  check();
  return holdAddress(context, body.type, (held) =>
    store.transaction(() => {
      const { server, homeLocation } = check();
      const id = store.nextId();
      const name = body.name ?? `floating-ip-${id}`;
      const monthly = floatingIpMonthly[body.type];
      billing.begin({
        kind: "floating_ip",
        id,
        project,
        name,
        type: body.type,
        location: homeLocation,
        // "Floating IPs are billed on a monthly basis" (API description): the first hour costs the month.
        hourly: monthly,
        monthly,
      });
      const address = store.insert(
        "floating_ip",
        project,
        {
          name,
          labels: body.labels ?? {},
          created: clock.now(),
          description: body.description ?? null,
          type: body.type,
          ip: held ?? ipv6Prefix(id),
          homeLocation,
          server: server?.id ?? null,
          dnsPtrs: {},
          protection: { delete: false },
        },
        id,
      );
      const action =
        server &&
        context.actions.start(project, "assign_floating_ip", [
          { type: "floating_ip", id },
          { type: "server", id: server.id },
        ]);
      return {
        status: 201,
        body: { floating_ip: present(address), action: action && presentAction(context, action) },
      };
    }),
  );
}

export const floatingIpRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/floating_ips",
    handle: ({ store }, request) =>
      answerList(request, {
        key: "floating_ips",
        entries: filterNamed(request, store.list("floating_ip", request.project)),
        present,
        sortable: { id: (address) => address.id, created: (address) => address.created },
      }),
  },
  { method: "POST", path: "/floating_ips", handle: create },
  {
    method: "GET",
    path: "/floating_ips/{id}",
    handle: (context, request) => ({
      status: 200,
      body: { floating_ip: present(fromPath(context, request, "floating_ip")) },
    }),
  },
  {
    method: "PUT",
    path: "/floating_ips/{id}",
    handle: (context, request) => {
      const address = fromPath(context, request, "floating_ip");
      const patch = parseBody(updateSchema, request.body);
      if (patch.name !== undefined) {
        assertNameFree(context, "floating_ip", request.project, patch.name, address.id);
      }
      const updated = context.store.update("floating_ip", address, patch);
      return { status: 200, body: { floating_ip: present(updated) } };
    },
  },
  {
    method: "DELETE",
    path: "/floating_ips/{id}",
    handle: async (context, request) => {
      const address = fromPath(context, request, "floating_ip");
      assertUnprotected("floating_ip", address.protection);
      assertUnlocked(context, "floating_ip", address.id);
      if (address.server !== null) {
        throw new ApiError(422, "must_be_unassigned", "the Floating IP is still assigned to a server");
      }
      context.store.transaction(() => {
        context.store.delete(address.id);
        context.billing.end(address.id);
      });
      if (address.type === "ipv4") await context.backend.releaseAddress(address.ip);
      return { status: 204 };
    },
  },
  resourceAction("floating_ips", "floating_ip", "assign", (context, request, address) => {
    // The description lets `server` be null here too, and says nothing of what that would mean.
    const { server: id } = parseBody(z.object({ server: idSchema }), request.body);
    const server = serverOfBody(context, request.project, id);
    // It moves from one server to another at once: terraform-provider-hcloud's acceptance suite does so.
    if (address.server === server.id) {
      throw new ApiError(422, "floating_ip_assigned", "the Floating IP is already assigned to the server");
    }
    return {
      command: "assign_floating_ip",
      patch: { server: server.id },
      also: [{ type: "server", id: server.id }],
    };
  }),
  resourceAction("floating_ips", "floating_ip", "unassign", (_context, _request, address) => {
    if (address.server === null) {
      throw new ApiError(422, "unsupported_error", "the Floating IP is not assigned");
    }
    return {
      command: "unassign_floating_ip",
      patch: { server: null },
      also: [{ type: "server", id: address.server }],
    };
  }),
  resourceAction("floating_ips", "floating_ip", "change_dns_ptr", (_context, request, address) => ({
    command: "change_dns_ptr",
    locks: false,
    patch: { dnsPtrs: changedDnsPtrs([address.ip], address.dnsPtrs, request.body) },
  })),
  resourceAction("floating_ips", "floating_ip", "change_protection", (_context, request) => ({
    command: "change_protection",
    patch: { protection: parseBody(z.object({ delete: z.boolean() }), request.body) },
  })),
  ...actionRoutesOf("floating_ips", "floating_ip"),
];
