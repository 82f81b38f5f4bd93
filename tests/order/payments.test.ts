import { strict as assert } from "node:assert";
import { Stripe } from "stripe";
import { InvalidWebhookError } from "../../pool/stripe/stripe.ts";
import { makeReady } from "../store/rows.ts";
import { type DeskRig, orderBody, prices, startDesk } from "./rig.ts";

describe("payments", () => {
  let rig: DeskRig;
  beforeEach(async () => {
    rig = await startDesk({ retryDelaysMs: [1, 1, 1, 1] });
  });
  afterEach(() => rig.close());

  const order = async (change: Record<string, unknown> = {}) => {
    const { id, checkoutSession } = await rig.desk.create(orderBody(change));
    assert(checkoutSession);
    return { id, session: checkoutSession, state: () => rig.store.order(id)?.state };
  };
  const history = () => rig.store.auditRows().map(({ actor, action }) => `${actor} ${action}`);

  it("claims a ready machine in the order's region and tells of it after the commit", async () => {
    makeReady(rig.store, "claw-us", { location: "ash" });
    makeReady(rig.store, "claw-eu", { location: "nbg1" });
    const { id, session, state } = await order();
    await rig.stripe.console.buy(session).sent;
    assert.equal(state(), "provisioning");
    assert.deepEqual(rig.claimed, [["claw-eu", id]]);
    assert.equal(await rig.desk.confirmation(id), "agreed");
  });

  it("queues when there is none in the region", async () => {
    makeReady(rig.store, "claw-us", { location: "ash" });
    const { id, session, state } = await order();
    await rig.stripe.console.buy(session).sent;
    assert.equal(state(), "queued");
    assert.deepEqual([rig.queued, rig.claimed], [[id], []]);
  });

  it("claims once, however often the event and its twins come", async () => {
    makeReady(rig.store, "claw-a");
    makeReady(rig.store, "claw-b");
    const { id, session } = await order();
    await rig.stripe.console.buy(session, { duplicates: 2 }).sent;
    assert.deepEqual(rig.claimed, [["claw-a", id]]);
    const kinds = rig.outcomes.map(({ kind }) => kind).filter((kind) => kind !== "ignored");
    assert.deepEqual(kinds, ["claimed", "duplicate", "duplicate"]);
    assert.deepEqual(rig.store.flags(), []);
  });

  it("is repeated by Stripe until it could be kept", async () => {
    makeReady(rig.store, "claw-a");
    const { session, state } = await order();
    rig.answerWith = 503;
    await rig.stripe.console.buy(session, { order: ["checkout.session.completed"] }).sent;
    assert.equal(state(), "awaiting-payment");
    rig.answerWith = null;
    await rig.stripe.settled();
    assert.equal(state(), "provisioning");
  });

  it("takes thin events as it takes snapshots, and both for the same change once", async () => {
    makeReady(rig.store, "claw-a");
    const { id, session } = await order();
    rig.stripe.setStyle("thin");
    await rig.stripe.console.buy(session, { duplicates: 1 }).sent;
    assert.deepEqual(rig.claimed, [["claw-a", id]]);
    const ids = new Set(rig.stripe.deliveries().map(({ requestBody }) => JSON.parse(requestBody).object));
    assert.deepEqual([...ids], ["v2.core.event"]);
  });

  it("waits for an asynchronous payment, and serves when it clears", async () => {
    makeReady(rig.store, "claw-a");
    const { session, state } = await order();
    await rig.stripe.console.buy(session, { paymentStatus: "unpaid" }).sent;
    assert.equal(state(), "awaiting-payment");
    await rig.stripe.console.paymentSucceeds(session).sent;
    assert.equal(state(), "provisioning");
  });

  it("serves when the clearing is told before the completion", async () => {
    makeReady(rig.store, "claw-a");
    const { session, state } = await order();
    rig.stripe.console.buy(session, { paymentStatus: "unpaid", hold: true });
    await rig.stripe.console.paymentSucceeds(session, { hold: true }).sent;
    await rig.stripe.release(["checkout.session.async_payment_succeeded", "checkout.session.completed"]);
    assert.equal(state(), "provisioning");
  });

  it("expires an order whose payment does not clear or whose checkout runs out", async () => {
    const failing = await order();
    await rig.stripe.console.buy(failing.session, { paymentStatus: "unpaid" }).sent;
    await rig.stripe.console.paymentFails(failing.session).sent;
    assert.equal(failing.state(), "expired");
    const left = await order();
    await rig.stripe.console.expire(left.session).sent;
    assert.equal(left.state(), "expired");
  });

  it("serves an order whose first payment did not clear and was collected later, with the payment confirmed", async () => {
    makeReady(rig.store, "claw-a");
    const { id, session, state } = await order();
    const { subscription, sent } = rig.stripe.console.buy(session, { paymentStatus: "unpaid" });
    await sent;
    await rig.stripe.console.paymentFails(session).sent;
    assert.equal(state(), "expired");
    rig.store.flag("subscription-unserved", subscription.id, "by the sweep");
    await rig.stripe.console.paymentRecovers(subscription.id).sent;
    assert.equal(state(), "provisioning");
    assert.deepEqual(rig.claimed, [["claw-a", id]]);
    assert.equal(await rig.desk.confirmation(id), "agreed");
    assert.deepEqual(rig.store.flags(), []);
    assert.equal(rig.store.order(id)?.subscription, subscription.id);
    await rig.stripe.console.cancel(subscription.id).sent;
    assert.equal(state(), "releasing");
  });

  it("serves nobody whose subscription is active while its first debit is on its way, or was paid back", async () => {
    makeReady(rig.store, "claw-a");
    const { session, state } = await order();
    const { subscription, sent } = rig.stripe.console.buy(session, { paymentStatus: "unpaid" });
    await sent;
    assert.equal(rig.stripe.account.subscription(subscription.id).status, "active");
    assert.equal(state(), "awaiting-payment");
    rig.stripe.console.paymentFails(session, { hold: true });
    rig.stripe.console.paymentRecovers(subscription.id, { hold: true });
    await rig.stripe.console.refund(subscription.id, { hold: true }).sent;
    await rig.stripe.release(["checkout.session.async_payment_failed", "customer.subscription.updated"]);
    assert.equal(state(), "expired");
    assert.deepEqual(rig.claimed, []);
  });

  it("does not believe a signed expiry of a session that was paid", async () => {
    const { session, state } = await order();
    const { events } = rig.stripe.console.buy(session, { hold: true });
    const completed = events.find(({ type }) => type === "checkout.session.completed");
    const payload = JSON.stringify({ ...completed, id: "evt_1forged", type: "checkout.session.expired" });
    const header = Stripe.webhooks.generateTestHeaderString({ payload, secret: rig.stripe.webhookSecret });
    await rig.desk.webhook(Buffer.from(payload), header);
    assert.equal(state(), "queued");
  });

  it("ends the order after the grace when the subscription is over", async () => {
    makeReady(rig.store, "claw-a");
    const { id, session, state } = await order();
    const { subscription, sent } = rig.stripe.console.buy(session);
    await sent;
    await rig.stripe.console.cancel(subscription.id).sent;
    assert.equal(state(), "releasing");
    assert.deepEqual(rig.ended, [id]);
    const ended = rig.store.order(id);
    assert.equal((ended?.releaseAt ?? 0) - (ended?.endedAt ?? 0) >= 3_600_000 - 1_000, true);
    assert.match(ended?.reason ?? "", /cancellation_requested/);
  });

  it("serves nobody whose subscription ended before the payment was told", async () => {
    makeReady(rig.store, "claw-a");
    const { session, state } = await order();
    const { subscription } = rig.stripe.console.buy(session, { hold: true });
    await rig.stripe.console.cancel(subscription.id, { hold: true }).sent;
    await rig.stripe.release(["customer.subscription.deleted", "checkout.session.completed"]);
    assert.equal(state(), "released");
    assert.deepEqual(rig.claimed, []);
  });

  it("does not end a subscription that Stripe shows as active, but flags the event", async () => {
    makeReady(rig.store, "claw-a");
    const { session, state } = await order();
    const { subscription, sent } = rig.stripe.console.buy(session);
    await sent;
    const payload = JSON.stringify({
      id: "evt_1forged",
      object: "event",
      type: "customer.subscription.deleted",
      created: 1,
      data: { object: { ...subscription, status: "canceled" } },
    });
    const header = Stripe.webhooks.generateTestHeaderString({ payload, secret: rig.stripe.webhookSecret });
    assert.deepEqual(await rig.desk.webhook(Buffer.from(payload), header), { kind: "disagreed" });
    assert.equal(state(), "provisioning");
    assert.deepEqual(
      rig.store.flags().map(({ kind, subject }) => [kind, subject]),
      [["stripe-disagrees", subscription.id]],
    );
  });

  describe("a subscription that was never paid for the first time", () => {
    const updated = async (object: object) => {
      const payload = JSON.stringify({
        id: `evt_1updated${rig.stripe.calls().length}`,
        object: "event",
        type: "customer.subscription.updated",
        created: 1,
        data: { object },
      });
      const header = Stripe.webhooks.generateTestHeaderString({ payload, secret: rig.stripe.webhookSecret });
      return rig.desk.webhook(Buffer.from(payload), header);
    };
    const running = async () => {
      makeReady(rig.store, "claw-a");
      const { id, session, state } = await order();
      const { subscription, sent } = rig.stripe.console.buy(session);
      await sent;
      await rig.desk.confirmation(id);
      return { id, state, subscription: rig.stripe.account.subscription(subscription.id) };
    };

    it("ends its order when it expires, which only an update tells", async () => {
      const { id, state, subscription } = await running();
      subscription.status = "incomplete_expired";
      assert.equal((await updated(subscription)).kind, "ended");
      assert.equal(state(), "releasing");
      assert.deepEqual(rig.ended, [id]);
    });

    it("is asked for when a thin event says nothing of its state", async () => {
      const { state, subscription } = await running();
      subscription.status = "incomplete_expired";
      const payload = JSON.stringify({
        id: "evt_thin",
        object: "v2.core.event",
        type: "v1.customer.subscription.updated",
        created: new Date().toISOString(),
        related_object: { id: subscription.id, type: "subscription" },
      });
      const header = Stripe.webhooks.generateTestHeaderString({ payload, secret: rig.stripe.webhookSecret });
      await rig.desk.webhook(Buffer.from(payload), header);
      assert.equal(state(), "releasing");
    });

    it("is not changed by what an update says, only by what Stripe shows", async () => {
      const { state, subscription } = await running();
      for (const status of ["past_due", "unpaid", "paused", "incomplete_expired", "a word of next year"]) {
        assert.equal((await updated({ ...subscription, status })).kind, "reviewed");
      }
      assert.equal(state(), "provisioning");
      const [order] = rig.store.orders();
      assert.deepEqual([order?.suspendedFor, order?.endedAt, rig.store.flags()], [null, null, []]);
    });
  });

  it("keeps nothing and asks for the event again when Stripe cannot be asked", async () => {
    makeReady(rig.store, "claw-a");
    const { session, state } = await order();
    const { subscription, sent } = rig.stripe.console.buy(session);
    await sent;
    rig.stripe.faults.add({
      on: "call",
      path: "/v1/subscriptions/*",
      times: 2,
      effect: { kind: "answer", status: 500 },
    });
    await rig.stripe.console.cancel(subscription.id).sent;
    assert.equal(state(), "provisioning");
    await rig.stripe.settled();
    assert.equal(state(), "releasing");
  });

  it("keeps and flags a payment for an order that nobody knows", async () => {
    const { session } = await rig.gateway.createCheckout({
      reference: `ord_${"a".repeat(24)}`,
      price: prices.small,
      successUrl: "https://shop.example/",
      cancelUrl: "https://shop.example/",
      metadata: {},
      idempotencyKey: "test:unknown",
    });
    const before = history().length;
    await rig.stripe.console.buy(session).sent;
    const told = ["daemon flag.payment-for-unknown-order", "stripe payment.unknown-order"];
    assert.deepEqual(history().slice(before), told);
    assert.deepEqual(
      rig.store.flags().map(({ kind, subject }) => [kind, subject]),
      [["payment-for-unknown-order", session]],
    );
  });

  it("leaves payments for another installation and for other goods of the account alone", async () => {
    const { session } = await rig.gateway.createCheckout({
      reference: `ord_${"b".repeat(24)}`,
      price: prices.small,
      successUrl: "https://shop.example/",
      cancelUrl: "https://shop.example/",
      metadata: { clawpool_order: `ord_${"b".repeat(24)}`, clawpool_instance: "another" },
      idempotencyKey: "test:foreign",
    });
    const { events, sent } = rig.stripe.console.buy(session, { order: ["checkout.session.completed"] });
    await sent;
    const completed = events.find(({ type }) => type === "checkout.session.completed");
    const goods = { ...completed?.data.object, id: "cs_test_mug", mode: "payment", metadata: {} };
    const payload = JSON.stringify({ ...completed, id: "evt_1mug", data: { object: goods } });
    const header = Stripe.webhooks.generateTestHeaderString({ payload, secret: rig.stripe.webhookSecret });
    assert.deepEqual(await rig.desk.webhook(Buffer.from(payload), header), { kind: "ignored" });
    assert.equal(rig.outcomes[0]?.kind, "ignored");
    assert.deepEqual(rig.store.flags(), []);
  });

  it("does not let a second session take over an order that has one", async () => {
    makeReady(rig.store, "claw-a");
    const { id, state } = await order();
    const { session } = await rig.gateway.createCheckout({
      reference: id,
      price: prices.small,
      successUrl: "https://shop.example/",
      cancelUrl: "https://shop.example/",
      metadata: {},
      idempotencyKey: "test:takeover",
    });
    await rig.stripe.console.buy(session).sent;
    assert.equal(state(), "awaiting-payment");
    assert.equal(rig.store.flags()[0]?.kind, "payment-for-unknown-order");
  });

  it("takes the caller's own checkout by its reference", async () => {
    makeReady(rig.store, "claw-a");
    const { id } = await rig.desk.create(orderBody({ checkout: "caller" }));
    const { session } = await rig.gateway.createCheckout({
      reference: id,
      price: prices.small,
      successUrl: "https://shop.example/",
      cancelUrl: "https://shop.example/",
      metadata: {},
      idempotencyKey: "test:caller",
    });
    await rig.stripe.console.buy(session).sent;
    assert.deepEqual(rig.claimed, [["claw-a", id]]);
    assert.equal(await rig.desk.confirmation(id), "agreed");
  });

  it("refuses what Stripe did not sign", async () => {
    await assert.rejects(rig.desk.webhook(Buffer.from("{}"), "t=1,v1=00"), InvalidWebhookError);
    await assert.rejects(rig.desk.webhook(Buffer.from("{}"), undefined), InvalidWebhookError);
  });

  describe("confirmation", () => {
    it("disagrees with a forged payment: signed, but unpaid at Stripe", async () => {
      makeReady(rig.store, "claw-a");
      const { id, session } = await order();
      const shown = { ...rig.stripe.account.session(session), status: "complete", payment_status: "paid" };
      const payload = JSON.stringify({
        id: "evt_1forged",
        object: "event",
        type: "checkout.session.completed",
        created: 1,
        data: { object: shown },
      });
      const header = Stripe.webhooks.generateTestHeaderString({ payload, secret: rig.stripe.webhookSecret });
      assert.equal((await rig.desk.webhook(Buffer.from(payload), header)).kind, "claimed");
      assert.equal(await rig.desk.confirmation(id), "disagreed");
      assert.equal(rig.store.flags()[0]?.kind, "payment-disagreed");
    });

    it("disagrees when a caller's checkout sells another plan's price", async () => {
      makeReady(rig.store, "claw-l", { plan: "large", pool: "large" });
      const { id } = await rig.desk.create(orderBody({ plan: "large", checkout: "caller" }));
      const { session } = await rig.gateway.createCheckout({
        reference: id,
        price: prices.small,
        successUrl: "https://shop.example/",
        cancelUrl: "https://shop.example/",
        metadata: {},
        idempotencyKey: "test:cheap",
      });
      await rig.stripe.console.buy(session).sent;
      assert.equal(await rig.desk.confirmation(id), "disagreed");
      assert.match(rig.store.flags()[0]?.text ?? "", /price_small.*price_large/);
    });

    it("still agrees to our own checkout after the plan's price was changed", async () => {
      makeReady(rig.store, "claw-a");
      const { id, session } = await order();
      rig.config = { ...rig.config, plans: [{ name: "small", price: "price_of_next_year" }] };
      await rig.stripe.console.buy(session).sent;
      assert.equal(await rig.desk.confirmation(id), "agreed");
    });

    it("asks Stripe once for all who wait, and again after a restart or a failure", async () => {
      makeReady(rig.store, "claw-a");
      const { id, session } = await order();
      await rig.stripe.console.buy(session).sent;
      const asked = () =>
        rig.stripe.calls().filter(({ method, path }) => method === "GET" && path.includes("session"));
      await Promise.all([rig.desk.confirmation(id), rig.desk.confirmation(id)]);
      assert.equal(asked().length, 1);
      const restarted = rig.restarted();
      rig.stripe.faults.add({
        on: "call",
        path: "/v1/checkout/sessions/*",
        effect: { kind: "answer", status: 500 },
      });
      await assert.rejects(restarted.confirmation(id), /could not fetch checkout session/);
      assert.equal(await restarted.confirmation(id), "agreed");
      assert.equal(asked().length, 3);
      rig.clock.skip(60_000);
      await restarted.confirmation(id);
      assert.equal(asked().length, 4);
    });
  });
});
