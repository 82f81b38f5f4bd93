/** The product team's side: orders, their progress, and what the customer needs to reach the agent. */
import Router from "@koa/router";
import type { Middleware } from "koa";
import type { Config } from "../pool/config/config.ts";
import type { OrderId } from "../pool/machine/machine.ts";
import type { OrderDesk } from "../pool/order/desk.ts";
import { environmentLimits } from "../pool/order/environment.ts";
import { orderPage, readOrderQuery } from "../pool/order/list.ts";
import type { Order } from "../pool/order/order.ts";
import type { Store } from "../pool/store/store.ts";
import { operatorOf } from "./auth.ts";
import { checked, readJson } from "./body.ts";
import { answerHold, holdShape } from "./holds.ts";
import { notFound, Problem } from "./problem.ts";
import type { OrderStreams } from "./stream.ts";
import { viewListedOrder, viewOrder } from "./views.ts";

/** JSON writes a character of the environment with at most six bytes (\u00e9). */
const maxOrderBytes = 6 * environmentLimits.bytes + 16 * 1024;

export function orderRoutes(options: {
  readonly desk: OrderDesk;
  readonly store: Store;
  readonly streams: OrderStreams;
  readonly config: () => Pick<Config, "agent">;
}): Middleware {
  const { desk, store, streams, config } = options;
  const router = new Router({ prefix: "/v1/orders" });

  const order = (id: unknown): Order => {
    const found = store.order(String(id) as OrderId);
    if (!found) throw notFound();
    return found;
  };

  router.post("/", async (context) => {
    const body = await readJson(context, maxOrderBytes);
    const key = context.get("idempotency-key");
    const made = await desk.create(body, key === "" ? {} : { idempotencyKey: key });
    context.status = 201;
    context.set("location", `/v1/orders/${made.id}`);
    context.body = viewOrder(made, { store, desk });
  });

  router.get("/", (context) => {
    const { orders, next } = orderPage(store, readOrderQuery(context.URL.searchParams));
    context.body = { orders: orders.map((each) => viewListedOrder(each, store)), next };
  });

  router.post("/:id/retry", async (context) => {
    const actor = operatorOf(context);
    const { id } = order(context.params.id);
    context.body = viewOrder(await desk.retry(id, actor), { store, desk });
  });

  router.get("/:id", (context) => {
    context.body = viewOrder(order(context.params.id), { store, desk });
  });

  router.post("/:id/hold", async (context) => {
    const actor = operatorOf(context);
    const { id } = order(context.params.id);
    const request = checked(holdShape, await readJson(context, 4 * 1024));
    const held = await answerHold(() => desk.hold(id, request, { actor }));
    context.body = viewOrder(held, { store, desk });
  });

  router.get("/:id/events", (context) => {
    streams.open(context, order(context.params.id));
  });

  router.get("/:id/access", (context) => {
    const found = order(context.params.id);
    const machine = found.machine === null ? null : store.machine(found.machine);
    if (found.state !== "running" || machine === null) {
      throw new Problem({
        status: 409,
        code: "not-running",
        title: "The agent does not run",
        detail: `the order is ${found.state}`,
        remedy: "ask again when the order is running",
      });
    }
    store.audit("api", "order.access", found.id, { why: "the gateway's token was asked for" });
    context.body = {
      gateway_token: store.agentSecrets(found.id).gatewayToken,
      gateway_port: config().agent.gatewayPort,
      tailnet_address: machine.tailnetAddress,
      ip: machine.ipv4,
    };
  });

  return router.routes() as Middleware;
}
