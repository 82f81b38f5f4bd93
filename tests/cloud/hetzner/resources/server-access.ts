import { randomBytes, randomUUID } from "node:crypto";
import { z } from "zod";
import type { Effects } from "../actions/engine.ts";

import { invalidField } from "../http/errors.ts";
import type { Route } from "../http/router.ts";
import { idSchema, parseBody } from "../http/validation.ts";
import { serverOf } from "./lookup.ts";
import { serverAction } from "./server-action.ts";
import { assertOn } from "./server-power.ts";

/** Hetzner's API description, "enable_rescue": disabled "if you do not use it for 60 minutes". */
const rescueMs = 60 * 60_000;

const rescueSchema = z.object({
  type: z.literal("linux64", "must be 'linux64'").optional(),
  ssh_keys: z.array(idSchema).optional(),
});

/** Twenty characters that need no escaping anywhere. */
export const newPassword = () => randomBytes(15).toString("base64url");

/** How to get into a server from outside of its system: rescue, a new root password, the console. */
export const accessRoutes: readonly Route[] = [
  serverAction("enable_rescue", (context, request) => {
    const { ssh_keys: ids = [] } = parseBody(rescueSchema, request.body ?? {});
    const sshKeys = ids.map((id) => {
      const key = context.store.get("ssh_key", request.project, id);
      if (!key) throw invalidField("ssh_keys", `SSH key with ID '${id}' not found`);
      return key.publicKey;
    });
    const password = newPassword();
    return {
      command: "enable_rescue",
      parameters: { sshKeys, password },
      answer: { root_password: password },
    };
  }),
  serverAction("disable_rescue", () => ({ command: "disable_rescue" })),
  serverAction("reset_password", (context, _request, server) => {
    assertOn(context, server);
    const password = newPassword();
    return {
      command: "reset_password",
      parameters: { password },
      answer: { root_password: password },
    };
  }),
  serverAction("request_console", (_context, _request, server) => ({
    command: "request_console",
    answer: {
      // Machines have no screen: nothing answers there, and nothing ever will below .invalid (RFC 2606).
      wss_url: `wss://console.invalid/?server_id=${server.id}&token=${randomUUID()}`,
      password: newPassword(),
    },
  })),
];

export const accessEffects: Effects = {
  enable_rescue: async (context, action) => {
    const server = serverOf(context, action);
    const { sshKeys, password } = action.parameters as { sshKeys: readonly string[]; password: string };
    await context.backend.setRescue(server.id, { sshKeys, password });
    context.store.update("server", server, { rescueUntil: context.clock.now() + rescueMs });
  },
  disable_rescue: async (context, action) => {
    const server = serverOf(context, action);
    await context.backend.setRescue(server.id, null);
    context.store.update("server", server, { rescueUntil: null });
  },
  reset_password: async (context, action) => {
    const server = serverOf(context, action);
    await context.backend.resetPassword(server.id, String(action.parameters.password));
  },
};
