import { isos } from "../catalogue/isos.ts";
import { findLocation } from "../catalogue/locations.ts";
import { findServerType, includedTraffic, presentServerType } from "../catalogue/server-types.ts";
import type { Context } from "../context.ts";
import { timestamp } from "../http/timestamp.ts";
import type { ServerStatus, Stored } from "../store/documents.ts";
import { floatingIpsOf, volumesOf } from "./attachments.ts";
import { findBootable, presentBootable } from "./bootable.ts";
import { firewallsOf } from "./firewall-targets.ts";
import { presentPlacementGroup } from "./placement-groups.ts";
import { presentDnsPtrs } from "./reverse-dns.ts";

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
  const image = findBootable(context, server.project, server.image);
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
      floating_ips: floatingIpsOf(context, server),
      firewalls: firewallsOf(context, server).map(({ firewall, status }) => ({ id: firewall.id, status })),
    },
    private_net: server.privateNet,
    server_type: presentServerType(type, context.clock.now()),
    location: findLocation(server.location),
    image: image && presentBootable(context, image),
    iso: isos.find((known) => known.id === server.iso) ?? null,
    rescue_enabled: server.rescueUntil !== null && server.rescueUntil > context.clock.now(),
    locked: context.actions.isLocked("server", server.id),
    backup_window: server.backupWindow,
    outgoing_traffic: null,
    ingoing_traffic: null,
    included_traffic: includedTraffic(server.location),
    protection: server.protection,
    labels: server.labels,
    volumes: volumesOf(context, server),
    load_balancers: [],
    primary_disk_size: server.primaryDiskSize,
    placement_group: group ? presentPlacementGroup(context, group) : null,
  };
}

function presentIpv4(context: Context, server: Stored<"server">): unknown {
  const address = addressOf(context, server, server.ipv4);
  if (!address) return null;
  const [pointer] = presentDnsPtrs(address);
  return { id: address.id, ip: address.ip, blocked: false, dns_ptr: pointer?.dns_ptr };
}

function presentIpv6(context: Context, server: Stored<"server">): unknown {
  const address = addressOf(context, server, server.ipv6);
  return address && { id: address.id, ip: address.ip, blocked: false, dns_ptr: presentDnsPtrs(address) };
}

const addressOf = ({ store }: Context, server: Stored<"server">, id: number | null) =>
  id === null ? null : store.get("primary_ip", server.project, id);
