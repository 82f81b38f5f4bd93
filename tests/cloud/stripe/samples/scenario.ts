/** One of everything that the stand-in holds, in each state that it can be in, as the API answers it. */
import { strict as assert } from "node:assert";
import type { Rig } from "../rig.ts";

export type Answer = Record<string, unknown> & { readonly object: string };

/** Objects by kind. Works the rig's account until it has some of each. */
export async function everyObject(rig: Rig): Promise<Map<string, Answer[]>> {
  const { stripe, client } = rig;
  const { console: desk, account } = stripe;
  const answers: Answer[] = [];

  const get = async (path: string) => {
    const { status, json } = await rig.ask("GET", path);
    assert.equal(status, 200, `${path}: ${JSON.stringify(json)}`);
    answers.push(json as Answer);
  };
  const all = async (path: string) => {
    const { status, json } = await rig.ask("GET", `${path}${path.includes("?") ? "&" : "?"}limit=100`);
    assert.equal(status, 200, `${path}: ${JSON.stringify(json)}`);
    answers.push(...(json.data as Answer[]));
  };

  const created = await client.checkout.sessions.create({
    mode: "subscription",
    line_items: [{ price: "price_1", quantity: 2 }],
    success_url: "https://shop.example/",
    customer_email: "a@example.com",
    metadata: { k: "v" },
    subscription_data: { metadata: { k: "v" }, description: "An agent" },
  });
  await get(`/v1/checkout/sessions/${created.id}`);
  await all(`/v1/checkout/sessions/${created.id}/line_items`);

  // One subscription for each way that it can go.
  const subscription = () => rig.bought().subscription;
  desk.cancelAtPeriodEnd(subscription());
  desk.pause(subscription());
  desk.pauseCollection(subscription());
  desk.cancel(subscription());
  desk.renew(subscription());
  desk.failPayment(subscription());
  desk.failPayment(subscription(), { final: "unpaid" });
  desk.refund(subscription(), { amount: 500 });
  desk.refundFails(desk.refund(subscription()).refund.id);
  desk.closeDispute(desk.dispute(subscription()).dispute.id, "won");
  desk.dispute(subscription(), { inquiry: true });
  const debit = rig.opened();
  desk.buy(debit, { paymentStatus: "unpaid" });
  desk.paymentFails(desk.buy(rig.opened(), { paymentStatus: "unpaid" }).session.id);
  desk.expire(rig.opened());
  const failed = [...account.invoices.values()].find(({ status }) => status === "open");
  await client.invoices.voidInvoice(failed?.id ?? "");
  await client.webhookEndpoints.create({ url: "https://shop.example/hook", enabled_events: ["*"] });
  await client.v2.core.eventDestinations.create({
    name: "thin",
    type: "webhook_endpoint",
    event_payload: "thin",
    enabled_events: ["v1.checkout.session.completed"],
    webhook_endpoint: { url: "https://shop.example/thin" },
  });
  await client.prices.create({
    product: [...account.products.keys()][0] ?? "",
    currency: "eur",
    unit_amount: 900,
  });

  for (const path of [
    "checkout/sessions",
    "subscriptions?status=all",
    "invoices",
    "invoice_payments",
    "payment_intents",
    "charges",
    "refunds",
    "disputes",
    "customers",
    "products",
    "prices",
    "webhook_endpoints",
    "events",
  ]) {
    await all(`/v1/${path}`);
  }
  for (const id of account.paymentMethods.keys()) await get(`/v1/payment_methods/${id}`);
  await all("/v2/core/event_destinations");
  await all("/v2/core/events");

  const kinds = new Map<string, Answer[]>();
  for (const answer of answers) kinds.set(answer.object, [...(kinds.get(answer.object) ?? []), answer]);
  const nested = (holder: string, list: string) =>
    (kinds.get(holder) ?? []).flatMap((one) => (one[list] as { data: Answer[] }).data);
  kinds.set("subscription_item", nested("subscription", "items"));
  kinds.set("line_item", nested("invoice", "lines"));
  kinds.set(
    "plan",
    nested("subscription", "items").map((item) => item.plan as Answer),
  );
  return kinds;
}
