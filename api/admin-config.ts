/** `GET /config` and `POST /config/reload`: which file the daemon reads, and that it reads it now. */
import Router from "@koa/router";
import type { Middleware } from "koa";
import { z } from "zod";
import type { ConfigWatch } from "../pool/config/watch.ts";
import { checked, readJson } from "./body.ts";

const shape = z.strictObject({ actor: z.string().min(1).max(100) });

export function configRoutes({ path, reload }: Pick<ConfigWatch, "path" | "reload">): Middleware {
  const router = new Router();
  router.get("/config", (context) => {
    context.body = { path };
  });
  router.post("/config/reload", async (context) => {
    const { actor } = checked(shape, await readJson(context, 4 * 1024));
    context.body = reload(actor);
  });
  return router.routes() as Middleware;
}
