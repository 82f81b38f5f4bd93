import type { Effects } from "../actions/engine.ts";

import type { Context } from "../context.ts";
import { ApiError } from "../http/errors.ts";
import type { Route } from "../http/router.ts";
import type { Stored } from "../store/documents.ts";
import { serverOf } from "./lookup.ts";
import { serverAction } from "./server-action.ts";
import { statusOf } from "./server-view.ts";

/** @throws ApiError 422 */
export function assertOn(context: Context, server: Stored<"server">): void {
  if (statusOf(context, server) !== "running") {
    throw new ApiError(422, "unsupported_error", "the server is not running");
  }
}

/** @throws ApiError 422 server_not_stopped */
export function assertOff(context: Context, server: Stored<"server">): void {
  if (statusOf(context, server) !== "off") {
    throw new ApiError(422, "server_not_stopped", "the server must be stopped");
  }
}

export const powerRoutes: readonly Route[] = [
  serverAction("poweron", (_context, _request, server) => ({
    command: "start_server",
    patch: server.status === "running" ? {} : { status: "starting" },
  })),
  serverAction("poweroff", () => ({
    command: "stop_server",
    patch: { status: "stopping" },
  })),
  // Only asks the machine; the server is `off` when the machine has obeyed.
  serverAction("shutdown", () => ({ command: "shutdown_server" })),
  serverAction("reboot", (context, _request, server) => {
    assertOn(context, server);
    return { command: "reboot_server" };
  }),
  serverAction("reset", (context, _request, server) => {
    assertOn(context, server);
    return { command: "reset_server" };
  }),
];

export const powerEffects: Effects = {
  start_server: (context, action) => switchOn(context, serverOf(context, action)),
  stop_server: async (context, action) => {
    const server = serverOf(context, action);
    await context.backend.powerOff(server.id);
    context.store.update("server", server, { status: "off" });
  },
  shutdown_server: async (context, action) => {
    await context.backend.shutdown(serverOf(context, action).id);
  },
  reboot_server: (context, action) => {
    const server = serverOf(context, action);
    return boot(context, server, () => context.backend.reboot(server.id));
  },
  reset_server: async (context, action) => {
    const server = serverOf(context, action);
    await context.backend.powerOff(server.id);
    await switchOn(context, server);
  },
};

/** Every boot that the API asks for: the rescue system comes up only if it was asked for within the hour. */
export async function boot(
  context: Context,
  server: Stored<"server">,
  start: () => Promise<void>,
): Promise<void> {
  const { store, backend, clock } = context;
  const rescued = server.rescueUntil !== null && server.rescueUntil > clock.now();
  if (server.rescueUntil !== null && !rescued) await backend.setRescue(server.id, null);
  await start();
  const booted = store.update("server", server, { bootedAt: clock.now(), rescueUntil: null });
  if (!rescued) await setPassword(context, booted);
}

/** A machine that hangs takes no password; it gets it with a later boot. */
async function setPassword({ store, backend }: Context, server: Stored<"server">): Promise<void> {
  if (server.nextPassword === null) return;
  try {
    await backend.resetPassword(server.id, server.nextPassword);
  } catch {
    return;
  }
  store.update("server", server, { nextPassword: null });
}

/** The server is `running` afterwards, or `off` if its machine cannot be switched on. @throws what the machine says */
export async function switchOn(context: Context, server: Stored<"server">): Promise<void> {
  const { store, backend } = context;
  try {
    if (!backend.isOn(server.id)) await boot(context, server, () => backend.powerOn(server.id));
    store.update("server", server, { status: "running" });
  } catch (error) {
    store.update("server", server, { status: "off" });
    throw error;
  }
}
