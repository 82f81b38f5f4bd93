/** A failed order that is started again is served by what Stripe says now, not by what was known when it failed. */
import { strict as assert } from "node:assert";
import { BorderError } from "../../pool/errors.ts";
import type { OrderId } from "../../pool/machine/machine.ts";
import { createRetryOrder, RetryRefusedError } from "../../pool/order/retry.ts";
import type { Reviewer } from "../../pool/order/review.ts";
import { startLife } from "../machine/fakes.ts";
import { failure, limits, makeReady, newOrder, pay } from "../store/rows.ts";
import { buyOrder, type DeskRig, startDesk } from "./rig.ts";

const ada = "person:ada";

describe("a failed order that is started again", () => {
  let rig: DeskRig;
  let id: OrderId;
  let subscription: string;
  const order = () => rig.store.order(id) ?? assert.fail();
  const stripe = () => rig.stripe.console;
  const fail = () =>
    rig.store.recordHandOverFailure(order().machine ?? assert.fail(), failure, { ...limits, again: false });

  beforeEach(async () => {
    rig = await startDesk({ retryDelaysMs: [1] });
    ({ id, subscription } = await buyOrder(rig));
    assert.equal(order().state, "provisioning");
    makeReady(rig.store, "claw-b");
    rig.claimed.length = 0;
  });
  afterEach(() => rig.close());

  it("takes no machine when its customer has paused meanwhile, and one when that is over", async () => {
    fail();
    await stripe().pause(subscription).sent;
    assert.equal(order().suspendedFor, null, "nobody looks at a failed order");
    const again = await rig.desk.retry(id, ada);
    assert.deepEqual([again.state, again.suspendedFor, again.machine], ["queued", "paused", null]);
    assert.deepEqual(rig.claimed, []);
    await stripe().resume(subscription).sent;
    const pool = { name: "small", plan: "small", locationsOf: () => ["fsn1"] };
    assert.equal(rig.store.claimForQueue(pool)?.order.id, id);
  });

  it("is served at once when its suspension is over", async () => {
    await stripe().pause(subscription).sent;
    fail();
    await stripe().resume(subscription).sent;
    assert.equal(order().suspendedFor, "paused", "nobody looks at a failed order");
    const again = await rig.desk.retry(id, ada);
    assert.deepEqual([again.state, again.suspendedFor], ["provisioning", null]);
    assert.deepEqual(rig.claimed, [["claw-b", id]]);
  });

  it("is told as disputed when it was disputed meanwhile", async () => {
    fail();
    await stripe().dispute(subscription).sent;
    assert.equal((await rig.desk.retry(id, ada)).suspendedFor, "disputed");
    assert.deepEqual(
      rig.store.flags().map(({ kind, subject }) => [kind, subject]),
      [["dispute", id]],
    );
  });

  it("is refused when its subscription has ended and no webhook told of it", async () => {
    fail();
    stripe().cancel(subscription, { hold: true });
    await assert.rejects(rig.desk.retry(id, ada), (error) => {
      return error instanceof RetryRefusedError && /subscription of order .* has ended/.test(error.message);
    });
    assert.deepEqual([order().state, rig.claimed], ["released", []]);
  });

  it("is started while Stripe is away, and reviewed when it is back", async () => {
    fail();
    await stripe().pause(subscription).sent;
    const away = rig.stripe.faults.add({
      on: "call",
      method: "GET",
      path: "/v1/charges",
      times: 100,
      effect: { kind: "answer", status: 500 },
    });
    assert.equal((await rig.desk.retry(id, ada)).state, "provisioning");
    await assert.rejects(rig.desk.reviewRetried(), BorderError);
    assert.equal(order().suspendedFor, null);
    rig.stripe.faults.remove(away);
    rig.reviewed.length = 0;
    await rig.desk.reviewRetried();
    assert.deepEqual([order().suspendedFor, rig.reviewed], ["paused", [id]]);
    const calls = rig.stripe.calls().length;
    await rig.desk.reviewRetried();
    assert.equal(rig.stripe.calls().length, calls, "once is enough");
  });

  it("is refused to the second of two people", async () => {
    fail();
    const both = await Promise.allSettled([rig.desk.retry(id, ada), rig.desk.retry(id, "person:bob")]);
    assert.deepEqual(
      both.map((one) => (one.status === "rejected" ? one.reason.name : one.value.state)),
      ["provisioning", "RetryRefusedError"],
    );
    assert.equal(rig.claimed.length, 1);
  });
});

describe("a retry while Stripe does not answer", () => {
  it("waits for five seconds, and takes the answer that comes later", async () => {
    const { store, clock, context } = startLife();
    store.createOrder(newOrder("o-1"));
    const name = makeReady(store, "m-1");
    pay(store, "o-1");
    store.recordHandOverFailure(name, failure, { ...limits, again: false });
    const answers: (() => void)[] = [];
    const asked: string[] = [];
    const review: Reviewer["review"] = (subscription) => {
      asked.push(subscription);
      return new Promise((resolve) => answers.push(() => resolve(null)));
    };
    const queued: string[] = [];
    const desk = createRetryOrder({
      ...{ store, clock, review, log: context.log },
      locationsOf: limits.locationsOf,
      forget: () => {},
      onClaimed: () => assert.fail("there is no machine"),
      onQueued: (order) => queued.push(order),
    });
    const id = "o-1" as OrderId;
    const retried = desk.retry(id, ada);
    await clock.advance(4_999);
    assert.deepEqual([store.order(id)?.state, queued], ["failed", []]);
    await clock.advance(1);
    assert.deepEqual([(await retried).state, queued, asked], ["queued", ["o-1"], ["sub_o-1"]]);
    answers[0]?.();
    await clock.advance(0);
    await desk.reviewRetried();
    assert.deepEqual([asked.length, clock.waiting], [1, 0]);
    store.close();
  });
});
