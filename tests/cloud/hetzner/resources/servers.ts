import { z } from "zod";
import type { Effects } from "../actions/engine.ts";
import { actionAnswer, actionRoutesOf } from "../actions/routes.ts";
import type { Context } from "../context.ts";
import { answerList, anyOf, byIdNameCreated, filterNamed } from "../http/listing.ts";
import type { Route } from "../http/router.ts";
import { hostnameSchema, labelsSchema, parseBody } from "../http/validation.ts";
import { destroyMachine } from "../lost-machines.ts";
import type { Stored } from "../store/documents.ts";
import { detachAll } from "./attachments.ts";
import { forgetServer } from "./firewall-targets.ts";
import { backupsOf, deleteImage } from "./images.ts";
import { assertNameFree, assertUnlocked, assertUnprotected, fromPath, serverOf } from "./lookup.ts";
import { keepAddress } from "./primary-ip-assignment.ts";
import { createServer } from "./server-create.ts";
import { presentServer, statusOf } from "./server-view.ts";

const statuses = [
  "running",
  "initializing",
  "starting",
  "stopping",
  "off",
  "deleting",
  "migrating",
  "rebuilding",
  "unknown",
];

const updateSchema = z.object({ name: hostnameSchema.optional(), labels: labelsSchema.optional() });

export const serverRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/servers",
    handle: (context, request) => {
      const status = anyOf(request, "status", statuses);
      const servers = context.store.list("server", request.project).filter((server) => !server.reserved);
      return answerList(request, {
        key: "servers",
        entries: filterNamed(request, servers).filter(
          (server) => !status || status.has(statusOf(context, server)),
        ),
        present: (server) => presentServer(context, server),
        sortable: byIdNameCreated,
      });
    },
  },
  { method: "POST", path: "/servers", handle: createServer },
  {
    method: "GET",
    path: "/servers/{id}",
    handle: (context, request) => ({
      status: 200,
      body: { server: presentServer(context, fromPath(context, request, "server")) },
    }),
  },
  {
    method: "PUT",
    path: "/servers/{id}",
    handle: (context, request) => {
      const server = fromPath(context, request, "server");
      const patch = parseBody(updateSchema, request.body);
      if (patch.name !== undefined) {
        assertNameFree(context, "server", request.project, patch.name, server.id);
      }
      const updated = context.store.update("server", server, patch);
      return { status: 200, body: { server: presentServer(context, updated) } };
    },
  },
  {
    method: "DELETE",
    path: "/servers/{id}",
    handle: (context, request) => {
      const server = fromPath(context, request, "server");
      assertUnprotected("server", server.protection);
      assertUnlocked(context, "server", server.id);
      context.store.update("server", server, { status: "deleting" });
      const action = context.actions.start(request.project, "delete_server", [
        { type: "server", id: server.id },
      ]);
      return actionAnswer(context, action, 200);
    },
  },
  ...actionRoutesOf("servers", "server"),
];

export const deleteEffects: Effects = {
  delete_server: (context, action) => removeServer(context, serverOf(context, action)),
};

/**
 * Machine, backups, addresses that came with it, memberships and bill end with it.
 * @throws what the backend throws; it is `unknown` then.
 */
export async function removeServer(context: Context, server: Stored<"server">): Promise<void> {
  const { store, backend, billing } = context;
  try {
    for (const image of backupsOf(context, server)) await deleteImage(context, image);
    await keepAddress(context, server);
    await destroyMachine(backend, server.id);
  } catch (error) {
    store.update("server", server, { status: "unknown" });
    throw error;
  }
  store.transaction(() => {
    forgetServer(context, server);
    detachAll(context, server);
    store.delete(server.id);
    billing.end(server.id);
  });
}
