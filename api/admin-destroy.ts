/** The admin socket's route by which a person destroys a machine by name. */
import Router from "@koa/router";
import type { Middleware } from "koa";
import { z } from "zod";
import { type DestroyByName, DestroyRefusedError } from "../pool/people/confirmed-destroy.ts";
import { BusyError } from "../pool/people/people.ts";
import { checked, readJson } from "./body.ts";
import { Problem } from "./problem.ts";

const destroyShape = z.strictObject({
  machine: z.string().min(1).max(64),
  confirm: z.string().min(1).max(64).nullable(),
  actor: z.string().min(1).max(100),
});

export function destroyRoutes(destroy: DestroyByName): Middleware {
  const router = new Router();
  router.post("/destroy", async (context) => {
    const { machine, confirm, actor } = checked(destroyShape, await readJson(context, 4 * 1024));
    try {
      context.body = destroy(machine, confirm, { actor });
    } catch (error) {
      if (error instanceof BusyError)
        throw new Problem({ status: 409, code: "busy", title: "The machine is held", detail: error.message });
      if (!(error instanceof DestroyRefusedError)) throw error;
      const title = "The machine is not destroyed";
      throw new Problem({ status: 422, code: "not-destroyed", title, detail: error.message });
    }
  });
  return router.routes() as Middleware;
}
