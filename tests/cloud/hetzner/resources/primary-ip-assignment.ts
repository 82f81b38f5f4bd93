import type { Action, Effects } from "../actions/engine.ts";
import type { Context } from "../context.ts";
import { ApiError, invalidField } from "../http/errors.ts";
import { machineIsLost } from "../lost-machines.ts";
import type { Stored } from "../store/documents.ts";
import { assertUnlocked } from "./lookup.ts";
import { statusOf } from "./server-view.ts";

type Address = Stored<"primary_ip">;

/** @throws ApiError 422 */
export function assigneeOf(context: Context, project: number, id: number): Stored<"server"> {
  const server = context.store.get("server", project, id);
  if (!server || server.reserved) throw invalidField("assignee_id", `server with ID '${id}' not found`);
  return server;
}

function assertOff(context: Context, server: Stored<"server">): void {
  assertUnlocked(context, "server", server.id);
  if (statusOf(context, server) !== "off") {
    throw new ApiError(422, "server_not_stopped", "the server must be powered off");
  }
}

/** @throws ApiError 422 server_not_stopped, server_has_ipv4 or server_has_ipv6; 423 while an action runs on it. */
export function assertAssignable(context: Context, server: Stored<"server">, type: "ipv4" | "ipv6"): void {
  assertOff(context, server);
  if (server[type] !== null) {
    throw new ApiError(422, `server_has_${type}`, `the server already has an ${type} address`);
  }
}

/** The server has the address at once; its machine has it when the action ends. */
export function assignPrimaryIp(context: Context, address: Address, server: Stored<"server">): Action {
  context.store.update("primary_ip", address, { assignee: server.id });
  context.store.update("server", server, { [address.type]: address.id });
  return start(context, "assign_primary_ip", address, server);
}

/** @throws ApiError 422 when it is not assigned or its server is not off. */
export function unassignPrimaryIp(context: Context, address: Address): Action {
  const server =
    address.assignee === null ? null : context.store.get("server", address.project, address.assignee);
  if (!server) throw new ApiError(422, "unsupported_error", "the Primary IP is not assigned");
  assertOff(context, server);
  context.store.update("primary_ip", address, { assignee: null });
  context.store.update("server", server, { [address.type]: null });
  return start(context, "unassign_primary_ip", address, server);
}

function start(
  context: Context,
  command: "assign_primary_ip" | "unassign_primary_ip",
  address: Address,
  server: Stored<"server">,
): Action {
  const resources = [
    { type: "primary_ip", id: address.id },
    { type: "server", id: server.id },
  ];
  return context.actions.start(address.project, command, resources);
}

/**
 * Gives the server's machine, which is off, the address that the server has now.
 * @throws what the backend throws; then the server has what its machine has still
 */
async function takeOver(context: Context, action: Action): Promise<void> {
  const of = (type: string) => action.resources.find((resource) => resource.type === type)?.id ?? 0;
  const address = context.store.get("primary_ip", action.project, of("primary_ip"));
  const server = context.store.get("server", action.project, of("server"));
  if (!address || !server) throw new Error("the Primary IP or its server is gone");
  if (address.type === "ipv6" || machineIsLost(context.backend, server.id)) return;
  const own = server.ipv4 === null ? null : context.store.get("primary_ip", server.project, server.ipv4);
  try {
    await context.backend.setAddress(server.id, own?.ip ?? null);
  } catch (error) {
    const assigned = action.command === "unassign_primary_ip";
    context.store.update("primary_ip", address, { assignee: assigned ? server.id : null });
    context.store.update("server", server, { ipv4: assigned ? address.id : null });
    throw error;
  }
}

export const primaryIpEffects: Effects = {
  assign_primary_ip: takeOver,
  unassign_primary_ip: takeOver,
};

/**
 * Takes the address that outlives the server away from its machine, which goes off: destroying the machine would free
 * it. Call it before the machine is destroyed.
 */
export async function keepAddress({ store, backend }: Context, server: Stored<"server">): Promise<void> {
  const address = server.ipv4 === null ? null : store.get("primary_ip", server.project, server.ipv4);
  if (!address || address.autoDelete || machineIsLost(backend, server.id)) return;
  await backend.powerOff(server.id);
  await backend.setAddress(server.id, null);
}
