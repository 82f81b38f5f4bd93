/** `POST /orders/:id/hold`: what a person of this machine says about one order. */
import Router from "@koa/router";
import type { Middleware } from "koa";
import { z } from "zod";
import type { OrderDesk } from "../pool/order/desk.ts";
import { checked, readJson } from "./body.ts";
import { answerHold, holdShape } from "./holds.ts";

const shape = holdShape.extend({ actor: z.string().min(1).max(100) });

export function holdRoutes({ hold }: Pick<OrderDesk, "hold">): Middleware {
  const router = new Router();
  router.post("/orders/:id/hold", async (context) => {
    const { actor, ...request } = checked(shape, await readJson(context, 4 * 1024));
    context.body = await answerHold(() => hold(String(context.params.id), request, { actor }));
  });
  return router.routes() as Middleware;
}
