/** `POST /webhooks/stripe`: the raw bytes go to the desk; 200 says that what they mean is on disk. */
import Router from "@koa/router";
import type { Middleware } from "koa";
import type { Logger } from "pino";
import { BorderError } from "../pool/errors.ts";
import type { Metrics } from "../pool/observe/metrics.ts";
import type { OrderDesk } from "../pool/order/desk.ts";
import { InvalidWebhookError } from "../pool/stripe/stripe.ts";
import { readBody } from "./body.ts";
import { Problem } from "./problem.ts";

const maxWebhookBytes = 256 * 1024;

/** Everything invalid is 400 and final; everything that may work later is 503, and Stripe sends it again. */
export function webhookRoutes({
  desk,
  log,
  metrics,
}: {
  readonly desk: OrderDesk;
  readonly log: Logger;
  readonly metrics?: Pick<Metrics, "webhook">;
}): Middleware {
  const router = new Router();
  router.post("/webhooks/stripe", async (context) => {
    const raw = await readBody(context, maxWebhookBytes);
    try {
      const { kind } = await desk.webhook(raw, context.get("stripe-signature"));
      metrics?.webhook(kind);
    } catch (error) {
      const invalid = error instanceof InvalidWebhookError;
      metrics?.webhook(invalid ? "invalid" : "not-kept");
      if (invalid) {
        log.warn({ reason: error.message, from: context.ip }, "refused a webhook");
        throw error;
      }
      log.error({ err: error }, "could not take a webhook; Stripe will send it again");
      const stripe = error instanceof BorderError && error.border === "stripe";
      throw new Problem({
        status: 503,
        code: "not-kept",
        title: stripe ? "Stripe could not be asked" : "The event could not be kept",
        headers: { "retry-after": "5" },
      });
    }
    context.body = { received: true };
  });
  return router.routes() as Middleware;
}
