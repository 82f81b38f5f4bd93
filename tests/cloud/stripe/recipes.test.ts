import { strict as assert } from "node:assert";
import { Stripe } from "stripe";
import { VirtualClock } from "../../virtual-clock.ts";
import { type Rig, startRig } from "./rig.ts";

const hour = 3_600_000;
const day = 24 * hour;

/** The calls that Stripe's command line makes to bring an event about (`stripe trigger EVENT`), by the library. */
describe("the stand-in for Stripe, worked as `stripe trigger` works Stripe", () => {
  let rig: Rig;
  let clock: VirtualClock;
  beforeEach(async () => {
    clock = new VirtualClock();
    rig = await startRig({ clock }, null);
  });
  afterEach(() => rig.close());

  const types = () => rig.stripe.account.events.map(({ type }) => type);
  const price = async (interval: "month" | null, currency = "usd") => {
    const product = await rig.client.products.create({
      name: "myproduct",
      description: "(created by a test)",
    });
    const { id } = await rig.client.prices.create({
      product: product.id,
      unit_amount: 1_500,
      currency,
      ...(interval === null ? {} : { recurring: { interval } }),
    });
    return id;
  };
  /** A checkout of two mugs, paid through the page's own calls. */
  const pay = async (method: Stripe.PaymentMethodCreateParams) => {
    const session = await rig.client.checkout.sessions.create({
      success_url: "https://shop.example/post",
      cancel_url: "https://shop.example/post",
      mode: "payment",
      line_items: [{ price: await price(null, "eur"), quantity: 2 }],
      payment_intent_data: {
        setup_future_usage: "off_session",
        shipping: { name: "Jenny", address: { line1: "1" } },
      },
    });
    const { id } = await rig.client.paymentMethods.create(method);
    const page = `/v1/payment_pages/${session.id}`;
    assert.equal((await rig.ask("GET", page)).json.session_id, session.id);
    const paid = await rig.ask("POST", `${page}/confirm`, `payment_method=${id}&expected_amount=3000`);
    return { session: session.id, status: paid.status };
  };

  it("checkout.session.completed", async () => {
    const { session } = await pay({
      type: "card",
      card: { token: "tok_visa" },
      billing_details: {
        email: "stripe@example.com",
        name: "Jenny",
        address: { city: "South San Francisco" },
      },
    });
    assert.equal(types().at(-1), "checkout.session.completed");
    const seen = await rig.client.checkout.sessions.retrieve(session);
    assert.deepEqual([seen.payment_status, seen.amount_total], ["paid", 3_000]);
  });

  it("checkout.session.async_payment_succeeded and …_failed, by the test account that was used", async () => {
    for (const [iban, outcome, status] of [
      ["AT611904300234573201", "succeeded", "paid"],
      ["IT60X0542811101000000123456", "failed", "unpaid"],
    ] as const) {
      const { session } = await pay({ type: "sepa_debit", sepa_debit: { iban } });
      assert.equal(types().at(-1), "checkout.session.completed");
      // Time passes with the next call.
      const seen = await rig.client.checkout.sessions.retrieve(session);
      assert.equal(types().at(-1), `checkout.session.async_payment_${outcome}`);
      assert.equal(seen.payment_status, status);
    }
  });

  it("a declined card leaves the page open for another", async () => {
    const { session, status } = await pay({ type: "card", card: { token: "tok_chargeDeclined" } });
    assert.equal(status, 402);
    assert.equal((await rig.client.checkout.sessions.retrieve(session)).status, "open");
    const { id } = await rig.client.paymentMethods.create({ type: "card", card: { token: "tok_visa" } });
    const again = await rig.ask("POST", `/v1/payment_pages/${session}/confirm`, `payment_method=${id}`);
    assert.deepEqual([again.status, again.json.payment_status], [200, "paid"]);
    for (const form of [
      "payment_method=pm_none",
      `payment_method=${id}`,
      `payment_method=${id}&expected_amount=1`,
    ]) {
      assert.equal((await rig.ask("POST", `/v1/payment_pages/${session}/confirm`, form)).status, 400, form);
    }
  });

  it("customer.subscription.deleted", async () => {
    const customer = await rig.client.customers.create({
      payment_method: "pm_card_visa",
      invoice_settings: { default_payment_method: "pm_card_visa" },
    });
    const items = [{ price: await price("month") }];
    const { id, status } = await rig.client.subscriptions.create({ customer: customer.id, items });
    assert.equal(status, "active");
    await rig.client.subscriptions.cancel(id);
    assert.equal(types().at(-1), "customer.subscription.deleted");
    assert.equal((await rig.client.paymentMethods.list({ customer: customer.id })).data.length, 1);
  });

  describe("customer.subscription.paused", () => {
    const trial = async (behavior: "pause" | "cancel" | "create_invoice", method?: string) => {
      const customer = await rig.client.customers.create(
        method === undefined
          ? {}
          : { payment_method: method, invoice_settings: { default_payment_method: method } },
      );
      return rig.client.subscriptions.create({
        customer: customer.id,
        items: [{ price: await price("month") }],
        trial_period_days: 7,
        trial_settings: { end_behavior: { missing_payment_method: behavior } },
      });
    };
    const status = async (id: string) => (await rig.client.subscriptions.retrieve(id)).status;

    it("when a trial ends with nothing to pay with", async () => {
      const { id, status: before, trial_end } = await trial("pause");
      assert.deepEqual([before, trial_end], ["trialing", Math.floor(clock.now() / 1000) + 7 * 86_400]);
      assert.equal((await rig.client.invoices.list({ subscription: id })).data[0]?.amount_paid, 0);
      await rig.client.subscriptions.update(id, { trial_end: "now" });
      assert.equal(types().at(-1), "customer.subscription.paused");
      const { status_details } = await rig.client.subscriptions.retrieve(id);
      assert.equal(status_details?.paused.subscription.type, "trial_end_without_payment_method");
    });

    it("and what else the end of a trial brings, when its time has come", async () => {
      const [canceled, owing, paid, refused] = await Promise.all([
        trial("cancel"),
        trial("create_invoice"),
        trial("pause", "pm_card_visa"),
        trial("pause", "pm_card_chargeCustomerFail"),
      ]);
      await clock.advance(7 * day);
      assert.deepEqual(await Promise.all([canceled, owing, paid, refused].map(({ id }) => status(id))), [
        "canceled",
        "active",
        "active",
        "past_due",
      ]);
      const { data } = await rig.client.invoices.list({ subscription: owing.id, status: "open" });
      assert.equal(data.length, 1);
      await assert.rejects(rig.client.invoices.pay(data[0]?.id ?? ""), /no attached payment source/);
      const settled = await rig.client.invoices.pay(data[0]?.id ?? "", { payment_method: "pm_card_visa" });
      assert.equal(settled.status, "paid");
    });
  });

  it("subscription.payment_failed, and what becomes of what was never paid", async () => {
    const { client } = rig;
    const method = await client.paymentMethods.create({
      type: "card",
      card: { token: "tok_chargeCustomerFail" },
    });
    const customer = await client.customers.create({ name: "SubscriptionTestCustomer" });
    await client.paymentMethods.attach(method.id, { customer: customer.id });
    await client.customers.update(customer.id, { invoice_settings: { default_payment_method: method.id } });
    const items = [{ price: await price("month") }];
    const { id, status, latest_invoice } = await client.subscriptions.create({
      customer: customer.id,
      items,
    });
    assert.equal(status, "incomplete");
    assert(types().includes("invoice.payment_failed"));
    assert.equal((await client.invoices.retrieve(String(latest_invoice))).status, "open");
    await assert.rejects(
      client.subscriptions.create({ customer: customer.id, items, payment_behavior: "error_if_incomplete" }),
      Stripe.errors.StripeCardError,
    );
    const waiting = await client.subscriptions.create({
      customer: customer.id,
      items,
      payment_behavior: "default_incomplete",
    });
    await client.invoices.pay(String(waiting.latest_invoice), { payment_method: "pm_card_visa" });
    assert.equal((await client.subscriptions.retrieve(waiting.id)).status, "active");
    await clock.advance(23 * hour);
    assert.equal((await client.subscriptions.retrieve(id)).status, "incomplete_expired");
    assert.equal((await client.invoices.retrieve(String(latest_invoice))).status, "void");
  });

  it("nothing, with a card or customer that is not there", async () => {
    const { client } = rig;
    const refused = (call: Promise<unknown>, code: string) => assert.rejects(call, { code });
    await refused(
      client.paymentMethods.create({ type: "card", card: { token: "tok_gold" } }),
      "resource_missing",
    );
    await refused(
      client.paymentMethods.create({ type: "sepa_debit", sepa_debit: { iban: "DE00" } }),
      "invalid_bank_account_iban",
    );
    const items = [{ price: await price("month") }];
    await refused(client.subscriptions.create({ customer: "cus_none", items }), "resource_missing");
    const { id: customer } = await client.customers.create({});
    await refused(client.subscriptions.create({ customer, items }), "resource_missing");
    await refused(
      client.subscriptions.create({ customer, items: [{ price: "price_none" }] }),
      "resource_missing",
    );
    await assert.rejects(
      client.subscriptions.create({ customer, items: [{ price: await price(null) }] }),
      /one_time/,
    );
  });
});
