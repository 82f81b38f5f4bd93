import { strict as assert } from "node:assert";
import { pino } from "pino";
import { BorderError } from "../../pool/errors.ts";
import type { OrderId } from "../../pool/machine/machine.ts";
import type { StripeGateway } from "../../pool/stripe/stripe.ts";
import { createStripeSweep, type StripeReport, type StripeSweep } from "../../pool/sweep/stripe.ts";
import { type DeskRig, orderBody, prices, startDesk } from "../order/rig.ts";
import { event, makeReady, newOrder } from "../store/rows.ts";
import { subscription } from "../stripe/objects.ts";

const minute = 60_000;
const hour = 60 * minute;

describe("the sweep of Stripe", () => {
  let rig: DeskRig;
  let sweep: StripeSweep;
  let repairs: string[];
  /** What the sweep asked for, in order. */
  let asked: string[];
  /** Answers of the gateway that a test replaces. */
  let fake: Partial<StripeGateway>;
  /** Happens while what was found waits for its webhook. */
  let meanwhile: () => Promise<void>;

  function openSweep(): StripeSweep {
    const listened =
      <Args extends unknown[], Answer>(name: string, real: (...args: Args) => Promise<Answer>) =>
      (...args: Args): Promise<Answer> => {
        asked.push([name, ...args.filter((arg) => typeof arg === "string")].join(" "));
        const replaced = fake[name as keyof StripeGateway] as typeof real | undefined;
        return (replaced ?? real)(...args);
      };
    const { gateway } = rig;
    return createStripeSweep({
      store: rig.store,
      stripe: {
        ...gateway,
        sessions: listened("sessions", gateway.sessions),
        subscriptions: listened("subscriptions", gateway.subscriptions),
        fetchSession: listened("fetchSession", gateway.fetchSession),
        fetchSubscription: listened("fetchSubscription", gateway.fetchSubscription),
      },
      desk: rig.desk,
      clock: { now: rig.clock.now, delay: () => meanwhile() },
      instance: () => "test",
      log: pino({ level: "silent" }),
      onRepair: (kind) => repairs.push(kind),
    });
  }

  beforeEach(async () => {
    rig = await startDesk({ retryDelaysMs: [1] });
    repairs = [];
    asked = [];
    fake = {};
    meanwhile = async () => {};
    sweep = openSweep();
    // The installation is not new: it has compared before.
    await sweep.runIfDue();
    asked.length = 0;
  });
  afterEach(() => rig.close());

  /** From now on nothing is delivered any more. */
  const loseWebhooks = () => rig.stripe.faults.add({ on: "delivery", times: null, effect: { kind: "lose" } });
  const order = async (change: Record<string, unknown> = {}) => {
    const { id, checkoutSession } = await rig.desk.create(orderBody(change));
    return { id, session: checkoutSession ?? "", state: () => rig.store.order(id)?.state };
  };
  const buy = async (session: string, paymentStatus: "paid" | "unpaid" = "paid") => {
    const { subscription, sent } = rig.stripe.console.buy(session, { paymentStatus });
    await sent;
    return subscription.id;
  };
  const now = (change: { dryRun?: boolean; sinceMs?: number } = {}): Promise<StripeReport> =>
    sweep.reconcile({ dryRun: false, actor: "person:ada", ...change });
  const kinds = ({ findings }: StripeReport) => findings.map(({ kind }) => kind);
  const flags = () => rig.store.flags().map(({ kind, subject }) => [kind, subject]);
  const repaired = () => rig.store.auditRows().filter(({ action }) => action === "stripe.repaired");

  it("finds nothing where every webhook came", async () => {
    makeReady(rig.store, "claw-a");
    const [paid, left, open] = [await order(), await order(), await order()];
    const subscription = await buy(paid.session);
    await rig.stripe.console.expire(left.session).sent;
    assert.deepEqual((await now()).findings, []);
    await rig.stripe.console.cancel(subscription).sent;
    assert.deepEqual((await now()).findings, []);
    assert.deepEqual(
      [paid.state(), left.state(), open.state()],
      ["releasing", "expired", "awaiting-payment"],
    );
    assert.deepEqual([repairs, repaired(), flags()], [[], [], []]);
  });

  for (const [how, lose] of [
    ["delivered", () => loseWebhooks()],
    ["made", () => rig.stripe.faults.add({ on: "event", times: null, effect: { kind: "unmade" } })],
  ] as const) {
    it(`accepts a payment whose event was never ${how}, once, and says so`, async () => {
      makeReady(rig.store, "claw-a");
      const { id, session, state } = await order();
      lose();
      await buy(session);
      assert.equal(state(), "awaiting-payment");
      const report = await now();
      assert.deepEqual(
        report.findings.map(({ kind, subject, order }) => [kind, subject, order]),
        [["payment", session, id]],
      );
      assert.equal(state(), "provisioning");
      assert.deepEqual(rig.claimed, [["claw-a", id]]);
      assert.equal(await rig.desk.confirmation(id), "agreed");
      const [row] = repaired();
      assert.deepEqual(
        [row?.actor, row?.subject, row?.detail],
        ["person:ada", session, { kind: "payment", order: id }],
      );
      assert.deepEqual([(await now()).findings, repairs], [[], ["payment"]]);
    });
  }

  it("leaves a webhook time to come", async () => {
    makeReady(rig.store, "claw-a");
    const { session, state } = await order();
    rig.stripe.console.buy(session, { hold: true });
    meanwhile = () => rig.stripe.release();
    assert.deepEqual((await now()).findings, []);
    assert.deepEqual([state(), repairs], ["provisioning", []]);
  });

  it("ends an order whose end was never told, after the grace as ever", async () => {
    makeReady(rig.store, "claw-a");
    const [{ id, session, state }, other] = [await order(), await order()];
    const subscription = await buy(session);
    await buy(other.session);
    loseWebhooks();
    await rig.stripe.console.cancel(subscription).sent;
    const before = rig.clock.now();
    assert.deepEqual(kinds(await now()), ["end"]);
    assert.deepEqual([state(), other.state()], ["releasing", "queued"]);
    const { releaseAt, reason } = rig.store.order(id) ?? assert.fail();
    assert((releaseAt ?? 0) >= before + rig.config.releaseGraceMs);
    assert.match(reason ?? "", /cancellation_requested/);
    assert.equal(rig.store.machines({ states: ["releasing", "destroyed"] }).length, 0, "not before its time");
    assert.deepEqual([rig.ended, repairs], [[id], ["end"]]);
    assert.deepEqual((await now()).findings, []);
  });

  it("serves nobody whose payment and end were both never told", async () => {
    makeReady(rig.store, "claw-a");
    const { session, state } = await order();
    loseWebhooks();
    await rig.stripe.console.cancel(await buy(session)).sent;
    assert.deepEqual(kinds(await now()), ["payment"]);
    assert.deepEqual([state(), rig.claimed], ["released", []]);
    assert.deepEqual((await now()).findings, []);
  });

  it("expires an order whose checkout ran out in silence", async () => {
    const { session, state } = await order();
    loseWebhooks();
    await rig.stripe.console.expire(session).sent;
    assert.deepEqual(kinds(await now()), ["expiry"]);
    assert.equal(state(), "expired");
    assert.deepEqual((await now()).findings, []);
  });

  it("flags a payment for an unknown order as its webhook would have, once; leaves others' goods alone", async () => {
    const made = async (name: string, metadata: Record<string, string>) => {
      const { session } = await rig.gateway.createCheckout({
        reference: name,
        price: prices.small,
        successUrl: "https://shop.example/",
        cancelUrl: "https://shop.example/",
        metadata,
        idempotencyKey: `test:${name}`,
      });
      return session;
    };
    loseWebhooks();
    // Stripe counts in seconds.
    rig.clock.skip(1_000);
    const [unnamed, ours] = [await made("cart-1", {}), await made("cart-2", { clawpool_instance: "test" })];
    for (const session of [unnamed, ours, await made("cart-3", { clawpool_instance: "another" })]) {
      await buy(session);
    }
    assert.deepEqual(kinds(await now()), ["unknown-payment", "unknown-payment"]);
    assert.deepEqual(
      flags().sort(),
      [
        ["payment-for-unknown-order", ours],
        ["payment-for-unknown-order", unnamed],
      ].sort(),
    );
    const rows = rig.store.auditRows().length;
    assert.deepEqual((await now()).findings, []);
    assert.equal(rig.store.auditRows().length, rows);
  });

  it("does not claim what an account sold before the installation came", async () => {
    const { session } = await rig.gateway.createCheckout({
      reference: "cart-1",
      price: prices.small,
      successUrl: "https://shop.example/",
      cancelUrl: "https://shop.example/",
      metadata: {},
      idempotencyKey: "test:before",
    });
    loseWebhooks();
    await buy(session);
    rig.clock.skip(minute);
    const fresh = { ...rig.store, setting: () => null };
    sweep = createStripeSweep({
      store: fresh,
      stripe: rig.gateway,
      desk: rig.desk,
      clock: { now: rig.clock.now, delay: async () => {} },
      instance: () => "test",
      log: pino({ level: "silent" }),
      onRepair: () => assert.fail(),
    });
    assert.deepEqual((await now()).findings, []);
    assert.deepEqual(flags(), []);
  });

  it("sees a debit clear long after its checkout was made, our own and the caller's", async () => {
    makeReady(rig.store, "claw-a");
    makeReady(rig.store, "claw-b");
    const own = await order();
    const callers = await order({ checkout: "caller", customer: "customer-2" });
    const { session } = await rig.gateway.createCheckout({
      reference: callers.id,
      price: prices.small,
      successUrl: "https://shop.example/",
      cancelUrl: "https://shop.example/",
      metadata: {},
      idempotencyKey: "test:caller",
    });
    loseWebhooks();
    await buy(own.session, "unpaid");
    await buy(session, "unpaid");
    assert.deepEqual((await now()).findings, []);
    for (let days = 1; days <= 6; days++) {
      rig.clock.skip(24 * hour);
      assert.deepEqual((await now()).findings, []);
    }
    await rig.stripe.console.paymentSucceeds(own.session).sent;
    await rig.stripe.console.paymentSucceeds(session).sent;
    assert.deepEqual(kinds(await now()), ["payment", "payment"]);
    assert.deepEqual([own.state(), callers.state()], ["provisioning", "provisioning"]);
    asked.length = 0;
    await now();
    assert(!asked.some((call) => call.startsWith("fetchSession")), "no more to ask for");
  });

  it("tells a person once of a subscription that lives on after its first payment failed", async () => {
    const [told, untold] = [await order(), await order()];
    const subscriptions = [await buy(told.session, "unpaid"), await buy(untold.session, "unpaid")];
    assert.deepEqual((await now()).findings, [], "not yet: the debit is on its way");
    await rig.stripe.console.paymentFails(told.session).sent;
    loseWebhooks();
    await rig.stripe.console.paymentFails(untold.session).sent;
    assert.deepEqual(kinds(await now()), ["unserved", "unserved"]);
    assert.deepEqual(flags().sort(), subscriptions.map((id) => ["subscription-unserved", id]).sort());
    assert.match(
      rig.store.flags()[0]?.text ?? "",
      /is past_due, but its order ord_\w+ is (?:expired|awaiting-payment)/,
    );
    assert.deepEqual((await now()).findings, []);
    assert.deepEqual(repairs, [], "no webhook tells that");
    for (const id of subscriptions) assert.equal(rig.stripe.account.subscription(id).status, "past_due");
  });

  it("serves whose first payment failed and was collected later, and takes back what a person was told", async () => {
    makeReady(rig.store, "claw-a");
    makeReady(rig.store, "claw-b");
    const [told, untold] = [await order(), await order({ customer: "customer-2" })];
    const subscriptions = [await buy(told.session, "unpaid"), await buy(untold.session, "unpaid")];
    await rig.stripe.console.paymentFails(told.session).sent;
    loseWebhooks();
    await rig.stripe.console.paymentFails(untold.session).sent;
    assert.deepEqual(kinds(await now()), ["unserved", "unserved"]);
    for (const subscription of subscriptions) await rig.stripe.console.paymentRecovers(subscription).sent;
    assert.deepEqual(kinds(await now()), ["payment", "payment"]);
    assert.deepEqual([told.state(), untold.state()], ["provisioning", "provisioning"]);
    assert.deepEqual(flags(), []);
    assert.deepEqual((await now()).findings, []);
  });

  describe("concludes nothing", () => {
    const down = async () => {
      throw new BorderError("503", { border: "stripe", kind: "transient" });
    };
    const lostTwo = async () => {
      makeReady(rig.store, "claw-a");
      const [running, waiting] = [await order(), await order()];
      const subscription = await buy(running.session);
      loseWebhooks();
      await rig.stripe.console.cancel(subscription).sent;
      await buy(waiting.session);
      return () => [running.state(), waiting.state()];
    };

    for (const call of ["subscriptions", "sessions"] as const) {
      it(`from a list of ${call} that failed, and looks again in a minute`, async () => {
        const states = await lostTwo();
        fake[call] = down;
        rig.clock.skip(15 * minute);
        await sweep.runIfDue();
        assert.deepEqual([states(), repairs], [["provisioning", "awaiting-payment"], []]);
        fake = {};
        await sweep.runIfDue();
        assert.deepEqual(repairs, []);
        rig.clock.skip(minute);
        await sweep.runIfDue();
        assert.deepEqual(
          [states(), repairs],
          [
            ["releasing", "queued"],
            ["end", "payment"],
          ],
        );
      });
    }

    it("from an empty list: each subscription is asked for by its id", async () => {
      makeReady(rig.store, "claw-a");
      const { session, state } = await order();
      const subscription = await buy(session);
      fake.subscriptions = async () => ({ found: [], complete: true });
      fake.sessions = async () => ({ found: [], complete: true });
      assert.deepEqual((await now()).findings, []);
      assert.equal(state(), "provisioning");
      assert(asked.includes(`fetchSubscription ${subscription}`));
    });

    it("from an object that Stripe does not have, or cannot be asked for", async () => {
      const states = await lostTwo();
      for (const answer of [async () => null, down]) {
        fake.fetchSubscription = answer;
        const report = await now();
        assert.deepEqual([states()[0], report.gaps.length > 0], ["provisioning", answer === down]);
      }
    });

    it("from a list that was cut: the next look begins where this one did", async () => {
      fake.sessions = async () => ({ found: [], complete: false });
      rig.clock.skip(10 * 24 * hour);
      const cut = await now();
      assert.match(cut.gaps.join(), /sessions: the oldest were not listed/);
      fake = {};
      rig.clock.skip(hour);
      const whole = await now();
      assert.equal(whole.since, cut.since);
      assert.equal((await now()).since - whole.since > 10 * 24 * hour, true);
    });
  });

  it("looks often enough to repair within 15 minutes, at the start, and as far back as something may have been missed", async () => {
    await sweep.runIfDue();
    for (let minutes = 1; minutes < 14; minutes++) {
      rig.clock.skip(minute);
      await sweep.runIfDue();
      assert.deepEqual(asked, []);
    }
    rig.clock.skip(minute);
    await sweep.runIfDue();
    assert.deepEqual(asked, ["subscriptions", "sessions"], "and 2 calls when nothing waits");
    const lastLook = rig.clock.now();
    // Down for three days.
    rig.clock.skip(72 * hour);
    sweep = openSweep();
    asked.length = 0;
    let since = 0;
    fake.sessions = async (filter) => {
      since = filter.createdSince;
      return rig.gateway.sessions(filter);
    };
    await sweep.runIfDue();
    assert.equal(asked.length, 2);
    // A session may be open for a day before it is paid.
    assert(since <= lastLook - 24 * hour && since > lastLook - 26 * hour);
  });

  it("asks for 200 single objects at a time, and for the others the next time", async () => {
    for (let n = 0; n < 250; n++) {
      const id = `o-${n}` as OrderId;
      rig.store.createOrder(newOrder(id));
      const payment = {
        order: id,
        checkoutSession: `cs_${n}`,
        subscription: `sub_${n}`,
        stripeCustomer: null,
      };
      rig.store.acceptPayment(event(`evt_${n}`), payment, []);
    }
    const seen: string[] = [];
    fake.fetchSubscription = async (id) => {
      seen.push(id);
      return subscription({ id });
    };
    const report = await now();
    assert.equal(seen.length, 200);
    assert.match(report.gaps.join(), /^50 objects are asked for next time$/);
    await now();
    assert.equal(new Set(seen.slice(0, 250)).size, 250);
    seen.length = 0;
    fake.fetchSubscription = async (id) => {
      seen.push(id);
      throw new BorderError("503", { border: "stripe", kind: "transient" });
    };
    await now();
    assert.equal(seen.length, 3, "a Stripe that is down is not asked 200 times");
  });

  it("changes nothing when it is only asked what it would repair, and looks back as far as it is told", async () => {
    makeReady(rig.store, "claw-a");
    const { session, state } = await order();
    loseWebhooks();
    await buy(session);
    rig.clock.skip(23 * hour);
    const rows = rig.store.auditRows().length;
    const memory = rig.store.setting("stripe-sweep");
    const dry = await now({ dryRun: true, sinceMs: 24 * hour });
    assert.deepEqual([kinds(dry), state(), repairs], [["payment"], "awaiting-payment", []]);
    assert.equal(rig.clock.now() - dry.since >= 24 * hour, true);
    assert.equal(rig.store.auditRows().length, rows);
    assert.equal(rig.store.setting("stripe-sweep"), memory);
    assert.deepEqual(kinds(await now({ sinceMs: hour })), [], "made before that");
    assert.deepEqual(kinds(await now()), ["payment"], "a narrow look moved nothing on");
  });

  it("touches the store no more once it was stopped", async () => {
    makeReady(rig.store, "claw-a");
    const { session, state } = await order();
    loseWebhooks();
    await buy(session);
    meanwhile = async () => sweep.stop();
    rig.clock.skip(15 * minute);
    await sweep.runIfDue();
    assert.deepEqual([state(), repairs], ["awaiting-payment", []]);
    await assert.rejects(now(), /stops/);
  });
});
