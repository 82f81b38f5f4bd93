import { strict as assert } from "node:assert";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import getRawBody from "raw-body";
import { Stripe } from "stripe";
import { openSession } from "./state/checkout.ts";
import { type LocalStripe, startStripe } from "./stripe.ts";

interface Received {
  readonly raw: Buffer;
  readonly signature: string;
}

/** What a purchase tells, as far as these tests listen, in the order in which it is sent. */
const bought = [
  "checkout.session.completed",
  "customer.subscription.created",
  "invoice.paid",
  "checkout.session.async_payment_succeeded",
  "checkout.session.expired",
  "customer.subscription.deleted",
];

describe("webhooks of the stand-in for Stripe", () => {
  let stripe: LocalStripe;
  let shop: Server;
  let webhook: string;
  let received: Received[];
  /** Statuses of the next answers; 200 when there are no more. */
  let answers: number[];

  beforeEach(async () => {
    received = [];
    answers = [];
    shop = createServer(async (request, response) => {
      const raw = await getRawBody(request);
      received.push({ raw, signature: String(request.headers["stripe-signature"]) });
      response.writeHead(answers.shift() ?? 200, { location: "/elsewhere" });
      response.end("seen");
    });
    await new Promise<void>((resolve) => shop.listen(0, "127.0.0.1", resolve));
    webhook = `http://127.0.0.1:${(shop.address() as AddressInfo).port}/hook`;
    stripe = await startStripe({ prices: ["price_1"], retryDelaysMs: [1, 1, 1] });
    stripe.setWebhook(webhook, bought);
  });
  afterEach(async () => {
    await stripe.close();
    await new Promise<void>((resolve) => {
      shop.close(() => resolve());
      shop.closeAllConnections();
    });
  });

  const session = () =>
    openSession(stripe.account, {
      items: [{ price: "price_1", quantity: 1 }],
      successUrl: "https://shop.example/thanks?s={CHECKOUT_SESSION_ID}",
    }).id;
  const types = () => received.map(({ raw }) => JSON.parse(raw.toString()).type);
  const post = async (path: string, body: unknown = {}) => {
    const answer = await fetch(`${stripe.apiUrl}${path}`, { method: "POST", body: JSON.stringify(body) });
    return { status: answer.status, json: (await answer.json()) as Record<string, unknown> };
  };

  it("sends what the library verifies, completion first", async () => {
    await stripe.console.buy(session()).sent;
    assert.deepEqual(types(), [
      "checkout.session.completed",
      "customer.subscription.created",
      "invoice.paid",
    ]);
    for (const { raw, signature } of received) {
      Stripe.webhooks.constructEvent(raw, signature, stripe.webhookSecret);
    }
  });

  it("sends in the order that is asked for, twice if that is asked for", async () => {
    const order = ["invoice.paid", "customer.subscription.created", "checkout.session.completed"];
    await stripe.console.buy(session(), { order, duplicates: 1 }).sent;
    assert.deepEqual(types(), [...order, ...order]);
  });

  it("holds events back and releases them in another order", async () => {
    const { subscription, sent } = stripe.console.buy(session(), { hold: true });
    await sent;
    stripe.console.cancel(subscription.id, { hold: true });
    assert.deepEqual(types(), []);
    await stripe.release(["customer.subscription.deleted"]);
    assert.equal(types()[0], "customer.subscription.deleted");
    assert.equal(types().length, 4);
    const [deleted, completed] = received.map(({ raw }) => JSON.parse(raw.toString()));
    assert.equal(deleted.data.object.status, "canceled");
    assert.equal(completed.data.object.payment_status, "paid", "as it was when the event was made");
  });

  it("repeats until a 2xx answers, signed anew, and logs every try", async () => {
    answers = [500, 302];
    await stripe.console.expire(session()).sent;
    await stripe.settled();
    assert.deepEqual(
      stripe.deliveries().map(({ attempt, status }) => [attempt, status]),
      [
        [1, 500],
        [2, 302],
        [3, 200],
      ],
    );
    const [first] = stripe.deliveries();
    assert.equal(first?.responseBody, "seen");
    assert.equal(first?.requestBody, received[0]?.raw.toString());
    assert((first?.answeredAt ?? 0) >= (first?.sentAt ?? Number.POSITIVE_INFINITY));
    assert.equal(stripe.account.events[0]?.pending_webhooks, 0);
  });

  it("gives an event up after its last try, and says what the network said", async () => {
    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise<void>((resolve) => gone.close(() => resolve()));
    stripe.setWebhook(`http://127.0.0.1:${port}/`, bought);
    await stripe.console.expire(session()).sent;
    await stripe.settled();
    assert.equal(stripe.deliveries().length, 4);
    for (const { status, error } of stripe.deliveries()) {
      assert.equal(status, null);
      assert.match(error ?? "", /ECONNREFUSED/);
    }
    assert.equal(stripe.account.events[0]?.pending_webhooks, 1);
  });

  it("sends thin notifications that name their snapshot", async () => {
    stripe.setStyle("thin");
    const id = session();
    await stripe.console.expire(id).sent;
    const [{ raw, signature } = { raw: Buffer.alloc(0), signature: "" }] = received;
    const url = new URL(stripe.apiUrl);
    const client = new Stripe(stripe.key, { host: url.hostname, port: url.port, protocol: "http" });
    const event = client.parseEventNotification(raw, signature, stripe.webhookSecret);
    assert.equal(event.type, "v1.checkout.session.expired");
    const json = JSON.parse(raw.toString());
    assert.equal(json.snapshot_event, stripe.account.events[0]?.id);
    assert.equal(json.related_object.url, `/v1/checkout/sessions/${id}`);
  });

  it("is worked over HTTP like from within", async () => {
    const id = session();
    assert.equal((await post("/_local/buy", { session: id, paymentStatus: "unpaid" })).status, 200);
    assert.equal((await post("/_local/payment-succeeds", { session: id })).status, 200);
    const { subscription } = stripe.account.session(id);
    assert.equal((await post("/_local/cancel", { subscription, duplicates: 1 })).status, 200);
    assert.deepEqual(types(), [
      "checkout.session.completed",
      "customer.subscription.created",
      "invoice.paid",
      "checkout.session.async_payment_succeeded",
      "customer.subscription.deleted",
      "customer.subscription.deleted",
    ]);
    for (const [path, body] of [
      ["/_local/buy", { session: "cs_none" }],
      ["/_local/buy", { session: id, colour: "red" }],
      ["/_local/buy", {}],
      ["/_local/payment-fails", { session: id }],
      ["/_local/webhook", { url: "nowhere" }],
    ] as const) {
      const { status } = await post(path, body);
      assert(status === 400 || status === 404, `${path} ${JSON.stringify(body)}: ${status}`);
    }
    const log = await fetch(`${stripe.apiUrl}/_local/deliveries`);
    assert.equal(((await log.json()) as unknown[]).length, 6);
    await post("/_local/webhook", { url: null });
    const other = session();
    await post("/_local/expire", { session: other });
    assert.equal(types().length, 6);
  });

  it("has a page to pay at that sends the buyer back to the shop", async () => {
    const id = session();
    const url = String(stripe.account.session(id).url);
    assert.match(await (await fetch(url)).text(), /<button name="action" value="pay">Pay<\/button>/);
    const paid = await fetch(url, { method: "POST", redirect: "manual" });
    assert.deepEqual(
      [paid.status, paid.headers.get("location")],
      [303, `https://shop.example/thanks?s=${id}`],
    );
    assert.equal(types()[0], "checkout.session.completed");
    assert(!(await (await fetch(url)).text()).includes('value="pay"'));
  });
});
