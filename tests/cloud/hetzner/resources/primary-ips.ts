import { findLocation } from "../catalogue/locations.ts";
import { hourlyNet, ipv4Monthly } from "../catalogue/pricing.ts";
import type { Context } from "../context.ts";
import { answerList, filterNamed } from "../http/listing.ts";
import type { Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import type { Stored } from "../store/documents.ts";
import { fromPath } from "./lookup.ts";
import { reverseName } from "./server-view.ts";

/** Makes the address that `POST /servers` makes unasked; it dies with its server. IPv6 costs nothing. */
export function createImplicitIp(
  context: Context,
  server: { readonly id: number; readonly project: number; readonly location: string },
  type: "ipv4" | "ipv6",
  ip: string,
): Stored<"primary_ip"> {
  const { store, billing, clock } = context;
  const id = store.nextId();
  const name = `primary_ip-${id}`;
  const { project, location } = server;
  if (type === "ipv4") {
    const price = { hourly: hourlyNet(ipv4Monthly), monthly: ipv4Monthly };
    billing.begin({ kind: "primary_ip", id, project, name, type, location, ...price });
  }
  return store.insert(
    "primary_ip",
    project,
    { name, labels: {}, created: clock.now(), type, ip, location, autoDelete: true, assignee: server.id },
    id,
  );
}

/** A documentation prefix (RFC 3849) made from the server's id, in canonical form. Nothing routes it. */
export function ipv6Prefix(id: number): string {
  // Neither group may be 0, which would be written differently.
  const high = Math.floor(id / 0xffff) + 1;
  const low = (id % 0xffff) + 1;
  return `2001:db8:${high.toString(16)}:${low.toString(16)}::/64`;
}

const present = (address: Stored<"primary_ip">) => ({
  id: address.id,
  name: address.name,
  labels: address.labels,
  created: timestamp(address.created),
  blocked: false,
  location: findLocation(address.location),
  ip: address.ip,
  dns_ptr: address.type === "ipv4" ? [{ ip: address.ip, dns_ptr: reverseName(address.ip) }] : [],
  protection: { delete: false },
  type: address.type,
  auto_delete: address.autoDelete,
  assignee_type: "server",
  assignee_id: address.assignee,
});

export const primaryIpRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/primary_ips",
    handle: ({ store }, request) => {
      const ip = request.query.get("ip");
      return answerList(request, {
        key: "primary_ips",
        // `?ip=2001:db8:13::` finds `2001:db8:13::/64`.
        entries: filterNamed(request, store.list("primary_ip", request.project)).filter(
          (address) => ip === null || address.ip === ip || address.ip === `${ip}/64`,
        ),
        present,
        sortable: { id: (address) => address.id, created: (address) => address.created },
      });
    },
  },
  {
    method: "GET",
    path: "/primary_ips/{id}",
    handle: (context, request) => ({
      status: 200,
      body: { primary_ip: present(fromPath(context, request, "primary_ip")) },
    }),
  },
];
