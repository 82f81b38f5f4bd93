import { images, presentImage } from "../catalogue/images.ts";
import { findLocation } from "../catalogue/locations.ts";
import { findServerType, includedTraffic, presentServerType } from "../catalogue/server-types.ts";
import type { Context } from "../context.ts";
import { timestamp } from "../http/timestamp.ts";
import type { ServerStatus, Stored } from "../store/documents.ts";
import { firewallsOf } from "./firewall-targets.ts";
import { presentPlacementGroup } from "./placement-groups.ts";

/**
 * The status as a client sees it: a machine that went off by itself (shut down from inside, host restarted) is `off`
 * without any action having said so.
 */
export function statusOf(context: Context, server: Stored<"server">): ServerStatus {
  if (server.status !== "running" || context.backend.isOn(server.id)) return server.status;
  return context.actions.isLocked("server", server.id) ? "running" : "off";
}

export function presentServer(context: Context, server: Stored<"server">): Record<string, unknown> {
  const type = findServerType(server.serverType);
  const image = images.find((known) => known.id === server.image);
  const group =
    server.placementGroup === null
      ? null
      : context.store.get("placement_group", server.project, server.placementGroup);
  if (!type) throw new Error(`server ${server.id} has the unknown type ${server.serverType}`);
  return {
    id: server.id,
    name: server.name,
    status: statusOf(context, server),
    created: timestamp(server.created),
    public_net: {
      ipv4: presentIpv4(context, server),
      ipv6: presentIpv6(context, server),
      floating_ips: [],
      firewalls: firewallsOf(context, server).map(({ firewall, status }) => ({ id: firewall.id, status })),
    },
    private_net: server.privateNet,
    server_type: presentServerType(type, context.clock.now()),
    location: findLocation(server.location),
    image: image ? presentImage(image) : null,
    iso: null,
    rescue_enabled: false,
    locked: context.actions.isLocked("server", server.id),
    backup_window: null,
    outgoing_traffic: null,
    ingoing_traffic: null,
    included_traffic: includedTraffic(server.location),
    protection: server.protection,
    labels: server.labels,
    volumes: [],
    load_balancers: [],
    primary_disk_size: server.primaryDiskSize,
    placement_group: group ? presentPlacementGroup(context, group) : null,
  };
}

function presentIpv4(context: Context, server: Stored<"server">): unknown {
  if (server.ipv4 === null) return null;
  const address = context.store.get("primary_ip", server.project, server.ipv4);
  if (!address) return null;
  return { id: address.id, ip: address.ip, blocked: false, dns_ptr: reverseName(address.ip) };
}

function presentIpv6(context: Context, server: Stored<"server">): unknown {
  if (server.ipv6 === null) return null;
  const address = context.store.get("primary_ip", server.project, server.ipv6);
  return address ? { id: address.id, ip: address.ip, blocked: false, dns_ptr: [] } : null;
}

/** Hetzner's default reverse name of an IPv4 address. */
export const reverseName = (ip: string) =>
  `static.${ip.split(".").reverse().join(".")}.clients.your-server.de`;
