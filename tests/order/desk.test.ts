import { strict as assert } from "node:assert";
import { BorderError } from "../../pool/errors.ts";
import type { OrderId } from "../../pool/machine/machine.ts";
import { OrderRequestError } from "../../pool/order/request.ts";
import { makeReady } from "../store/rows.ts";
import { type DeskRig, orderBody, prices, startDesk } from "./rig.ts";

describe("OrderDesk.create", () => {
  let rig: DeskRig;
  beforeEach(async () => {
    rig = await startDesk();
  });
  afterEach(() => rig.close());

  it("makes a checkout that sells the plan and carries the order's id in reference and metadata", async () => {
    const order = await rig.desk.create(orderBody({ plan: "large" }));
    assert.match(order.id, /^ord_[a-z2-7]{24}$/);
    assert.equal(order.state, "awaiting-payment");
    assert.equal(order.checkoutUrl, `${rig.stripe.apiUrl}/c/pay/${order.checkoutSession}`);
    const session = rig.stripe.account.session(order.checkoutSession ?? "");
    assert.equal(session.client_reference_id, order.id);
    assert.deepEqual(session.metadata, { clawpool_order: order.id, clawpool_instance: "test" });
    assert.deepEqual((await rig.gateway.fetchSession(session.id))?.prices, [prices.large]);
  });

  it("keeps the environment sealed and makes a gateway token of its own for each order", async () => {
    const one = await rig.desk.create(orderBody());
    const two = await rig.desk.create(orderBody());
    const secrets = rig.store.agentSecrets(one.id);
    assert.deepEqual(secrets.env, { CLAW_MODEL_API_KEY: "sk-customer" });
    assert.equal(Buffer.from(secrets.gatewayToken, "base64url").length, 32);
    assert.notEqual(secrets.gatewayToken, rig.store.agentSecrets(two.id).gatewayToken);
    for (const call of rig.stripe.calls()) assert(!JSON.stringify(call).includes("sk-customer"));
  });

  it("hands a wanted model to the hand-over as the variable that callers cannot set", async () => {
    const order = await rig.desk.create(orderBody({ model: "anthropic/claude-opus-4-5" }));
    assert.equal(rig.store.agentSecrets(order.id).env.OPENCLAW_MODEL, "anthropic/claude-opus-4-5");
  });

  it("gives the same order for the same key and request, and refuses the key for another", async () => {
    const key = { idempotencyKey: "4f6d" };
    const [one, two] = await Promise.all([
      rig.desk.create(orderBody(), key),
      rig.desk.create(orderBody(), key),
    ]);
    assert.equal(two.id, one.id);
    assert.equal(two.checkoutSession, one.checkoutSession);
    assert.equal((await rig.desk.create(orderBody(), key)).id, one.id);
    assert.equal(rig.store.orders().length, 1);
    for (const other of [orderBody({ plan: "large" }), orderBody({ env: { CLAW_MODEL_API_KEY: "other" } })]) {
      await assert.rejects(
        rig.desk.create(other, key),
        (error) => error instanceof OrderRequestError && error.kind === "conflict",
      );
    }
  });

  it("makes the missing checkout when a crash came between row and session", async () => {
    const key = { idempotencyKey: "crash" };
    const { id } = await rig.desk.create(orderBody({ checkout: "caller" }), key);
    assert.equal(rig.store.order(id)?.checkoutSession, null);
    assert((await rig.desk.create(orderBody(), key)).checkoutSession !== null);
  });

  it("writes nothing when Stripe fails, and says what kind of failure it was", async () => {
    for (const [status, kind] of [
      [503, "transient"],
      [429, "transient"],
      [401, "auth"],
      [400, "permanent"],
    ] as const) {
      rig.stripe.faults.add({
        on: "call",
        method: "POST",
        path: "/v1/checkout/sessions",
        effect: { kind: "answer", status },
      });
      await assert.rejects(
        rig.desk.create(orderBody()),
        (error) => error instanceof BorderError && error.border === "stripe" && error.kind === kind,
      );
    }
    assert.deepEqual(rig.store.orders(), []);
  });

  it("takes a session that the caller made for this plan, and no other", async () => {
    const made = (price: string) =>
      rig.gateway.createCheckout({
        reference: "cart-77",
        price,
        successUrl: "https://shop.example/",
        cancelUrl: "https://shop.example/",
        metadata: {},
        idempotencyKey: `test:${price}`,
      });
    const cheap = await made(prices.small);
    const dear = orderBody({ plan: "large", checkout_session: cheap.session });
    await assert.rejects(rig.desk.create(dear), /does not sell this plan/);
    await assert.rejects(rig.desk.create(orderBody({ checkout_session: "cs_test_none" })), /no such session/);
    const order = await rig.desk.create(orderBody({ checkout_session: cheap.session }));
    assert.equal(order.checkoutSession, cheap.session);
    await assert.rejects(rig.desk.create(orderBody({ checkout_session: cheap.session })), /another order/);
    makeReady(rig.store, "claw-a");
    await rig.stripe.console.buy(cheap.session).sent;
    assert.equal(rig.store.order(order.id)?.state, "provisioning");
    assert.equal(await rig.desk.confirmation(order.id), "agreed");
  });

  it("accepts at once when the caller's session was paid before the order came", async () => {
    makeReady(rig.store, "claw-a");
    const { session } = await rig.gateway.createCheckout({
      reference: "cart-78",
      price: prices.small,
      successUrl: "https://shop.example/",
      cancelUrl: "https://shop.example/",
      metadata: {},
      idempotencyKey: "test:early",
    });
    await rig.stripe.console.buy(session).sent;
    assert.equal(rig.outcomes[0]?.kind, "unknown-order");
    const told = () => rig.store.flags().map(({ kind, subject }) => [kind, subject]);
    assert.deepEqual(told(), [["payment-for-unknown-order", session]]);
    const order = await rig.desk.create(orderBody({ checkout_session: session }));
    assert.equal(order.state, "provisioning");
    assert.deepEqual(rig.claimed, [["claw-a", order.id]]);
    assert.deepEqual(told(), [], "nobody refunds a customer who is served");
  });

  it("estimates the wait by place in the queue, parallel builds and measured build time", async () => {
    const orders = [];
    for (let n = 0; n < 3; n++) {
      const order = await rig.desk.create(orderBody());
      await rig.stripe.console.buy(order.checkoutSession ?? "").sent;
      orders.push(rig.store.order(order.id));
    }
    assert.deepEqual(
      orders.map((order) => order && rig.desk.estimate(order)),
      [
        { position: 1, waitMs: 90_000 },
        { position: 2, waitMs: 90_000 },
        { position: 3, waitMs: 180_000 },
      ],
    );
    const unpaid = await rig.desk.create(orderBody());
    assert.equal(rig.desk.estimate(unpaid), null);
    const large = await rig.desk.create(orderBody({ plan: "large" }));
    await rig.stripe.console.buy(large.checkoutSession ?? "").sent;
    const queued = rig.store.order(large.id as OrderId);
    assert.deepEqual(queued && rig.desk.estimate(queued), { position: 1, waitMs: null });
  });
});
