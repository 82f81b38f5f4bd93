import { z } from "zod";
import { resourceAction } from "../actions/resource-action.ts";
import { actionRoutesOf, presentAction } from "../actions/routes.ts";
import { findLocation } from "../catalogue/locations.ts";
import { hourlyNet, ipv4Monthly } from "../catalogue/pricing.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import { answerList, filterNamed } from "../http/listing.ts";
import type { Answer, ApiRequest, Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import { idOrNameSchema, idSchema, labelsSchema, nameSchema, parseBody } from "../http/validation.ts";
import type { PrimaryIpDocument, Stored } from "../store/documents.ts";
import { holdAddress } from "./held-addresses.ts";
import { assertBelowLimit, assertNameFree, assertUnlocked, assertUnprotected, fromPath } from "./lookup.ts";
import { assertAssignable, assigneeOf, assignPrimaryIp, unassignPrimaryIp } from "./primary-ip-assignment.ts";
import { canonicalAddress, changedDnsPtrs, presentDnsPtrs } from "./reverse-dns.ts";

const createSchema = z.object({
  name: nameSchema,
  type: z.enum(["ipv4", "ipv6"], "must be 'ipv4' or 'ipv6'"),
  labels: labelsSchema.optional(),
  location: idOrNameSchema.optional(),
  assignee_type: z.literal("server", "must be 'server'").optional(),
  assignee_id: idSchema.nullish(),
  auto_delete: z.boolean().optional(),
});
const updateSchema = z.object({
  name: nameSchema.optional(),
  labels: labelsSchema.optional(),
  auto_delete: z.boolean().optional(),
});
const assignSchema = z.object({
  assignee_type: z.literal("server", "must be 'server'"),
  assignee_id: idSchema,
});

/** A documentation prefix (RFC 3849) made from an id, in canonical form. Nothing routes it. */
export function ipv6Prefix(id: number): string {
  // Neither group may be 0, which would be written differently.
  const high = Math.floor(id / 0xffff) + 1;
  const low = (id % 0xffff) + 1;
  return `2001:db8:${high.toString(16)}:${low.toString(16)}::/64`;
}

/** Makes the address that `POST /servers` makes unasked; it dies with its server. */
export function createImplicitIp(
  context: Context,
  server: { readonly id: number; readonly project: number; readonly location: string },
  type: "ipv4" | "ipv6",
  ip: string,
): Stored<"primary_ip"> {
  const id = context.store.nextId();
  return insert(context, server.project, id, {
    name: `primary_ip-${id}`,
    labels: {},
    type,
    ip,
    location: server.location,
    autoDelete: true,
    assignee: server.id,
  });
}

function insert(
  { store, billing, clock }: Context,
  project: number,
  id: number,
  address: Omit<PrimaryIpDocument, "created" | "dnsPtrs" | "protection">,
): Stored<"primary_ip"> {
  const { name, type, location } = address;
  // IPv6 costs nothing.
  if (type === "ipv4") {
    const price = { hourly: hourlyNet(ipv4Monthly), monthly: ipv4Monthly };
    billing.begin({ kind: "primary_ip", id, project, name, type, location, ...price });
  }
  const document = { ...address, created: clock.now(), dnsPtrs: {}, protection: { delete: false } };
  return store.insert("primary_ip", project, document, id);
}

/** `POST /primary_ips`; with an assignee the address goes to that server, which must be off. */
async function create(context: Context, request: ApiRequest): Promise<Answer> {
  const body = parseBody(createSchema, request.body);
  const check = () => {
    const server = body.assignee_id == null ? null : assigneeOf(context, request.project, body.assignee_id);
    const location = chooseLocation(body.location, server);
    if (server) assertAssignable(context, server, body.type);
    assertNameFree(context, "primary_ip", request.project, body.name);
    assertBelowLimit(context, "primary_ip");
    return { server, location };
  };
  check();
  return holdAddress(context, body.type, (held) =>
    context.store.transaction(() => {
      const { server, location } = check();
      const id = context.store.nextId();
      const address = insert(context, request.project, id, {
        name: body.name,
        labels: body.labels ?? {},
        type: body.type,
        ip: held ?? ipv6Prefix(id),
        location,
        autoDelete: body.auto_delete ?? false,
        assignee: null,
      });
      const action = server && assignPrimaryIp(context, address, server);
      return {
        status: 201,
        body: {
          primary_ip: present(context, context.store.get("primary_ip", request.project, id) ?? address),
          action: action && presentAction(context, action),
        },
      };
    }),
  );
}

function chooseLocation(wanted: string | undefined, server: Stored<"server"> | null): string {
  const location = wanted === undefined ? undefined : findLocation(wanted);
  if (wanted !== undefined && !location) throw invalidField("location", `location '${wanted}' not found`);
  if (!server) {
    if (!location) throw invalidField("location", "is required without an assignee");
    return location.name;
  }
  if (location && location.name !== server.location) {
    throw invalidField("location", `the server is in ${server.location}`);
  }
  return server.location;
}

const present = (context: Context, address: Stored<"primary_ip">) => ({
  id: address.id,
  name: address.name,
  labels: address.labels,
  created: timestamp(address.created),
  blocked: false,
  location: findLocation(address.location),
  ip: address.ip,
  dns_ptr: presentDnsPtrs(address),
  protection: address.protection,
  type: address.type,
  auto_delete: address.autoDelete,
  assignee_type: address.assignee === null ? context.unassignedType : "server",
  assignee_id: address.assignee,
});

export const primaryIpRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/primary_ips",
    handle: (context, request) => {
      const text = request.query.get("ip");
      const ip = text === null ? null : (canonicalAddress(text) ?? text);
      return answerList(request, {
        key: "primary_ips",
        // `?ip=2001:db8:13::` finds `2001:db8:13::/64`.
        entries: filterNamed(request, context.store.list("primary_ip", request.project)).filter(
          (address) => ip === null || address.ip === ip || address.ip === `${ip}/64`,
        ),
        present: (address) => present(context, address),
        sortable: { id: (address) => address.id, created: (address) => address.created },
      });
    },
  },
  { method: "POST", path: "/primary_ips", handle: create },
  {
    method: "GET",
    path: "/primary_ips/{id}",
    handle: (context, request) => ({
      status: 200,
      body: { primary_ip: present(context, fromPath(context, request, "primary_ip")) },
    }),
  },
  {
    method: "PUT",
    path: "/primary_ips/{id}",
    handle: (context, request) => {
      const address = fromPath(context, request, "primary_ip");
      const { auto_delete: autoDelete, ...patch } = parseBody(updateSchema, request.body);
      if (context.actions.isLocked("primary_ip", address.id)) {
        throw new ApiError(409, "conflict", "another change of the Primary IP is running, please retry");
      }
      if (patch.name !== undefined) {
        assertNameFree(context, "primary_ip", request.project, patch.name, address.id);
      }
      if (autoDelete && address.protection.delete) {
        throw invalidField("auto_delete", "cannot be enabled while the Primary IP is delete protected");
      }
      const updated = context.store.update("primary_ip", address, {
        ...patch,
        ...(autoDelete === undefined ? {} : { autoDelete }),
      });
      return { status: 200, body: { primary_ip: present(context, updated) } };
    },
  },
  {
    method: "DELETE",
    path: "/primary_ips/{id}",
    handle: async (context, request) => {
      const address = fromPath(context, request, "primary_ip");
      assertUnprotected("primary_ip", address.protection);
      assertUnlocked(context, "primary_ip", address.id);
      if (address.assignee !== null) {
        throw new ApiError(422, "must_be_unassigned", "the Primary IP is still assigned to a resource");
      }
      context.store.transaction(() => {
        context.store.delete(address.id);
        context.billing.end(address.id);
      });
      if (address.type === "ipv4") await context.backend.releaseAddress(address.ip);
      return { status: 204 };
    },
  },
  {
    method: "POST",
    path: "/primary_ips/{id}/actions/assign",
    handle: (context, request) =>
      context.store.transaction(() => {
        const address = fromPath(context, request, "primary_ip");
        const { assignee_id: id } = parseBody(assignSchema, request.body);
        assertUnlocked(context, "primary_ip", address.id);
        if (address.assignee !== null) {
          throw new ApiError(422, "primary_ip_already_assigned", "the Primary IP is already assigned");
        }
        const server = assigneeOf(context, request.project, id);
        if (server.location !== address.location) {
          throw new ApiError(
            422,
            "primary_ip_datacenter_mismatch",
            `the Primary IP is in ${address.location}, the server in ${server.location}`,
          );
        }
        assertAssignable(context, server, address.type);
        const action = assignPrimaryIp(context, address, server);
        return { status: 201, body: { action: presentAction(context, action) } };
      }),
  },
  {
    method: "POST",
    path: "/primary_ips/{id}/actions/unassign",
    handle: (context, request) =>
      context.store.transaction(() => {
        const address = fromPath(context, request, "primary_ip");
        assertUnlocked(context, "primary_ip", address.id);
        const action = unassignPrimaryIp(context, address);
        return { status: 201, body: { action: presentAction(context, action) } };
      }),
  },
  resourceAction("primary_ips", "primary_ip", "change_dns_ptr", (_context, request, address) => ({
    command: "change_dns_ptr",
    locks: false,
    patch: { dnsPtrs: changedDnsPtrs([address.ip], address.dnsPtrs, request.body) },
  })),
  resourceAction("primary_ips", "primary_ip", "change_protection", (_context, request, address) => {
    const protection = parseBody(z.object({ delete: z.boolean() }), request.body);
    if (protection.delete && address.autoDelete) {
      throw invalidField("delete", "cannot be enabled while auto_delete is");
    }
    return { command: "change_protection", patch: { protection } };
  }),
  ...actionRoutesOf("primary_ips", "primary_ip"),
];
