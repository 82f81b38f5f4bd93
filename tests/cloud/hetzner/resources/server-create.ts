import type { Action, ActionResource, Effects } from "../actions/engine.ts";
import { presentAction } from "../actions/routes.ts";
import type { Command } from "../catalogue/durations.ts";
import { priceOf } from "../catalogue/pricing.ts";
import type { Context } from "../context.ts";
import { applyMachineFaults } from "../faults/machine.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import type { Answer, ApiRequest } from "../http/router.ts";
import { createMachine, destroyMachine } from "../lost-machines.ts";
import type { Stored } from "../store/documents.ts";
import { serverOf } from "./lookup.ts";
import { allocatePrivateNet } from "./network-addresses.ts";
import { createImplicitIp, ipv6Prefix } from "./primary-ips.ts";
import { newPassword } from "./server-access.ts";
import { assertUnassigned, type Order, readOrder, type WantedAddress } from "./server-order.ts";
import { boot } from "./server-power.ts";
import { presentServer } from "./server-view.ts";

/** `POST /servers`: takes the name, makes the machine, then answers with the actions that switch it on. */
export async function createServer(context: Context, request: ApiRequest): Promise<Answer> {
  const { store, backend } = context;
  // The name is taken before the machine is made, so that two orders at once can't both have it.
  const { order, server } = store.transaction(() => {
    const order = readOrder(context, request);
    return { order, server: reserve(context, request.project, order) };
  });
  let address: string;
  try {
    address = await makeMachine(context, order, server.id);
    await applyMachineFaults(context, server);
  } catch (error) {
    store.delete(server.id);
    await destroyMachine(backend, server.id);
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
    // An address that is older than the machine must outlive it.
    if (order.ipv4 !== "new") await backend.setAddress(server.id, null);
    await destroyMachine(backend, server.id);
    throw error;
  }
}

function reserve({ store, clock }: Context, project: number, order: Order): Stored<"server"> {
  return store.insert("server", project, {
    name: order.body.name,
    labels: order.body.labels ?? {},
    created: clock.now(),
    status: "initializing",
    serverType: order.type.name,
    location: order.location.name,
    image: order.image.id,
    baseImage: order.image.base.id,
    keyLogin: order.keys.length > 0,
    nextPassword: order.keys.length > 0 ? null : newPassword(),
    bootedAt: null,
    iso: null,
    rescueUntil: null,
    backupWindow: null,
    ipv4: null,
    ipv6: null,
    privateNet: [],
    placementGroup: order.group?.id ?? null,
    protection: { delete: false, rebuild: false },
    primaryDiskSize: order.type.disk,
    reserved: true,
  });
}

/** @returns the address that it has, or had: with another one, or without, that is given back. */
async function makeMachine({ backend }: Context, order: Order, id: number): Promise<string> {
  const { ipv4 } = await createMachine(backend, {
    id,
    name: order.body.name,
    image: order.image.base.name,
    ...(order.image.stored?.handle ? { snapshot: order.image.stored.handle } : {}),
    userData: order.body.user_data ?? "",
    sshKeys: order.keys.map((key) => key.publicKey),
    location: order.location.name,
    cores: order.type.cores,
    memoryGiB: order.type.memory,
  });
  if (order.ipv4 !== "new") {
    await backend.setAddress(id, order.ipv4?.ip ?? null);
    await backend.releaseAddress(ipv4);
  }
  return ipv4;
}

function commit(context: Context, order: Order, reserved: Stored<"server">, address: string): Answer {
  const { store, billing, actions } = context;
  const { id, project, name } = reserved;
  const { type, location } = order;
  billing.begin({
    kind: "server",
    id,
    project,
    name,
    type: type.name,
    location: location.name,
    ...priceOf(type.monthly),
  });
  const server = store.update("server", reserved, {
    reserved: false,
    ipv4: assign(context, reserved, order.ipv4, "ipv4", address),
    ipv6: assign(context, reserved, order.ipv6, "ipv6", ipv6Prefix(id)),
  });

  const start = order.body.start_after_create !== false;
  const create = actions.start(project, "create_server", [{ type: "server", id }], {
    parameters: { start },
    timing: order.image.stored ? "create_server_from_snapshot" : "create_server",
  });
  const next: Action[] = [];
  const then = (command: Command, also?: ActionResource, parameters: Record<string, unknown> = {}) => {
    const resources = [{ type: "server", id }, ...(also ? [also] : [])];
    next.push(actions.start(project, command, resources, { after: create.id, parameters }));
  };
  if (start) then("start_server");
  for (const { id: firewallId } of order.firewalls) {
    const firewall = store.get("firewall", project, firewallId);
    if (!firewall) throw invalidField("firewalls", `firewall with ID '${firewallId}' not found`);
    store.update("firewall", firewall, {
      appliedTo: [...firewall.appliedTo, { type: "server", server: id }],
    });
  }
  let privateNet = server.privateNet;
  for (const network of order.networks) {
    privateNet = [...privateNet, allocatePrivateNet(context, network, location.network_zone, id, {})];
    store.update("server", server, { privateNet });
    then("attach_to_network", { type: "network", id: network.id });
  }
  for (const volume of order.volumes) {
    const now = store.get("volume", project, volume.id);
    if (!now || now.server !== null || actions.isLocked("volume", volume.id)) {
      throw invalidField("volumes", `volume with ID '${volume.id}' cannot be attached`);
    }
    then("attach_volume", { type: "volume", id: volume.id }, { automount: order.body.automount === true });
  }
  const committed = store.get("server", project, id);
  if (!committed) throw new Error(`server ${id} is gone`);
  return {
    status: 201,
    body: {
      server: presentServer(context, committed),
      action: presentAction(context, create),
      next_actions: next.map((action) => presentAction(context, action)),
      // As with Hetzner only without keys.
      root_password: committed.nextPassword,
    },
  };
}

/** @returns the id of the Primary IP that the server has from now on. */
function assign(
  context: Context,
  server: Stored<"server">,
  wanted: WantedAddress,
  type: "ipv4" | "ipv6",
  fresh: string,
): number | null {
  if (wanted === null) return null;
  if (wanted === "new") return createImplicitIp(context, server, type, fresh).id;
  const address = context.store.get("primary_ip", server.project, wanted.id);
  if (!address) throw invalidField(`public_net.${type}`, `primary ip with ID '${wanted.id}' not found`);
  assertUnassigned(address);
  context.store.update("primary_ip", address, { assignee: server.id });
  return address.id;
}

export const createEffects: Effects = {
  create_server: async (context, action) => {
    const { store, backend } = context;
    const server = serverOf(context, action);
    try {
      const start = action.parameters.start === true;
      // It may be on already: a restart of the emulator can fall between switching on and writing it down.
      if (start && !backend.isOn(server.id)) {
        await boot(context, server, () => backend.powerOn(server.id));
      }
      store.update("server", server, { status: start ? "starting" : "off" });
    } catch (error) {
      store.update("server", server, { status: "off" });
      throw error;
    }
  },
};
