import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { Action, Effects } from "../actions/engine.ts";
import { presentAction } from "../actions/routes.ts";
import { type Image, images } from "../catalogue/images.ts";
import { findLocation, type Location, locations } from "../catalogue/locations.ts";
import { hourlyNet } from "../catalogue/pricing.ts";
import { findServerType, isSold, type ServerType } from "../catalogue/server-types.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import type { Answer, ApiRequest } from "../http/router.ts";
import { hostnameSchema, idOrNameSchema, idSchema, labelsSchema, parseBody } from "../http/validation.ts";
import { createMachine, destroyMachine } from "../lost-machines.ts";
import type { Kind, Stored } from "../store/documents.ts";
import { maxFirewallsPerServer } from "./firewall-targets.ts";
import { assertNameFree } from "./lookup.ts";
import { allocatePrivateNet, assertAttachable } from "./network-addresses.ts";
import { assertRoomIn } from "./placement-groups.ts";
import { createImplicitIp, ipv6Prefix } from "./primary-ips.ts";
import { presentServer } from "./server-view.ts";

/** Hetzner's API description: "This field is limited to 32KiB". */
const maxUserDataBytes = 32 * 1024;

const createSchema = z.object({
  name: hostnameSchema,
  server_type: idOrNameSchema,
  image: idOrNameSchema,
  location: idOrNameSchema.optional(),
  start_after_create: z.boolean().optional(),
  placement_group: idSchema.optional(),
  ssh_keys: z.array(idOrNameSchema).optional(),
  volumes: z.array(idSchema).max(0, "volume not found").optional(),
  networks: z.array(idSchema).optional(),
  firewalls: z
    .array(z.object({ firewall: idSchema }))
    .max(maxFirewallsPerServer, `at most ${maxFirewallsPerServer} firewalls can be applied to a server`)
    .optional(),
  user_data: z
    .string()
    .refine((text) => Buffer.byteLength(text) <= maxUserDataBytes, "is too long (at most 32 KiB)")
    .optional(),
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

type CreateBody = z.infer<typeof createSchema>;

interface Order {
  readonly body: CreateBody;
  readonly type: ServerType;
  readonly image: Image;
  readonly location: Location;
  readonly keys: readonly Stored<"ssh_key">[];
  readonly networks: readonly Stored<"network">[];
  readonly firewalls: readonly Stored<"firewall">[];
  readonly group: Stored<"placement_group"> | null;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
}

/** `POST /servers`: takes the name, makes the machine, then answers with the actions that switch it on. */
export async function createServer(context: Context, request: ApiRequest): Promise<Answer> {
  const { store, backend, clock } = context;
  const { project } = request;
  // The name is taken before the machine is made, so that two orders at once can't both have it.
  const { order, server } = store.transaction(() => {
    const order = readOrder(context, request);
    const server = store.insert("server", project, {
      name: order.body.name,
      labels: order.body.labels ?? {},
      created: clock.now(),
      status: "initializing",
      serverType: order.type.name,
      location: order.location.name,
      image: order.image.id,
      ipv4: null,
      ipv6: null,
      privateNet: [],
      placementGroup: order.group?.id ?? null,
      protection: { delete: false, rebuild: false },
      primaryDiskSize: order.type.disk,
      reserved: true,
    });
    return { order, server };
  });
  let address: string;
  try {
    const made = await createMachine(backend, {
      id: server.id,
      name: server.name,
      image: order.image.name,
      userData: order.body.user_data ?? "",
      sshKeys: order.keys.map((key) => key.publicKey),
      location: order.location.name,
      cores: order.type.cores,
      memoryGiB: order.type.memory,
    });
    address = made.ipv4;
  } catch (error) {
    store.delete(server.id);
    throw new ApiError(
      503,
      "unavailable",
      `the machine could not be made: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  try {
    return store.transaction(() => commit(context, order, server, address));
  } catch (error) {
    // E.g. the last private address went to another order meanwhile.
    store.delete(server.id);
    await destroyMachine(backend, server.id);
    throw error;
  }
}

function commit(context: Context, order: Order, reserved: Stored<"server">, address: string): Answer {
  const { store, billing, actions } = context;
  const { id, project, name } = reserved;
  const monthly = order.type.monthly;
  billing.begin({
    kind: "server",
    id,
    project,
    name,
    type: order.type.name,
    location: order.location.name,
    hourly: hourlyNet(monthly),
    monthly,
  });
  const ipv4 = order.ipv4 ? createImplicitIp(context, reserved, "ipv4", address).id : null;
  const ipv6 = order.ipv6 ? createImplicitIp(context, reserved, "ipv6", ipv6Prefix(id)).id : null;
  const server = store.update("server", reserved, { reserved: false, ipv4, ipv6 });

  const resource = { type: "server", id };
  const start = order.body.start_after_create !== false;
  const create = actions.start(project, "create_server", [resource], { parameters: { start } });
  const next: Action[] = [];
  if (start) next.push(actions.start(project, "start_server", [resource], { after: create.id }));
  for (const { id: firewallId } of order.firewalls) {
    const firewall = store.get("firewall", project, firewallId);
    if (!firewall) throw invalidField("firewalls", `firewall with ID '${firewallId}' not found`);
    store.update("firewall", firewall, {
      appliedTo: [...firewall.appliedTo, { type: "server", server: id }],
    });
  }
  let privateNet = server.privateNet;
  for (const network of order.networks) {
    privateNet = [...privateNet, allocatePrivateNet(context, network, order.location.network_zone, id, {})];
    store.update("server", server, { privateNet });
    next.push(
      actions.start(project, "attach_to_network", [resource, { type: "network", id: network.id }], {
        after: create.id,
      }),
    );
  }
  const committed = store.get("server", project, id);
  if (!committed) throw new Error(`server ${id} is gone`);
  return {
    status: 201,
    body: {
      server: presentServer(context, committed),
      action: presentAction(context, create),
      next_actions: next.map((action) => presentAction(context, action)),
      // As with Hetzner only without keys. The machines take keys alone, so nobody can log in with it.
      root_password: order.keys.length === 0 ? randomBytes(15).toString("base64url") : null,
    },
  };
}

function readOrder(context: Context, request: ApiRequest): Order {
  const { store, clock } = context;
  const { project } = request;
  const body = parseBody(createSchema, request.body);
  const type = findServerType(body.server_type);
  if (!type) throw invalidField("server_type", `server type '${body.server_type}' not found`);
  if (!isSold(type, clock.now())) {
    throw invalidField("server_type", `server type '${type.name}' can no longer be ordered`);
  }
  const image = images.find(
    (known) =>
      String(known.id) === body.image ||
      (known.name === body.image && known.architecture === type.architecture),
  );
  if (!image) throw invalidField("image", `image '${body.image}' not found`);
  if (image.architecture !== type.architecture) {
    throw invalidField(
      "image",
      `image is for ${image.architecture}, the server type is ${type.architecture}`,
    );
  }
  const location = chooseLocation(body.location, type);
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
  const ipv4 = enabled(context, project, body.public_net?.enable_ipv4, body.public_net?.ipv4, "ipv4");
  const ipv6 = enabled(context, project, body.public_net?.enable_ipv6, body.public_net?.ipv6, "ipv6");
  const networks = unrepeated(body.networks ?? []).map((id) => {
    const network = existing(context, "network", project, id, "networks");
    assertAttachable(context, network, location.network_zone);
    return network;
  });
  if (!ipv4 && !ipv6 && networks.length === 0) {
    throw invalidField("public_net", "a server needs a public or a private network");
  }
  const firewalls = unrepeated((body.firewalls ?? []).map((entry) => entry.firewall)).map((id) =>
    existing(context, "firewall", project, id, "firewalls"),
  );
  assertNameFree(context, "server", project, body.name);
  if (store.listAll("server").length >= context.limits.servers) {
    throw new ApiError(403, "resource_limit_exceeded", "server limit exceeded", {
      limits: [{ name: "server_limit" }],
    });
  }
  if (!type.offers[location.name]) {
    throw new ApiError(412, "resource_unavailable", "error during placement");
  }
  return { body, type, image, location, keys, networks, firewalls, group, ipv4, ipv6 };
}

function chooseLocation(wanted: string | undefined, type: ServerType): Location {
  if (wanted === undefined) {
    const sold = locations.filter((location) => location.name in type.offers);
    const [first] = [...sold.filter((location) => type.offers[location.name]), ...sold];
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

function enabled(
  context: Context,
  project: number,
  wanted: boolean | undefined,
  id: number | null | undefined,
  type: "ipv4" | "ipv6",
): boolean {
  if (id !== null && id !== undefined) {
    // Every address here came with a server and leaves with it: one that is named is always taken.
    const address = existing(context, "primary_ip", project, id, `public_net.${type}`);
    if (address.type !== type) {
      throw new ApiError(412, "primary_ip_version_mismatch", `Primary IP ${id} is not ${type}`);
    }
    throw new ApiError(422, "primary_ip_assigned", `Primary IP ${id} is already assigned to a server`);
  }
  return wanted !== false;
}

const unrepeated = (ids: readonly number[]) => [...new Set(ids)];

export const createEffects: Effects = {
  create_server: async ({ store, backend }, action) => {
    const server = serverOf(store, action);
    try {
      const start = action.parameters.start === true;
      // It may be on already: a restart of the emulator can fall between switching on and writing it down.
      if (start && !backend.isOn(server.id)) await backend.powerOn(server.id);
      store.update("server", server, { status: start ? "starting" : "off" });
    } catch (error) {
      store.update("server", server, { status: "off" });
      throw error;
    }
  },
};

/** The server of a server action. @throws when it is gone, which ends the action in error. */
export function serverOf(store: Context["store"], action: Action): Stored<"server"> {
  const id = action.resources.find((resource) => resource.type === "server")?.id ?? 0;
  const server = store.get("server", action.project, id);
  if (!server) throw new Error(`server ${id} is gone`);
  return server;
}
