/**
 * A shop to click in, for `npm run demo -- --stay`: buys through the product's own API and the checkout page, shows the
 * orders, sends a message to a served agent, cancels. It knows what a product team's web app would know.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Router from "@koa/router";
import Koa, { type Context } from "koa";
import getRawBody from "raw-body";
import type { OrderView } from "../../api/views.ts";
import type { Customer } from "../cloud/agent.ts";
import type { LocalCloud } from "../cloud/local-cloud.ts";
import type { Shop } from "../cloud/shop.ts";

interface Trade {
  readonly shop: Shop;
  readonly cloud: LocalCloud;
  /** Joins the tailnet as the customer; once, when the first message is sent. */
  becomeCustomer(): Promise<Customer>;
}

export interface ShopPage {
  readonly url: string;
  /** Until then every page says that the shop is closed. */
  open(trade: Trade): void;
  close(): Promise<void>;
}

/** Listens on a free port of loopback. */
export async function startShopPage(): Promise<ShopPage> {
  let trade: Trade | null = null;
  let customer: Promise<Customer> | null = null;
  const orders: string[] = [];
  const replies = new Map<string, string>();

  const opened = (context: Context): Trade => {
    if (!trade) context.throw(503, "the shop opens when the demo has been once through");
    return trade;
  };
  const backToOrders = (context: Context) => {
    context.status = 303;
    context.redirect("/");
  };

  const router = new Router();
  router.get("/", async (context) => {
    const { shop } = opened(context);
    const views = await Promise.all(orders.toReversed().map((id) => shop.view(id)));
    context.type = "html";
    context.body = page(views, replies);
  });
  router.post("/buy", async (context) => {
    const { shop } = opened(context);
    const form = new URLSearchParams(await getRawBody(context.req, { limit: "8kb", encoding: "utf8" }));
    const order = await shop.order({ agent_name: form.get("agent_name") || "claw" });
    orders.push(order.id);
    context.status = 303;
    context.redirect(order.checkout_url ?? "/");
  });
  // Where the checkout page leads to, paid or not.
  router.get("/thanks", backToOrders);
  router.get("/cart", backToOrders);
  router.post("/orders/:id/hello", async (context) => {
    const { shop, becomeCustomer } = opened(context);
    const id = context.params.id ?? "";
    const [view, { gateway_token: token }] = await Promise.all([shop.view(id), shop.access(id)]);
    customer ??= becomeCustomer();
    replies.set(id, await (await customer).ask(view, token, "Hello, are you mine now?"));
    backToOrders(context);
  });
  router.post("/orders/:id/cancel", async (context) => {
    const { shop, cloud } = opened(context);
    const { checkout_session: session } = await shop.view(context.params.id ?? "");
    const { subscription } = cloud.stripe.account.session(session ?? "");
    await cloud.stripe.console.cancel(subscription ?? "").sent;
    backToOrders(context);
  });

  const app = new Koa();
  app.use(router.routes());
  const server = createServer(app.callback());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    open: (given) => {
      trade = given;
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
      await (await customer)?.close();
    },
  };
}

const escapeHtml = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
const button = (action: string, label: string) =>
  `<form method="post" action="${action}"><button>${label}</button></form>`;

const refresh = '<meta http-equiv="refresh" content="1">';

function page(views: readonly OrderView[], replies: ReadonlyMap<string, string>): string {
  const moving = views.some(({ state }) => ["queued", "provisioning", "releasing"].includes(state));
  const rows = views.map((view) => {
    const running = view.state === "running";
    const cells = [
      escapeHtml(view.agent_name),
      view.checkout_url ? `<a href="${escapeHtml(view.checkout_url)}">pay</a>` : view.state,
      view.machine
        ? `${view.machine.name} ${view.machine.tailnet_address ?? ""}`
        : escapeHtml(view.notice ?? ""),
      running ? button(`/orders/${view.id}/hello`, "say hello") : "",
      escapeHtml(replies.get(view.id) ?? ""),
      running ? button(`/orders/${view.id}/cancel`, "cancel") : "",
    ];
    return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  });
  return `<!doctype html><html lang="en"><meta charset="utf-8">${moving ? refresh : ""}
<title>A shop</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
td{padding:.3rem 1rem .3rem 0}input,button{font:inherit;padding:.3rem .6rem}form{margin:0}</style>
<h1>A shop that sells agents</h1>
<form method="post" action="/buy"><input name="agent_name" value="claw" maxlength="40" aria-label="Name of the agent">
<button>Buy an agent</button></form>
<table>${rows.join("\n")}</table></html>`;
}
