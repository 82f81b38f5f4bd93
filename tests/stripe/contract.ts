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

export interface Subject {
  readonly key: string;
  readonly apiUrl: string | null;
  readonly price: string;
}

export function stripeContract(name: string, subject: () => Subject): void {
  const open = (key = subject().key) =>
    createStripeGateway({ key: new Secret(key), apiUrl: subject().apiUrl, clock: systemClock });
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
      const before = Math.floor(Date.now() / 1000) * 1000;
      const { session, url } = await open().createCheckout(request());
      assert.match(session, /^cs_test_/);
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
        const future = Date.now() + 86_400_000;
        const none = await open().sessions({ status, createdSince: future, limit: 1_000 });
        assert.deepEqual(none, { found: [], complete: true });
      }
    });

    it("says permanent for a price that is not there, auth for a wrong key", async () => {
      const wrong = request({ price: "price_none" });
      await assert.rejects(open().createCheckout(wrong), fails("permanent", "resource_missing"));
      await assert.rejects(open("sk_test_wrong").createCheckout(request()), fails("auth"));
      await assert.rejects(open("sk_test_wrong").fetchSession("cs_test_none"), fails("auth"));
      await assert.rejects(open("sk_test_wrong").subscriptions(1), fails("auth"));
    });
  });
}
