/**
 * What every Stripe behind a StripeGateway must do. It runs on the stand-in; with STRIPE_TEST_KEY and STRIPE_TEST_PRICE
 * (a sandbox key and a recurring price of it) it runs on Stripe itself, too.
 */
import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { systemClock } from "../../pool/clock.ts";
import { BorderError } from "../../pool/errors.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { createStripeGateway } from "../../pool/stripe/gateway.ts";
import type { StripeGateway } from "../../pool/stripe/stripe.ts";

export interface StripeUnderTest {
  /** With a key that is not the account's: whatever Stripe says to that. */
  open(key?: "wrong"): StripeGateway;
  /** Epoch ms. */
  now(): number;
  /** A recurring one of the account. */
  readonly price: string;
  /** Null on Stripe itself, where only a buyer can. */
  readonly buyer: {
    /** Pays the checkout session. */
    buy(session: string): Promise<void>;
    expire(session: string): Promise<void>;
    /** Pays by a debit that does not clear, and then by the invoice that was left open. */
    payLate(session: string): Promise<void>;
    /** Ends the subscription at once. */
    cancel(subscription: string): Promise<void>;
  } | null;
}

/** Stripe, or what stands for it, behind the production gateway. */
export const gatewayTo = (account: {
  key: string;
  apiUrl: string | null;
  price: string;
  buyer: StripeUnderTest["buyer"];
}): StripeUnderTest => ({
  open: (key) =>
    createStripeGateway({
      key: new Secret(key === "wrong" ? "sk_test_wrong" : account.key),
      apiUrl: account.apiUrl,
      clock: systemClock,
    }),
  now: Date.now,
  price: account.price,
  buyer: account.buyer,
});

export function stripeContract(name: string, subject: () => StripeUnderTest): void {
  const open: StripeUnderTest["open"] = (key) => subject().open(key);
  const request = (change: Record<string, unknown> = {}) => ({
    reference: "ord_contract",
    price: subject().price,
    successUrl: "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}",
    cancelUrl: "https://shop.example/cart",
    metadata: { clawpool_order: "ord_contract" },
    idempotencyKey: `contract:${randomUUID()}`,
    ...change,
  });
  const fails = (kind: string, code?: string) => (error: unknown) =>
    error instanceof BorderError &&
    error.border === "stripe" &&
    error.kind === kind &&
    (code === undefined || error.code === code);

  describe(`the Stripe border on ${name}`, () => {
    it("makes a checkout, and shows it open, unpaid and with its price", async () => {
      const before = Math.floor(subject().now() / 1000) * 1000;
      const { session, url } = await open().createCheckout(request());
      assert.match(session, /^cs_/);
      assert(URL.canParse(url));
      const { createdAt, ...shown } = (await open().fetchSession(session)) ?? assert.fail();
      // Another machine's clock may differ a little.
      assert(Math.abs(createdAt - before) < 300_000);
      assert.deepEqual(shown, {
        id: session,
        status: "open",
        paymentStatus: "unpaid",
        mode: "subscription",
        reference: "ord_contract",
        subscription: null,
        customer: null,
        url,
        metadata: { clawpool_order: "ord_contract" },
        prices: [subject().price],
      });
    });

    it("makes one session for one idempotency key, and refuses the key for another", async () => {
      const same = request();
      const one = await open().createCheckout(same);
      assert.deepEqual(await open().createCheckout(same), one);
      const other = { ...same, reference: "ord_other" };
      await assert.rejects(open().createCheckout(other), fails("permanent", "StripeIdempotencyError"));
    });

    it("has null for sessions and subscriptions that are not there", async () => {
      assert.equal(await open().fetchSession("cs_test_none"), null);
      assert.equal(await open().fetchSubscription("sub_none"), null);
    });

    it("lists no session that is open, and none that was made before", async () => {
      const { session } = await open().createCheckout(request());
      const { createdAt } = (await open().fetchSession(session)) ?? assert.fail();
      for (const status of ["complete", "expired"] as const) {
        const { found } = await open().sessions({ status, createdSince: createdAt, limit: 1_000 });
        assert(!found.some(({ id }) => id === session));
        assert(found.every((one) => one.status === status && one.createdAt >= createdAt));
        const future = subject().now() + 86_400_000;
        const none = await open().sessions({ status, createdSince: future, limit: 1_000 });
        assert.deepEqual(none, { found: [], complete: true });
      }
    });

    it("says permanent for a price that is not there, auth for a wrong key", async () => {
      const wrong = request({ price: "price_none" });
      await assert.rejects(open().createCheckout(wrong), fails("permanent", "resource_missing"));
      await assert.rejects(open("wrong").createCheckout(request()), fails("auth"));
      await assert.rejects(open("wrong").fetchSession("cs_test_none"), fails("auth"));
      await assert.rejects(open("wrong").subscriptions(1), fails("auth"));
    });

    it("shows what was bought, lists it until it is cancelled, and remembers its end", async function () {
      const { buyer } = subject();
      if (buyer === null) return this.skip(); // said where the suite is run on Stripe itself
      const gateway = open();
      const { session } = await gateway.createCheckout(request());
      await buyer.buy(session);
      const bought = (await gateway.fetchSession(session)) ?? assert.fail();
      assert.deepEqual([bought.status, bought.paymentStatus, bought.url], ["complete", "paid", null]);
      assert(bought.customer);
      const id = bought.subscription ?? assert.fail();
      const active = (await gateway.fetchSubscription(id)) ?? assert.fail();
      assert.deepEqual([active.status, active.endedAt], ["active", null]);
      assert.deepEqual(active.metadata, { clawpool_order: "ord_contract" });
      const listed = async () => (await gateway.subscriptions(1_000)).found.map((one) => one.id);
      assert((await listed()).includes(id));
      const sessions = { status: "complete", createdSince: bought.createdAt, limit: 1_000 } as const;
      assert((await gateway.sessions(sessions)).found.some((one) => one.id === session));
      await buyer.cancel(id);
      const ended = (await gateway.fetchSubscription(id)) ?? assert.fail();
      assert.deepEqual([ended.status, ended.cancelReason], ["canceled", "cancellation_requested"]);
      assert(ended.endedAt !== null && ended.endedAt <= subject().now() + 1_000);
      const again = await gateway.fetchSubscription(id);
      assert.equal(again?.endedAt, ended.endedAt);
      assert(!(await listed()).includes(id));
    });

    it("shows a checkout as paid whose first payment did not clear and was collected later", async function () {
      const { buyer } = subject();
      if (buyer === null) return this.skip(); // as above
      const gateway = open();
      const { session } = await gateway.createCheckout(request());
      await buyer.payLate(session);
      const bought = (await gateway.fetchSession(session)) ?? assert.fail();
      assert.deepEqual([bought.status, bought.paymentStatus], ["complete", "paid"]);
      const standing = await gateway.fetchStanding(bought.subscription ?? assert.fail());
      assert.equal(standing?.subscription.status, "active");
      assert.equal(standing.charges.length, 1);
    });

    it("says of a list that is cut that it is, and gives the newest", async function () {
      const { buyer } = subject();
      if (buyer === null) return this.skip(); // as above
      const gateway = open();
      const made: string[] = [];
      for (let number = 0; number < 3; number++) {
        const { session } = await gateway.createCheckout(request());
        await buyer.expire(session);
        made.unshift(session);
      }
      const expired = { status: "expired", createdSince: 0 } as const;
      const cut = await gateway.sessions({ ...expired, limit: 2 });
      assert.deepEqual([cut.found.length, cut.complete], [2, false]);
      assert(cut.found.every(({ id, status }) => made.includes(id) && status === "expired"));
      assert(cut.found.every(({ prices }) => prices.length === 0));
      assert.equal((await gateway.sessions({ ...expired, limit: 1_000 })).complete, true);
    });
  });
}
