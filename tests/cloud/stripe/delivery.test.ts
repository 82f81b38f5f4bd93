import { strict as assert } from "node:assert";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Stripe } from "stripe";
import { VirtualClock } from "../../virtual-clock.ts";
import { retrySchedules } from "./retries.ts";
import { type Rig, startRig } from "./rig.ts";

/** What a purchase tells, as far as these tests listen. */
const bought = ["checkout.session.completed", "customer.subscription.created", "invoice.paid"];
const ends = ["checkout.session.expired", "customer.subscription.deleted"];

describe("webhooks of the stand-in for Stripe", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig({}, [...bought, ...ends]);
  });
  afterEach(() => rig.close());

  const verify = (secret: string, { raw, signature } = rig.received[0] ?? assert.fail("nothing received")) =>
    Stripe.webhooks.constructEvent(raw, signature, secret);

  it("send what the library verifies, the completion first", async () => {
    await rig.stripe.console.buy(rig.opened()).sent;
    assert.deepEqual(rig.types(), [
      "checkout.session.completed",
      "customer.subscription.created",
      "invoice.paid",
    ]);
    for (const received of rig.received) verify(rig.stripe.webhookSecret, received);
    assert.match(rig.received[0]?.signature ?? "", /^t=\d+,v1=[0-9a-f]{64},v0=[0-9a-f]{64}$/);
  });

  it("send only what an endpoint asked for, to every endpoint that is enabled", async () => {
    rig.stripe.setWebhook(rig.webhook, ["*"]);
    const { client } = rig;
    const other = await client.webhookEndpoints.create({
      url: rig.webhook,
      enabled_events: ["invoice.paid"],
    });
    assert(other.secret?.startsWith("whsec_"));
    assert.equal((await client.webhookEndpoints.retrieve(other.id)).secret, undefined);
    await rig.stripe.console.buy(rig.opened()).sent;
    assert.equal(rig.received.length, 12 + 1);
    const paid = rig.received.filter(({ json }) => json.type === "invoice.paid");
    assert.equal(paid.length, 2);
    verify(other.secret ?? "", paid[1]);
    await client.webhookEndpoints.update(other.id, { disabled: true });
    await rig.stripe.console.buy(rig.opened()).sent;
    assert.equal(rig.received.length, 13 + 12);
    await client.webhookEndpoints.del(other.id);
    assert.equal((await client.webhookEndpoints.list()).data.length, 1);
  });

  it("send in the order that is asked for, twice if that is asked for", async () => {
    const order = ["invoice.paid", "customer.subscription.created", "checkout.session.completed"];
    await rig.stripe.console.buy(rig.opened(), { order, duplicates: 1 }).sent;
    assert.deepEqual(rig.types(), [...order, ...order]);
  });

  it("hold events back and release them in another order, as they were made", async () => {
    const { subscription, sent } = rig.stripe.console.buy(rig.opened(), { hold: true });
    await sent;
    rig.stripe.console.cancel(subscription.id, { hold: true });
    assert.deepEqual(rig.types(), []);
    await rig.stripe.release(["customer.subscription.deleted"]);
    assert.deepEqual(rig.types().slice(0, 2), [
      "customer.subscription.deleted",
      "checkout.session.completed",
    ]);
    assert.equal(rig.types().length, 4);
    const objects = rig.received.map(({ json }) => (json.data as { object: Record<string, unknown> }).object);
    assert.equal(objects[0]?.status, "canceled");
    assert.equal(objects[2]?.status, "active", "as it was when the event was made");
  });

  it("repeat until a 2xx answers, signed anew, and log every try", async () => {
    rig.answers.push(500, 302);
    await rig.stripe.console.expire(rig.opened()).sent;
    await rig.stripe.settled();
    const tries = rig.stripe.deliveries();
    assert.deepEqual(
      tries.map(({ attempt, status }) => [attempt, status]),
      [
        [1, 500],
        [2, 302],
        [3, 200],
      ],
    );
    assert.equal(tries[0]?.responseBody, "seen");
    assert.equal(tries[0]?.requestBody, rig.received[0]?.raw.toString());
    assert.equal((await rig.client.events.list({ delivery_success: true })).data.length, 1);
  });

  it("give an event up after the last try, and say what the network said", async () => {
    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise<void>((resolve) => gone.close(() => resolve()));
    rig.stripe.setWebhook(`http://127.0.0.1:${port}/`);
    await rig.stripe.console.expire(rig.opened()).sent;
    await rig.stripe.settled();
    assert.equal(rig.stripe.deliveries().length, 4);
    for (const { status, error } of rig.stripe.deliveries()) {
      assert.equal(status, null);
      assert.match(error ?? "", /ECONNREFUSED/);
    }
    const [left] = (await rig.client.events.list({ delivery_success: false })).data;
    assert.equal(left?.pending_webhooks, 1);
    rig.stripe.setWebhook(rig.webhook);
    await rig.stripe.console.resend(left?.id ?? "");
    assert.deepEqual(rig.types(), ["checkout.session.expired"]);
  });

  describe("on a virtual clock", () => {
    const minute = 60_000;
    let clock: VirtualClock;
    let own: Rig;
    beforeEach(async () => {
      clock = new VirtualClock();
      own = await startRig({ clock, retryDelaysMs: retrySchedules.live }, ends);
    });
    afterEach(() => own.close());

    /** Lets a time pass and what it sets off arrive. */
    const pass = async (ms: number) => {
      await clock.advance(ms);
      await own.stripe.quiet();
    };

    it("back off for three days, and stop then", async () => {
      own.answers.push(...Array<number>(100).fill(500));
      await own.stripe.console.expire(own.opened()).sent;
      const start = clock.now();
      for (const pause of retrySchedules.live) await pass(pause);
      await own.stripe.settled();
      const times = own.stripe.deliveries().map(({ sentAt }) => (sentAt - start) / minute);
      assert.deepEqual(times.slice(0, 6), [0, 5, 15, 35, 75, 155]);
      assert.equal(times.at(-1), 72 * 60);
      for (const { requestHeaders, sentAt } of own.stripe.deliveries()) {
        const [time] = (requestHeaders["stripe-signature"] ?? "").split(",");
        assert.equal(time, `t=${Math.floor(sentAt / 1000)}`, "each try has its own time");
      }
      await pass(100 * 24 * 60 * minute);
      assert.equal(own.stripe.deliveries().length, times.length);
    });

    it("go to the new address when the endpoint moved meanwhile", async () => {
      own.stripe.setWebhook("http://127.0.0.1:1/", ends);
      await own.stripe.console.expire(own.opened()).sent;
      own.stripe.setWebhook(own.webhook, ends);
      await pass(5 * minute);
      await own.stripe.settled();
      assert.deepEqual(own.types(), ["checkout.session.expired"]);
    });

    it("give up at once when the endpoint was disabled meanwhile", async () => {
      own.answers.push(500);
      await own.stripe.console.expire(own.opened()).sent;
      const [endpoint] = (await own.client.webhookEndpoints.list()).data;
      await own.client.webhookEndpoints.update(endpoint?.id ?? "", { disabled: true });
      await pass(5 * minute);
      await own.stripe.settled();
      assert.equal(own.received.length, 1);
    });

    it("sign with both secrets while one takes over from the other", async () => {
      const [old] = [own.stripe.webhookSecret];
      const [endpoint] = own.stripe.account.destinations.keys();
      const fresh = own.stripe.console.rollSecret(endpoint ?? "", 3_600);
      const lastTry = async () => {
        await own.stripe.console.expire(own.opened()).sent;
        return own.received.at(-1);
      };
      const both = await lastTry();
      assert.equal(both?.signature.match(/v1=/g)?.length, 2);
      const at = clock.now();
      for (const secret of [old, fresh]) {
        Stripe.webhooks.constructEvent(
          both?.raw ?? "",
          both?.signature ?? "",
          secret ?? "",
          300,
          undefined,
          at,
        );
      }
      await pass(3_600_000);
      const late = await lastTry();
      assert.equal(late?.signature.match(/v1=/g)?.length, 1);
      const check = (secret: string) =>
        Stripe.webhooks.constructEvent(
          late?.raw ?? "",
          late?.signature ?? "",
          secret,
          300,
          undefined,
          clock.now(),
        );
      check(fresh);
      assert.throws(() => check(old ?? ""), Stripe.errors.StripeSignatureVerificationError);
    });

    it("are overtaken when a fault delays them", async () => {
      const { subscription } = own.bought();
      own.stripe.faults.add({ on: "delivery", object: subscription, effect: { kind: "delay", ms: minute } });
      await own.stripe.console.cancel(subscription).sent;
      await own.stripe.console.expire(own.opened()).sent;
      assert.deepEqual(own.types(), ["checkout.session.expired"]);
      await pass(minute);
      await own.stripe.settled();
      assert.deepEqual(own.types(), ["checkout.session.expired", "customer.subscription.deleted"]);
    });
  });

  describe("with thin events", () => {
    it("name their snapshot, and let the library fetch event and object", async () => {
      rig.stripe.setStyle("thin");
      const id = rig.opened();
      await rig.stripe.console.expire(id).sent;
      const [{ raw, signature } = assert.fail("nothing received")] = rig.received;
      const notification = rig.client.parseEventNotification(raw, signature, rig.stripe.webhookSecret);
      assert.equal(notification.type, "v1.checkout.session.expired");
      assert.equal(notification.snapshot_event, rig.stripe.account.events[0]?.id);
      assert(!("data" in notification));
      const session = await notification.fetchRelatedObject();
      assert.deepEqual([session.id, session.status], [id, "expired"]);
      const event = await notification.fetchEvent();
      assert.equal(event.id, notification.id);
      assert.equal((await rig.client.v2.core.events.retrieve(notification.id)).type, notification.type);
      assert.throws(() => verify(rig.stripe.webhookSecret), /thin event/);
    });

    it("go to destinations of API v2, which can be made, changed, disabled and removed", async () => {
      const { eventDestinations } = rig.client.v2.core;
      rig.stripe.setWebhook(null);
      const made = await eventDestinations.create({
        name: "thin",
        type: "webhook_endpoint",
        event_payload: "thin",
        enabled_events: ["v1.customer.subscription.deleted"],
        include: ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
        webhook_endpoint: { url: rig.webhook },
      });
      assert.equal(made.webhook_endpoint?.url, rig.webhook);
      const cancelOne = () => rig.stripe.console.cancel(rig.bought().subscription).sent;
      await cancelOne();
      assert.deepEqual(rig.types(), ["v1.customer.subscription.deleted"]);
      const [{ raw, signature } = assert.fail("nothing received")] = rig.received;
      rig.client.parseEventNotification(raw, signature, made.webhook_endpoint?.signing_secret ?? "");
      assert.equal((await eventDestinations.disable(made.id)).status, "disabled");
      await cancelOne();
      assert.equal(rig.received.length, 1);
      await eventDestinations.enable(made.id);
      const renamed = await eventDestinations.update(made.id, { name: "other" });
      assert.deepEqual([renamed.name, renamed.status], ["other", "enabled"]);
      await cancelOne();
      assert.equal(rig.received.length, 2);
      await eventDestinations.del(made.id);
      await assert.rejects(eventDestinations.retrieve(made.id), { statusCode: 404 });
      await assert.rejects(
        eventDestinations.create({
          name: "x",
          type: "amazon_eventbridge",
          event_payload: "thin",
          enabled_events: [],
        }),
        Stripe.errors.StripeInvalidRequestError,
      );
    });

    it("are listed by pages, which the library turns", async () => {
      for (let n = 0; n < 3; n++) rig.bought();
      const ids: string[] = [];
      for await (const { id } of rig.client.v2.core.events.list({ limit: 5 })) ids.push(id);
      assert.equal(new Set(ids).size, 36);
      const session = rig.opened();
      await rig.stripe.console.expire(session).sent;
      const { data } = await rig.client.v2.core.events.list({ object_id: session });
      assert.deepEqual(
        data.map(({ type }) => type),
        ["v1.checkout.session.expired"],
      );
    });
  });

  it("are worked over HTTP like from within", async () => {
    const id = rig.opened();
    const act = async (path: string, body: unknown) =>
      assert.equal((await rig.local(path, body)).status, 200, path);
    await act("buy", { session: id, paymentStatus: "unpaid" });
    await act("payment-succeeds", { session: id });
    const { subscription } = rig.stripe.account.session(id);
    await act("cancel-at-period-end", { subscription });
    await act("cancel-at-period-end", { subscription, undo: true });
    await act("pause", { subscription });
    await act("resume", { subscription });
    await act("pause-collection", { subscription, behavior: "void" });
    await act("pause-collection", { subscription, behavior: null });
    await act("renew", { subscription });
    await act("fail-payment", { subscription, final: "unpaid" });
    await act("recover", { subscription });
    await act("refund", { of: subscription, amount: 500 });
    const { json } = await rig.local("dispute", { of: rig.bought().subscription });
    await act("close-dispute", { dispute: (json.dispute as { id: string }).id, end: "lost" });
    await act("pass-time", {});
    await act("cancel", { subscription, duplicates: 1 });
    await rig.stripe.settled();
    const deleted = rig.types().filter((type) => type === "customer.subscription.deleted");
    assert.equal(deleted.length, 2);
    const [endpoint] = rig.stripe.account.destinations.keys();
    assert.match(String((await rig.local("roll-secret", { destination: endpoint })).json.secret), /^whsec_/);
    for (const [path, body] of [
      ["buy", { session: "cs_none" }],
      ["buy", { session: id, colour: "red" }],
      ["buy", {}],
      ["payment-fails", { session: id }],
      ["refund", { of: "ch_none" }],
      ["resume", { subscription }],
      ["webhook", { url: "nowhere" }],
    ] as const) {
      const { status, json } = await rig.local(path, body);
      assert(status === 400 || status === 404, `${path} ${JSON.stringify(body)}: ${status}`);
      assert.equal(json.error?.type, "invalid_request_error");
    }
    const { json: log } = await rig.local("deliveries");
    assert.equal((log as unknown as unknown[]).length, rig.stripe.deliveries().length);
    await act("webhook", { url: null });
    const before = rig.received.length;
    await act("expire", { session: rig.opened() });
    assert.equal(rig.received.length, before);
  });

  it("have a page to pay at that sends the buyer back to the shop, and shows what can be done then", async () => {
    const id = rig.opened();
    const url = String(rig.stripe.account.session(id).url);
    const page = async () => (await fetch(url)).text();
    const press = (action: string) =>
      fetch(url, { method: "POST", redirect: "manual", body: new URLSearchParams({ action }) });
    assert.match(await page(), /<button name="action" value="pay">Pay<\/button>/);
    const paid = await press("pay");
    assert.deepEqual(
      [paid.status, paid.headers.get("location")],
      [303, `https://shop.example/thanks?s=${id}`],
    );
    assert.equal(rig.types()[0], "checkout.session.completed");
    assert(!(await page()).includes('value="pay"'));
    for (const action of [
      "pause",
      "resume",
      "cancel-at-period-end",
      "keep-after-all",
      "fail-payment",
      "recover",
    ]) {
      assert((await page()).includes(`value="${action}"`), action);
      assert.equal((await press(action)).status, 303, action);
    }
    assert.equal((await press("refund")).status, 303);
    assert.equal((await press("fly")).status, 400);
    await press("cancel");
    assert.match(await page(), /the subscription is canceled/);
    assert.equal(rig.types().at(-1), "customer.subscription.deleted");
    assert.equal((await fetch(`${rig.stripe.apiUrl}/c/pay/cs_none`)).status, 404);
  });
});
