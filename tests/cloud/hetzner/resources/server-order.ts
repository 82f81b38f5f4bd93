import { z } from "zod";
import { findLocation, type Location, locations } from "../catalogue/locations.ts";
import { findServerType, isSold, type ServerType } from "../catalogue/server-types.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import type { ApiRequest } from "../http/router.ts";
import {
  hostnameSchema,
  idOrNameSchema,
  idSchema,
  labelsSchema,
  parseBody,
  userDataSchema,
} from "../http/validation.ts";
import type { Kind, Stored } from "../store/documents.ts";
import { type Bootable, chooseImage } from "./bootable.ts";
import { maxFirewallsPerServer } from "./firewall-targets.ts";
import { assertBelowLimit, assertNameFree, assertUnlocked } from "./lookup.ts";
import { assertAttachable } from "./network-addresses.ts";
import { assertRoomIn } from "./placement-groups.ts";
import { maxNetworksPerServer } from "./server-networks.ts";
import { isInStock, takeFromStock } from "./stock.ts";
import { maxVolumesPerServer } from "./volume-actions.ts";

const createSchema = z.object({
  name: hostnameSchema,
  server_type: idOrNameSchema,
  image: idOrNameSchema,
  location: idOrNameSchema.optional(),
  start_after_create: z.boolean().optional(),
  placement_group: idSchema.optional(),
  ssh_keys: z.array(idOrNameSchema).optional(),
  volumes: z
    .array(idSchema)
    .max(maxVolumesPerServer, `at most ${maxVolumesPerServer} volumes can be attached to a server`)
    .optional(),
  networks: z
    .array(idSchema)
    .max(maxNetworksPerServer, `a server can be in at most ${maxNetworksPerServer} networks`)
    .optional(),
  firewalls: z
    .array(z.object({ firewall: idSchema }))
    .max(maxFirewallsPerServer, `at most ${maxFirewallsPerServer} firewalls can be applied to a server`)
    .optional(),
  user_data: userDataSchema.optional(),
  labels: labelsSchema.optional(),
  automount: z.boolean().optional(),
  public_net: z
    .object({
      enable_ipv4: z.boolean().optional(),
      enable_ipv6: z.boolean().optional(),
      ipv4: idSchema.nullish(),
      ipv6: idSchema.nullish(),
    })
    .optional(),
});

/** One that is made with the server, one that is there already, or none. */
export type WantedAddress = "new" | Stored<"primary_ip"> | null;

/** A checked `POST /servers`: everything that it names is there and fits together. */
export interface Order {
  readonly body: z.infer<typeof createSchema>;
  readonly type: ServerType;
  readonly image: Bootable;
  readonly location: Location;
  readonly keys: readonly Stored<"ssh_key">[];
  readonly networks: readonly Stored<"network">[];
  readonly firewalls: readonly Stored<"firewall">[];
  readonly volumes: readonly Stored<"volume">[];
  readonly group: Stored<"placement_group"> | null;
  readonly ipv4: WantedAddress;
  readonly ipv6: WantedAddress;
}

/** @throws ApiError as the description of `POST /servers` has them; nothing is changed, but for the stock of faults. */
export function readOrder(context: Context, request: ApiRequest): Order {
  const { store, clock } = context;
  const { project } = request;
  const body = parseBody(createSchema, request.body);
  const type = findServerType(body.server_type);
  if (!type) throw invalidField("server_type", `server type '${body.server_type}' not found`);
  if (!isSold(type, clock.now())) {
    throw invalidField("server_type", `server type '${type.name}' can no longer be ordered`);
  }
  const image = chooseImage(context, project, body.image, type);
  const location = chooseLocation(context, body.location, type);
  const keys = (body.ssh_keys ?? []).map((wanted) => {
    const key = store
      .list("ssh_key", project)
      .find((known) => String(known.id) === wanted || known.name === wanted);
    if (!key) throw invalidField("ssh_keys", `SSH key '${wanted}' not found`);
    return key;
  });
  const group =
    body.placement_group === undefined
      ? null
      : existing(context, "placement_group", project, body.placement_group, "placement_group");
  if (group) assertRoomIn(context, group);
  const { enable_ipv4: withIpv4, enable_ipv6: withIpv6, ...given } = body.public_net ?? {};
  const ipv4 = chooseAddress(context, project, withIpv4, given.ipv4, "ipv4", location);
  const ipv6 = chooseAddress(context, project, withIpv6, given.ipv6, "ipv6", location);
  const networks = unrepeated(body.networks ?? []).map((id) => {
    const network = existing(context, "network", project, id, "networks");
    assertAttachable(context, network, location.network_zone);
    return network;
  });
  // Whoever does not start it yet can still attach it to a network (terraform-provider-hcloud does so).
  if (!ipv4 && !ipv6 && networks.length === 0 && body.start_after_create !== false) {
    throw invalidField("public_net", "a server needs a public or a private network");
  }
  const firewalls = unrepeated((body.firewalls ?? []).map((entry) => entry.firewall)).map((id) =>
    existing(context, "firewall", project, id, "firewalls"),
  );
  const volumes = unrepeated(body.volumes ?? []).map((id) => chooseVolume(context, project, id, location));
  assertNameFree(context, "server", project, body.name);
  assertBelowLimit(context, "server");
  assertBelowLimit(context, "primary_ip", [ipv4, ipv6].filter((address) => address === "new").length);
  takeFromStock(context, project, { name: body.name, type, location: location.name });
  return { body, type, image, location, keys, networks, firewalls, volumes, group, ipv4, ipv6 };
}

function chooseLocation(context: Context, wanted: string | undefined, type: ServerType): Location {
  if (wanted === undefined) {
    const sold = locations.filter((location) => location.name in type.offers);
    const [first] = [...sold.filter((location) => isInStock(context, type, location.name)), ...sold];
    if (!first) throw invalidField("server_type", "is sold nowhere");
    return first;
  }
  const location = findLocation(wanted);
  if (!location) throw invalidField("location", `location '${wanted}' not found`);
  if (!(location.name in type.offers)) {
    throw invalidField("location", `server type ${type.name} is not supported in ${location.name}`);
  }
  return location;
}

function existing<K extends Kind>(
  context: Context,
  kind: K,
  project: number,
  id: number,
  field: string,
): Stored<K> {
  const found = context.store.get(kind, project, id);
  if (!found) throw invalidField(field, `${kind.replaceAll("_", " ")} with ID '${id}' not found`);
  return found;
}

function chooseAddress(
  context: Context,
  project: number,
  enabled: boolean | undefined,
  id: number | null | undefined,
  type: "ipv4" | "ipv6",
  location: Location,
): WantedAddress {
  if (id === null || id === undefined) return enabled === false ? null : "new";
  const field = `public_net.${type}`;
  if (enabled === false) throw invalidField(field, `must not be given when enable_${type} is false`);
  const address = existing(context, "primary_ip", project, id, field);
  if (address.type !== type) {
    throw new ApiError(412, "primary_ip_version_mismatch", `Primary IP ${id} is not ${type}`);
  }
  assertUnassigned(address);
  if (address.location !== location.name) {
    throw new ApiError(
      422,
      "primary_ip_datacenter_mismatch",
      `Primary IP ${id} is in ${address.location}, the server in ${location.name}`,
    );
  }
  assertUnlocked(context, "primary_ip", address.id);
  return address;
}

/** @throws ApiError 422 */
export function assertUnassigned(address: Stored<"primary_ip">): void {
  if (address.assignee === null) return;
  throw new ApiError(422, "primary_ip_assigned", `Primary IP ${address.id} is already assigned to a server`);
}

function chooseVolume(context: Context, project: number, id: number, location: Location): Stored<"volume"> {
  const volume = existing(context, "volume", project, id, "volumes");
  if (volume.location !== location.name) {
    throw invalidField("volumes", `volume ${id} is in ${volume.location}, the server in ${location.name}`);
  }
  if (volume.server !== null) throw invalidField("volumes", `volume ${id} is attached to a server already`);
  assertUnlocked(context, "volume", volume.id);
  return volume;
}

const unrepeated = (ids: readonly number[]) => [...new Set(ids)];
