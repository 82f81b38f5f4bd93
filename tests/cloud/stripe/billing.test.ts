import { strict as assert } from "node:assert";
import { Stripe } from "stripe";
import { VirtualClock } from "../../virtual-clock.ts";
import { type Rig, startRig } from "./rig.ts";

const day = 86_400_000;

describe("subscriptions of the stand-in for Stripe", () => {
  let rig: Rig;
  let clock: VirtualClock;
  beforeEach(async () => {
    clock = new VirtualClock();
    rig = await startRig({ clock }, null);
  });
  afterEach(() => rig.close());

  /** Types of the events that `work` made. */
  const told = async (work: () => unknown): Promise<string[]> => {
    const before = rig.stripe.account.events.length;
    await work();
    return rig.stripe.account.events.slice(before).map(({ type }) => type);
  };
  const status = async (id: string) => (await rig.client.subscriptions.retrieve(id)).status;
  const latest = async (id: string) => {
    const { latest_invoice } = await rig.client.subscriptions.retrieve(id, { expand: ["latest_invoice"] });
    assert(typeof latest_invoice === "object" && latest_invoice);
    return latest_invoice;
  };

  it("are made with customer, invoice, intent and charge, which name each other", async () => {
    const { client } = rig;
    const session = await client.checkout.sessions.create({
      mode: "subscription",
      line_items: [{ price: "price_1", quantity: 2 }],
      success_url: "https://shop.example/",
      subscription_data: { metadata: { k: "v" } },
    });
    const events = await told(() => rig.stripe.console.buy(session.id));
    assert.deepEqual(events, [
      "customer.created",
      "payment_method.attached",
      "invoice.created",
      "invoice.finalized",
      "customer.subscription.created",
      "payment_intent.created",
      "charge.succeeded",
      "payment_intent.succeeded",
      "invoice.paid",
      "invoice.payment_succeeded",
      "invoice_payment.paid",
      "checkout.session.completed",
    ]);
    const paid = await client.checkout.sessions.retrieve(session.id);
    assert.deepEqual([paid.status, paid.payment_status, paid.url], ["complete", "paid", null]);
    const subscription = await client.subscriptions.retrieve(String(paid.subscription));
    assert.deepEqual([subscription.status, subscription.metadata], ["active", { k: "v" }]);
    const invoice = await client.invoices.retrieve(String(subscription.latest_invoice));
    assert.equal(invoice.parent?.subscription_details?.subscription, subscription.id);
    assert.deepEqual([invoice.amount_paid, invoice.status], [4_000, "paid"]);
    const { data: payments } = await client.invoicePayments.list({ invoice: invoice.id });
    const intent = await client.paymentIntents.retrieve(String(payments[0]?.payment.payment_intent));
    const charge = await client.charges.retrieve(String(intent.latest_charge));
    assert.deepEqual([charge.amount, charge.customer, charge.paid], [4_000, paid.customer, true]);
    assert.throws(() => rig.stripe.console.buy(session.id), /Only Checkout Sessions/);
  });

  it("sell things that are paid once, too, without a subscription", async () => {
    const { client } = rig;
    const product = await client.products.create({ name: "Mug" });
    const price = await client.prices.create({ product: product.id, currency: "eur", unit_amount: 900 });
    const items = { line_items: [{ price: price.id, quantity: 1 }], success_url: "https://shop.example/" };
    await assert.rejects(client.checkout.sessions.create({ ...items, mode: "subscription" }), /recurring/);
    const session = await client.checkout.sessions.create({ ...items, mode: "payment" });
    assert.throws(() => rig.stripe.console.buy(session.id), /not of mode subscription/);
    rig.stripe.console.buyOnce(session.id);
    const bought = await client.checkout.sessions.retrieve(session.id, { expand: ["payment_intent"] });
    assert(typeof bought.payment_intent === "object");
    assert.deepEqual([bought.payment_intent?.amount_received, bought.subscription], [900, null]);
  });

  it("are paid by a bank debit days later, or not", async () => {
    const { console: desk } = rig.stripe;
    const [clears, fails] = [rig.opened(), rig.opened()];
    for (const session of [clears, fails]) desk.buy(session, { paymentStatus: "unpaid" });
    const { data } = await rig.client.charges.list();
    assert.deepEqual(
      data.map(({ status }) => status),
      ["pending", "pending"],
    );
    assert.equal(
      (await told(() => desk.paymentSucceeds(clears))).at(-1),
      "checkout.session.async_payment_succeeded",
    );
    const ends = await told(() => desk.paymentFails(fails));
    assert(ends.includes("invoice.payment_failed"));
    assert.equal(ends.at(-1), "checkout.session.async_payment_failed");
    const session = await rig.client.checkout.sessions.retrieve(fails);
    assert.deepEqual(
      [session.payment_status, await status(String(session.subscription))],
      ["unpaid", "past_due"],
    );
    assert.throws(() => desk.paymentFails(clears), /no payment pending/);
  });

  it("end now by a call, once, and are left out of lists then", async () => {
    const { client } = rig;
    const { subscription } = rig.bought();
    const ended = await client.subscriptions.cancel(subscription, {
      cancellation_details: { comment: "too slow", feedback: "low_quality" },
    });
    assert.equal(ended.status, "canceled");
    assert.deepEqual(
      [ended.cancellation_details?.comment, ended.cancellation_details?.reason],
      ["too slow", "cancellation_requested"],
    );
    assert.equal((await client.subscriptions.list()).data.length, 0);
    assert.equal((await client.subscriptions.list({ status: "all" })).data[0]?.id, subscription);
    assert.equal((await client.subscriptions.list({ status: "ended" })).data[0]?.id, subscription);
    await assert.rejects(client.subscriptions.cancel(subscription), { code: "resource_missing" });
    await assert.rejects(client.subscriptions.update(subscription, { cancel_at_period_end: true }), {
      code: "resource_missing",
    });
    assert.deepEqual((await client.subscriptions.update(subscription, { metadata: { k: "v" } })).metadata, {
      k: "v",
    });
  });

  it("end with their period when that was asked for, and go on when it was taken back", async () => {
    const { client } = rig;
    const { subscription } = rig.bought();
    const marked = await client.subscriptions.update(subscription, { cancel_at_period_end: true });
    const end = marked.items.data[0]?.current_period_end;
    assert.deepEqual([marked.status, marked.cancel_at], ["active", end]);
    const [event] = (await client.events.list({ limit: 1 })).data;
    assert.equal(event?.type, "customer.subscription.updated");
    assert.equal(event.request?.id?.startsWith("req_"), true);
    assert.deepEqual((event.data.previous_attributes as Record<string, unknown>).cancel_at_period_end, false);
    const kept = await client.subscriptions.update(subscription, { cancel_at_period_end: false });
    assert.deepEqual([kept.cancel_at, kept.canceled_at], [null, null]);
    await client.subscriptions.update(subscription, { cancel_at_period_end: true });
    await clock.advance(31 * day);
    assert.equal(await status(subscription), "canceled");
    assert.equal(rig.stripe.account.events.at(-1)?.type, "customer.subscription.deleted");
    assert.equal(rig.stripe.account.events.at(-1)?.request?.id, null, "nobody called");
  });

  it("are paused and resumed by calls, with the reason", async () => {
    const { client } = rig;
    const { subscription } = rig.bought();
    const events = await told(() => client.subscriptions.pause(subscription, { type: "subscription" }));
    assert.deepEqual(events, ["customer.subscription.updated", "customer.subscription.paused"]);
    const paused = await client.subscriptions.retrieve(subscription);
    assert.equal(paused.status, "paused");
    assert.equal(paused.status_details?.paused.subscription.type, "pause_requested");
    assert.throws(() => rig.stripe.console.renew(subscription), /is paused/);
    await assert.rejects(client.subscriptions.pause(subscription), /cannot be paused/);
    assert.equal((await client.subscriptions.resume(subscription)).status, "active");
    assert.equal(rig.stripe.account.events.at(-1)?.type, "customer.subscription.resumed");
    await assert.rejects(client.subscriptions.resume(subscription), /status of `paused`/);
  });

  it("begin and pay a new period when they are resumed after the old one was over", async () => {
    const { subscription } = rig.bought();
    await rig.client.subscriptions.pause(subscription);
    await clock.advance(40 * day);
    const { items } = await rig.client.subscriptions.resume(subscription);
    assert.equal(items.data[0]?.current_period_start, Math.floor(clock.now() / 1000));
    assert.equal((await rig.client.invoices.list({ subscription })).data.length, 2);
  });

  it("keep their status while collection is paused, until the time that was named", async () => {
    const { client } = rig;
    const { subscription } = rig.bought();
    const resumes_at = Math.floor(clock.now() / 1000) + 86_400;
    await client.subscriptions.update(subscription, { pause_collection: { behavior: "void", resumes_at } });
    rig.stripe.console.renew(subscription);
    assert.equal((await latest(subscription)).status, "void");
    assert.equal(await status(subscription), "active");
    await clock.advance(day);
    assert.equal((await client.subscriptions.retrieve(subscription)).pause_collection, null);
    await client.subscriptions.update(subscription, { pause_collection: { behavior: "mark_uncollectible" } });
    assert.equal(
      (await client.subscriptions.update(subscription, { pause_collection: "" })).pause_collection,
      null,
    );
    await assert.rejects(
      client.subscriptions.update(subscription, { pause_collection: { behavior: "forget" } }),
      /must be one of keep_as_draft, mark_uncollectible, or void/,
    );
  });

  it("renew by calendar months", async () => {
    const { subscription } = rig.bought();
    const events = await told(() => rig.stripe.console.renew(subscription));
    assert.deepEqual(events.slice(0, 3), [
      "customer.subscription.updated",
      "invoice.created",
      "invoice.finalized",
    ]);
    assert(events.includes("invoice.paid"));
    const { items } = await rig.client.subscriptions.retrieve(subscription);
    const [
      { current_period_start: from, current_period_end: to } = {
        current_period_start: 0,
        current_period_end: 0,
      },
    ] = items.data;
    assert.deepEqual([from, to], [Date.UTC(2026, 1, 1) / 1000, Date.UTC(2026, 2, 1) / 1000]);
    assert.equal((await latest(subscription)).billing_reason, "subscription_cycle");
  });

  it("fall behind when the bank refuses, are paid up, or end as the settings say", async () => {
    const { console: desk } = rig.stripe;
    const { subscription } = rig.bought();
    const events = await told(() => desk.failPayment(subscription));
    for (const type of ["charge.failed", "payment_intent.payment_failed", "invoice.payment_failed"]) {
      assert(events.includes(type), type);
    }
    assert.equal(await status(subscription), "past_due");
    const invoice = await latest(subscription);
    assert.deepEqual([invoice.status, invoice.attempt_count], ["open", 1]);
    assert(invoice.next_payment_attempt);
    await assert.rejects(rig.client.invoices.pay(String(invoice.id)), (error) => {
      assert(error instanceof Stripe.errors.StripeCardError);
      return error.decline_code === "insufficient_funds" && error.statusCode === 402;
    });
    assert.equal((await latest(subscription)).attempt_count, 2);
    desk.failPayment(subscription, { final: "unpaid" });
    assert.equal(await status(subscription), "unpaid");
    desk.paymentRecovers(subscription);
    assert.equal(await status(subscription), "active");
    await assert.rejects(rig.client.invoices.pay(String(invoice.id)), { code: "invoice_already_paid" });
    desk.failPayment(subscription);
    await rig.client.invoices.pay(String((await latest(subscription)).id), { paid_out_of_band: true });
    assert.equal(await status(subscription), "active");
    const ends = await told(() => desk.failPayment(subscription, { final: "canceled" }));
    assert.equal(ends.at(-1), "customer.subscription.deleted");
    const { cancellation_details } = await rig.client.subscriptions.retrieve(subscription);
    assert.equal(cancellation_details?.reason, "payment_failed");
    const other = rig.bought().subscription;
    desk.failPayment(other, { final: "paused" });
    const { status_details } = await rig.client.subscriptions.retrieve(other);
    assert.equal(status_details?.paused.subscription.type, "final_payment_failure");
  });

  it("end with their customer", async () => {
    const { subscription } = rig.bought();
    const { customer } = await rig.client.subscriptions.retrieve(subscription);
    assert.deepEqual(await told(() => rig.client.customers.del(String(customer))), [
      "customer.subscription.deleted",
      "customer.deleted",
    ]);
    const gone = await rig.client.customers.retrieve(String(customer));
    assert.equal(gone.deleted, true);
  });

  it("run out with their checkout: by a call, or after 24 hours", async () => {
    const { sessions } = rig.client.checkout;
    const [early, late] = [rig.opened(), rig.opened()];
    assert.equal((await sessions.expire(early)).status, "expired");
    await assert.rejects(sessions.expire(early), /Only Checkout Sessions/);
    await clock.advance(day);
    assert.equal((await sessions.retrieve(late)).status, "expired");
    assert.equal(rig.stripe.account.events.at(-1)?.type, "checkout.session.expired");
    assert.deepEqual((await sessions.list({ status: "open" })).data, []);
    assert.equal((await sessions.list({ status: "expired" })).data.length, 2);
  });

  describe("refunds and disputes", () => {
    const chargeOf = async (subscription: string) => {
      const { data } = await rig.client.invoicePayments.list({
        invoice: String((await latest(subscription)).id),
      });
      const intent = await rig.client.paymentIntents.retrieve(String(data[0]?.payment.payment_intent));
      return String(intent.latest_charge);
    };

    it("give back a part, then the rest, and no more", async () => {
      const { client } = rig;
      const charge = await chargeOf(rig.bought().subscription);
      const part = await client.refunds.create({ charge, amount: 500, reason: "requested_by_customer" });
      assert.deepEqual([part.amount, part.status], [500, "succeeded"]);
      await assert.rejects(
        client.refunds.create({ charge, amount: 1_501 }),
        /greater than unrefunded amount/,
      );
      const rest = await told(() => client.refunds.create({ charge }));
      assert.deepEqual(rest, ["refund.created", "charge.refunded"]);
      const { refunded, amount_refunded } = await client.charges.retrieve(charge);
      assert.deepEqual([refunded, amount_refunded], [true, 2_000]);
      await assert.rejects(client.refunds.create({ charge }), { code: "charge_already_refunded" });
      await assert.rejects(client.refunds.create({}), /One of the following params/);
      assert.equal((await client.refunds.list({ charge })).data.length, 2);
    });

    it("fail when the bank sends the money back", async () => {
      const { refund, events } = rig.stripe.console.refund(rig.bought().subscription);
      assert.deepEqual(
        events.map(({ type }) => type),
        ["refund.created", "charge.refunded"],
      );
      rig.stripe.console.refundFails(refund.id);
      assert.equal((await rig.client.refunds.retrieve(refund.id)).status, "failed");
      assert.equal((await rig.client.charges.retrieve(String(refund.charge))).refunded, false);
    });

    it("are opened by the buyer, answered by the seller, ended by the bank", async () => {
      const { client } = rig;
      const { subscription } = rig.bought();
      const { dispute, events } = rig.stripe.console.dispute(subscription);
      assert.deepEqual(
        events.map(({ type }) => type),
        ["charge.updated", "charge.dispute.created", "charge.dispute.funds_withdrawn"],
      );
      const charge = String(dispute.charge);
      await assert.rejects(client.refunds.create({ charge }), { code: "charge_disputed" });
      const answered = await client.disputes.update(dispute.id, {
        evidence: { uncategorized_text: "It ran." },
      });
      assert.deepEqual(
        [answered.status, answered.evidence_details.submission_count, answered.evidence.uncategorized_text],
        ["under_review", 1, "It ran."],
      );
      const ends = await told(() => rig.stripe.console.closeDispute(dispute.id, "won"));
      assert.deepEqual(ends, ["charge.dispute.closed", "charge.dispute.funds_reinstated"]);
      const other = rig.stripe.console.dispute(rig.bought().subscription, { inquiry: true }).dispute;
      assert.equal((await client.disputes.retrieve(other.id)).status, "warning_needs_response");
      await client.refunds.create({ charge: String(other.charge) });
      const third = rig.stripe.console.dispute(rig.bought().subscription).dispute;
      assert.equal((await client.disputes.close(third.id)).status, "lost");
    });
  });
});
