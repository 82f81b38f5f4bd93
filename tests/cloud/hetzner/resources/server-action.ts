import { type Begun, resourceAction } from "../actions/resource-action.ts";
import type { Context } from "../context.ts";
import type { ApiRequest, Route } from "../http/router.ts";
import type { Stored } from "../store/documents.ts";

/** `POST /servers/{id}/actions/{name}`: refused with 423 while another action runs on the server. */
export const serverAction = (
  name: string,
  begin: (context: Context, request: ApiRequest, server: Stored<"server">) => Begun<"server">,
): Route => resourceAction("servers", "server", name, begin);
