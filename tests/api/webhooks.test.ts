import { strict as assert } from "node:assert";
import { Stripe } from "stripe";
import { orderBody } from "../order/rig.ts";
import { makeReady } from "../store/rows.ts";
import { type ApiRig, startApi } from "./rig.ts";

describe("POST /webhooks/stripe", () => {
  let rig: ApiRig;
  beforeEach(async () => {
    rig = await startApi();
  });
  afterEach(() => rig.close());

  const post = async (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${rig.url}/webhooks/stripe`, { method: "POST", body, headers });
    return { status: answer.status, text: await answer.text() };
  };
  const sign = (payload: string, secret = rig.stripe.webhookSecret) =>
    Stripe.webhooks.generateTestHeaderString({ payload, secret });

  it("answers 200 once the payment is kept, without asking for a token", async () => {
    makeReady(rig.store, "claw-a");
    const { json } = await rig.ask("POST", "/v1/orders", orderBody());
    await rig.stripe.console.buy(String(json.checkout_session)).sent;
    assert.deepEqual(
      rig.stripe.deliveries().map(({ status }) => status),
      [200],
    );
    assert.equal((await rig.ask("GET", `/v1/orders/${json.id}`)).json.state, "provisioning");
  });

  it("reads the bytes as they are: a body with odd spacing verifies", async () => {
    const body = '{ "object":"event",\n\t"id":"evt_1", "type":"ping",  "created":1,"data":{"object":{}} }\n';
    assert.equal((await post(body, { "stripe-signature": sign(body) })).status, 200);
  });

  it("answers 400 to everything invalid, with nothing about why", async () => {
    const event = '{"object":"event","id":"evt_1","type":"ping","created":1,"data":{"object":{}}}';
    const cases: [string, string, Record<string, string>][] = [
      ["no signature", event, {}],
      ["an empty signature", event, { "stripe-signature": "" }],
      ["a foreign secret", event, { "stripe-signature": sign(event, "whsec_foreign") }],
      ["another body", `${event} `, { "stripe-signature": sign(event) }],
      ["a signed null", "null", { "stripe-signature": sign("null") }],
      ["compressed", event, { "stripe-signature": sign(`${event}\n`), "content-encoding": "gzip" }],
      ["no body", "", { "stripe-signature": sign("") }],
    ];
    const answers = await Promise.all(cases.map(([, body, headers]) => post(body, headers)));
    for (const [index, { status, text }] of answers.entries()) {
      assert.equal(status, 400, cases[index]?.[0]);
      assert.equal(text, answers[0]?.text);
    }
  });

  it("answers 413 above 256 kB, 404 to other methods", async () => {
    assert.equal((await post("x".repeat(256 * 1024 + 1))).status, 413);
    const get = await rig.ask("GET", "/webhooks/stripe");
    assert.equal(get.status, 404);
  });

  it("answers 503 when the store cannot keep the event, so that Stripe sends it again", async () => {
    const { json } = await rig.ask("POST", "/v1/orders", orderBody());
    const { acceptPayment } = rig.store;
    rig.store.acceptPayment = () => {
      throw new Error("disk full");
    };
    const { sent } = rig.stripe.console.buy(String(json.checkout_session), {
      order: ["checkout.session.completed"],
    });
    await sent;
    const [first] = rig.stripe.deliveries();
    assert.equal(first?.status, 503);
    assert(!first?.responseBody?.includes("disk full"));
    assert.equal((await rig.ask("GET", `/v1/orders/${json.id}`)).json.state, "awaiting-payment");
    rig.store.acceptPayment = acceptPayment;
    const body = first?.requestBody ?? "";
    assert.equal((await post(body, { "stripe-signature": sign(body) })).status, 200);
    assert.equal((await rig.ask("GET", `/v1/orders/${json.id}`)).json.state, "queued");
  });
});
