/** The admin socket's routes about terraform's state files. */
import Router from "@koa/router";
import type { Middleware } from "koa";
import { z } from "zod";
import { BorderError } from "../pool/errors.ts";
import { StateRepairError } from "../pool/machine/state-report.ts";
import { BusyError } from "../pool/people/people.ts";
import type { StateRepair } from "../pool/people/state-repair.ts";
import { checked, readJson } from "./body.ts";
import { Problem } from "./problem.ts";

const repairShape = z.strictObject({
  machine: z.string().min(1).max(64),
  how: z.enum(["restore", "import"]),
  actor: z.string().min(1).max(100),
});

export function stateRoutes(states: StateRepair): Middleware {
  const router = new Router();
  router.get("/terraform/states", async (context) => {
    context.body = await states.look().catch(refused);
  });
  router.post("/terraform/states", async (context) => {
    const { machine, how, actor } = checked(repairShape, await readJson(context, 4 * 1024));
    await states.repair(machine, how, { actor }).catch(refused);
    context.body = {};
  });
  return router.routes() as Middleware;
}

function refused(error: unknown): never {
  if (error instanceof BusyError)
    throw new Problem({ status: 409, code: "busy", title: "The machine is held", detail: error.message });
  if (error instanceof StateRepairError)
    throw new Problem({ status: 422, code: "state", title: "It cannot be done so", detail: error.message });
  if (error instanceof BorderError) {
    const title = "Hetzner or terraform did not do it";
    throw new Problem({ status: 502, code: error.code ?? error.border, title, detail: error.message });
  }
  throw error;
}
