/** The admin socket's routes by which a person has others compared with the store now. */
import Router from "@koa/router";
import type { Middleware } from "koa";
import { z } from "zod";
import { BorderError } from "../pool/errors.ts";
import type { StripeSweep } from "../pool/sweep/stripe.ts";
import { sweepNames } from "../pool/sweep/sweep.ts";
import { NoSweepError, type Sweeps } from "../pool/sweep/sweeps.ts";
import { checked, readJson } from "./body.ts";
import { notFound, Problem } from "./problem.ts";

const actor = z.string().min(1).max(100);

const stripeShape = z.strictObject({
  dryRun: z.boolean(),
  sinceMs: z
    .int()
    .min(60_000)
    .max(90 * 86_400_000)
    .optional(),
  actor,
});

const sweepShape = z.strictObject({ dryRun: z.boolean(), confirmLosses: z.boolean().optional(), actor });

export function reconcileRoutes(
  stripeSweep: Pick<StripeSweep, "reconcile">,
  sweeps: Pick<Sweeps, "reconcile">,
): Middleware {
  const router = new Router();
  router.post("/reconcile/stripe", async (context) => {
    const request = checked(stripeShape, await readJson(context, 4 * 1024));
    context.body = await stripeSweep.reconcile(request).catch(unanswered("stripe", "Stripe"));
  });
  router.post("/reconcile/:sweep", async (context) => {
    const name = sweepNames.find((one) => one === context.params.sweep);
    if (!name) throw notFound();
    const { confirmLosses = false, ...request } = checked(sweepShape, await readJson(context, 4 * 1024));
    context.body = await sweeps
      .reconcile(name, { ...request, confirmLosses })
      .catch(unanswered(name, "The other side"));
  });
  return router.routes() as Middleware;
}

const unanswered =
  (code: string, who: string) =>
  (error: unknown): never => {
    if (error instanceof NoSweepError)
      throw new Problem({ status: 404, code: "no-such-sweep", title: error.message, detail: error.message });
    if (!(error instanceof BorderError)) throw error;
    const title = `${who} could not be asked; nothing was concluded`;
    throw new Problem({ status: 502, code, title, detail: `${title}: ${error.message}` });
  };
