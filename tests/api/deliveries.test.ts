import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { Secret } from "../../pool/secrets/secret.ts";
import type { FaultInput } from "../cloud/stripe/faults.ts";
import { orderBody } from "../order/rig.ts";
import { makeReady } from "../store/rows.ts";
import { type ApiRig, startApi } from "./rig.ts";

const completed = "checkout.session.completed";
type DeliveryFault = Extract<FaultInput, { on: "delivery" }>;

describe("Stripe's deliveries at the product's webhook", () => {
  let rig: ApiRig;
  beforeEach(async () => {
    rig = await startApi({ retryDelaysMs: [1, 1, 1] });
    makeReady(rig.store, "claw-a");
    makeReady(rig.store, "claw-b");
  });
  afterEach(() => rig.close());

  const order = async () => {
    const { json } = await rig.ask("POST", "/v1/orders", orderBody({ customer: randomUUID() }));
    return { id: String(json.id), session: String(json.checkout_session) };
  };
  const state = async ({ id }: { id: string }) => (await rig.ask("GET", `/v1/orders/${id}`)).json.state;
  const fault = (effect: DeliveryFault["effect"], more: Partial<DeliveryFault> = {}) =>
    rig.stripe.faults.add({ on: "delivery", type: completed, ...more, effect });
  const statuses = () => rig.stripe.deliveries().map(({ status }) => status);
  /** Each machine that was claimed; a second one for the same order would be a machine given away. */
  const claims = () => rig.claimed.map(([machine]) => machine);

  it("that come twice and thrice claim one machine", async () => {
    fault({ kind: "duplicate", copies: 2 });
    const one = await order();
    await rig.stripe.console.buy(one.session).sent;
    assert.deepEqual([statuses(), claims()], [[200, 200, 200], ["claw-a"]]);
  });

  it("that tell of one payment by two events claim one machine", async () => {
    rig.stripe.faults.add({ on: "event", type: completed, effect: { kind: "twin" } });
    const one = await order();
    await rig.stripe.console.buy(one.session).sent;
    assert.equal(new Set(rig.stripe.deliveries().map(({ event }) => event)).size, 2);
    assert.deepEqual([statuses(), claims()], [[200, 200], ["claw-a"]]);
  });

  it("that are cut within the body change nothing, and are made good by the next try", async () => {
    fault({ kind: "drop" });
    const one = await order();
    await rig.stripe.console.buy(one.session).sent;
    assert.equal(await state(one), "awaiting-payment");
    await rig.stripe.settled();
    assert.deepEqual([statuses(), await state(one)], [[null, 200], "provisioning"]);
  });

  it("whose answer is lost have done their work, once", async () => {
    fault({ kind: "drop", when: "after" });
    const one = await order();
    await rig.stripe.console.buy(one.session).sent;
    await rig.stripe.settled();
    assert.deepEqual([statuses(), claims()], [[null, 200], ["claw-a"]]);
    assert.deepEqual(rig.store.flags(), []);
  });

  it("that are signed at another time, by nobody, or altered on the way are refused until a good one comes", async () => {
    fault({ kind: "sign", as: "stale" });
    fault({ kind: "sign", as: "foreign" });
    fault({ kind: "garble" });
    const one = await order();
    await rig.stripe.console.buy(one.session).sent;
    await rig.stripe.settled();
    assert.deepEqual([statuses(), await state(one)], [[400, 400, 400, 200], "provisioning"]);
    fault({ kind: "sign", as: "future" });
    const two = await order();
    await rig.stripe.console.buy(two.session).sent;
    await rig.stripe.settled();
    assert.deepEqual([statuses().slice(4), await state(two)], [[400, 200], "provisioning"]);
  });

  it("that are overtaken by the end of their subscription serve nobody", async () => {
    const one = await order();
    const { subscription } = rig.stripe.console.buy(one.session, { hold: true });
    rig.stripe.console.cancel(subscription.id, { hold: true });
    await rig.stripe.release(["customer.subscription.deleted"]);
    assert.deepEqual(
      rig.stripe.deliveries().map(({ type }) => type),
      ["customer.subscription.deleted", completed],
    );
    assert.deepEqual([await state(one), claims()], ["released", []]);
  });

  it("that never come leave the order waiting, until the event is sent again", async () => {
    fault({ kind: "lose" });
    const one = await order();
    const { events, sent } = rig.stripe.console.buy(one.session);
    await sent;
    assert.deepEqual([statuses(), await state(one)], [[], "awaiting-payment"]);
    await rig.stripe.console.resend(events.find(({ type }) => type === completed)?.id ?? "");
    assert.equal(await state(one), "provisioning");
  });

  it("are taken under the old and the new secret while one replaces the other", async () => {
    const buy = async () => {
      const one = await order();
      await rig.stripe.console.buy(one.session).sent;
      return state(one);
    };
    const [endpoint] = rig.stripe.account.destinations.keys();
    const fresh = rig.stripe.console.rollSecret(endpoint ?? "", 3_600);
    assert.equal(await buy(), "provisioning", "known: the old one");
    const { stripe } = rig.config;
    rig.config = { ...rig.config, stripe: { ...stripe, webhookSecrets: [new Secret(fresh)] } };
    assert.equal(await buy(), "provisioning", "known: the new one");
    rig.config = { ...rig.config, stripe };
    rig.clock.skip(3_600_000);
    assert.equal(await buy(), "awaiting-payment", "the old one's time is over");
    assert.equal(statuses().at(-1), 400);
  });

  it("may be of every type there is: what is not the product's business is answered and forgotten", async () => {
    rig.stripe.setWebhook(`${rig.url}/webhooks/stripe`, ["*"]);
    const one = await order();
    const { subscription, sent } = rig.stripe.console.buy(one.session);
    await sent;
    const { console: desk } = rig.stripe;
    await desk.renew(subscription.id).sent;
    await desk.failPayment(subscription.id).sent;
    await desk.paymentRecovers(subscription.id).sent;
    await desk.cancelAtPeriodEnd(subscription.id).sent;
    await desk.pause(subscription.id).sent;
    await desk.resume(subscription.id).sent;
    await desk.refund(subscription.id, { amount: 1 }).sent;
    await desk.dispute(subscription.id).sent;
    const types = new Set(rig.stripe.deliveries().map(({ type }) => type));
    assert(types.size > 20, String(types.size));
    assert.deepEqual(new Set(statuses()), new Set([200]));
    assert.equal(await state(one), "provisioning", "none of them ends an order");
  });

  it("as thin events of a destination beside the webhook, with a secret of its own, are the same events", async () => {
    const { stripe } = rig;
    const answer = await fetch(`${stripe.apiUrl}/v2/core/event_destinations`, {
      method: "POST",
      headers: { authorization: `Bearer ${stripe.key}`, "content-type": "application/json" },
      body: JSON.stringify({
        name: "thin",
        type: "webhook_endpoint",
        event_payload: "thin",
        enabled_events: [`v1.${completed}`],
        include: ["webhook_endpoint.signing_secret"],
        webhook_endpoint: { url: `${rig.url}/webhooks/stripe` },
      }),
    });
    const made = (await answer.json()) as { webhook_endpoint: { signing_secret: string } };
    const { webhookSecrets } = rig.config.stripe;
    const secrets = [...webhookSecrets, new Secret(made.webhook_endpoint.signing_secret)];
    rig.config = { ...rig.config, stripe: { ...rig.config.stripe, webhookSecrets: secrets } };
    const one = await order();
    await stripe.console.buy(one.session).sent;
    assert.deepEqual([statuses(), claims()], [[200, 200], ["claw-a"]]);
    const bodies = stripe.deliveries().map(({ requestBody }) => JSON.parse(requestBody).object);
    assert.deepEqual(bodies, ["event", "v2.core.event"]);
  });
});
