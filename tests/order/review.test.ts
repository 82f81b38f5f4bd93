/** Webhooks about a subscription's standing, on the real Stripe library: they are hints, what Stripe shows counts. */
import { strict as assert } from "node:assert";
import type { OrderId } from "../../pool/machine/machine.ts";
import { buyOrder, type DeskRig, startDesk } from "./rig.ts";

const day = 86_400_000;

describe("a subscription that is reviewed", () => {
  let rig: DeskRig;
  let id: OrderId;
  let subscription: string;
  const order = () => rig.store.order(id) ?? assert.fail();
  const flags = () =>
    rig.store.flags().map(({ kind, subject }) => `${kind} ${subject === id ? "order" : subject}`);
  const suspendedFor = () => order().suspendedFor;
  const stripe = () => rig.stripe.console;

  beforeEach(async () => {
    rig = await startDesk({ retryDelaysMs: [1, 1, 1, 1] });
    ({ id, subscription } = await buyOrder(rig));
    assert.equal(order().state, "provisioning");
  });
  afterEach(() => rig.close());

  it("is suspended by a pause and may be served again after it", async () => {
    await stripe().pause(subscription).sent;
    assert.equal(suspendedFor(), "paused");
    assert.match(order().suspendedWhy ?? "", /pause requested/);
    assert(rig.reviewed.includes(id));
    await stripe().resume(subscription).sent;
    assert.equal(suspendedFor(), null);
  });

  it("does not act on the order of events, nor on how often they come", async () => {
    stripe().pause(subscription, { hold: true });
    await stripe().resume(subscription, { hold: true }).sent;
    await rig.stripe.release(["customer.subscription.resumed", "customer.subscription.paused"]);
    assert.equal(suspendedFor(), null, "it is active, whatever came last");
    await stripe().pause(subscription, { duplicates: 2 }).sent;
    const rows = rig.store.auditRows({ subject: id }).filter(({ after }) => after?.suspendedFor === "paused");
    assert.deepEqual([suspendedFor(), rows.length], ["paused", 1]);
  });

  it("is served while its collection is paused, and until it ends by itself", async () => {
    await stripe().pauseCollection(subscription).sent;
    await stripe().cancelAtPeriodEnd(subscription).sent;
    assert.deepEqual([suspendedFor(), order().endedAt], [null, null]);
    await stripe().renew(subscription).sent;
    assert.equal(order().state, "releasing");
  });

  it("is served on after a renewal that failed, suspended when the time is over, and not any more when it is paid", async () => {
    await stripe().failPayment(subscription).sent;
    assert.equal(suspendedFor(), null);
    const since = order().overdueSince ?? assert.fail();
    rig.clock.skip(6 * day);
    assert.equal((await rig.desk.review(subscription))?.change, null);
    assert.equal(order().overdueSince, since);
    rig.clock.skip(day);
    const due = await rig.desk.review(subscription);
    assert.equal(due?.change?.kind, "due");
    assert.equal(suspendedFor(), "past-due");
    await stripe().paymentRecovers(subscription).sent;
    assert.deepEqual([suspendedFor(), order().overdueSince], [null, null]);
  });

  it("is suspended at once when Stripe gives up, in each way that an account may have set", async () => {
    await stripe().failPayment(subscription, { final: "unpaid" }).sent;
    assert.equal(suspendedFor(), "unpaid");
    await stripe().paymentRecovers(subscription).sent;
    assert.equal(suspendedFor(), null);
    await stripe().failPayment(subscription, { final: "paused" }).sent;
    assert.equal(suspendedFor(), "paused");
    assert.match(order().suspendedWhy ?? "", /final payment failure/);
  });

  it("is suspended by a dispute, not by an inquiry, and a person is told of both", async () => {
    const inquiry = stripe().dispute(subscription, { inquiry: true });
    await inquiry.sent;
    assert.deepEqual([suspendedFor(), flags()], [null, ["dispute order"]]);
    await stripe().closeDispute(inquiry.dispute.id, "warning_closed").sent;
    assert.deepEqual([suspendedFor(), flags()], [null, []]);
    await stripe().renew(subscription).sent;
    const made = stripe().dispute(subscription);
    await made.sent;
    assert.deepEqual([suspendedFor(), flags()], ["disputed", ["dispute order"]]);
    await stripe().closeDispute(made.dispute.id, "won").sent;
    assert.deepEqual([suspendedFor(), flags()], [null, []]);
  });

  it("stays suspended after a dispute that was lost, until a person says otherwise", async () => {
    const made = stripe().dispute(subscription);
    await made.sent;
    await stripe().closeDispute(made.dispute.id, "lost").sent;
    assert.equal(suspendedFor(), "dispute-lost");
    rig.store.holdOrder(id, { held: "serve" }, "they paid by transfer", { actor: "person:ann" });
    await rig.desk.review(subscription);
    assert.equal(suspendedFor(), null);
  });

  it("is about its own payments alone, not about another subscription of the same customer", async () => {
    const charge = [...rig.stripe.account.charges.values()].at(-1) ?? assert.fail();
    rig.stripe.account.charges.set("ch_other", { ...charge, id: "ch_other", payment_intent: "pi_other" });
    await stripe().dispute("ch_other").sent;
    assert.equal(suspendedFor(), null);
    await stripe().dispute(charge.id).sent;
    assert.equal(suspendedFor(), "disputed");
  });

  it("tells a person of a full refund and serves on, or is suspended by policy; a part is nothing", async () => {
    await stripe().refund(subscription, { amount: 1 }).sent;
    assert.deepEqual([suspendedFor(), flags()], [null, []]);
    const made = stripe().refund(subscription);
    await made.sent;
    assert.deepEqual([suspendedFor(), flags()], [null, ["refund order"]]);
    rig.config = { ...rig.config, suspension: { ...rig.config.suspension, refund: "suspend" } };
    await rig.desk.review(subscription);
    assert.equal(suspendedFor(), "refunded");
    await stripe().refundFails(made.refund.id).sent;
    assert.deepEqual([suspendedFor(), flags()], [null, []]);
  });

  it("takes thin events as it takes snapshots", async () => {
    rig.stripe.setStyle("thin");
    await stripe().pause(subscription).sent;
    assert.equal(suspendedFor(), "paused");
  });

  it("keeps nothing and is asked for again while Stripe cannot be asked", async () => {
    const stop = rig.stripe.faults.add({
      on: "call",
      method: "GET",
      path: "/v1/charges",
      times: 100,
      effect: { kind: "answer", status: 500 },
    });
    await stripe().pause(subscription).sent;
    assert.equal(suspendedFor(), null);
    assert.equal(
      rig.outcomes.some(({ kind }) => kind === "reviewed"),
      false,
    );
    rig.stripe.faults.remove(stop);
    await rig.stripe.settled();
    assert.equal(suspendedFor(), "paused");
  });

  it("asks one after the other, so that an older answer is never written over a newer one", async () => {
    const release = stripe().hold(`GET /v1/subscriptions/${subscription}`);
    const older = rig.desk.review(subscription);
    const newer = rig.desk.review(subscription);
    stripe().pause(subscription, { hold: true });
    release();
    await Promise.all([older, newer]);
    assert.equal(suspendedFor(), "paused");
  });

  it("cancels for a suspension that lasted too long, only while Stripe still shows the reason", async () => {
    await stripe().pause(subscription).sent;
    stripe().resume(subscription, { hold: true });
    await rig.desk.cancelSuspended(id);
    assert.deepEqual([order().endedAt, suspendedFor()], [null, null]);
    stripe().pause(subscription, { hold: true });
    await rig.desk.cancelSuspended(id);
    assert.equal(order().state, "releasing");
    assert.equal(await rig.desk.hasEnded(id), true);
    assert(
      rig.store.auditRows({ subject: subscription }).some(({ action }) => action === "subscription.cancel"),
    );
    await rig.desk.cancelSuspended(id);
  });

  it("has not ended when Stripe does not show it: a key of another account shows the same", async () => {
    await stripe().cancel(subscription).sent;
    rig.stripe.account.subscriptions.delete(subscription);
    await assert.rejects(rig.desk.hasEnded(id), { code: "resource_missing" });
  });

  it("is of no interest once its order is over, nor is a stranger's", async () => {
    await stripe().cancel(subscription).sent;
    const calls = rig.stripe.calls().length;
    assert.equal(await rig.desk.review(subscription), null);
    assert.equal(await rig.desk.review("sub_stranger"), null);
    assert.equal(rig.stripe.calls().length, calls, "without asking");
  });
});
