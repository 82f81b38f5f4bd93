import { strict as assert } from "node:assert";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "../../pool/clock.ts";
import { BorderError } from "../../pool/errors.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { createStripeGateway, stripeApiVersion } from "../../pool/stripe/gateway.ts";
import type { CallFault } from "../cloud/stripe/faults.ts";
import { type LocalStripe, startStripe } from "../cloud/stripe/stripe.ts";
import { gatewayTo, stripeContract } from "./contract.ts";

describe("the Stripe border", () => {
  let stripe: LocalStripe;
  before(async () => {
    stripe = await startStripe({ prices: ["price_1"] });
  });
  after(() => stripe.close());
  stripeContract("the stand-in", () =>
    gatewayTo({
      key: stripe.key,
      apiUrl: stripe.apiUrl,
      price: "price_1",
      buyer: {
        buy: async (session) => void stripe.console.buy(session),
        expire: async (session) => void stripe.console.expire(session),
        async payLate(session) {
          const { subscription } = stripe.console.buy(session, { paymentStatus: "unpaid" });
          stripe.console.paymentFails(session);
          stripe.console.paymentRecovers(subscription.id);
        },
        cancel: async (subscription) => void stripe.console.cancel(subscription),
      },
    }),
  );
});

const { STRIPE_TEST_KEY: key, STRIPE_TEST_PRICE: price } = process.env;
if (key?.startsWith("sk_test_") && price) {
  console.log("Stripe's sandbox: what takes a buyer is not tested there");
  stripeContract("Stripe's sandbox", () => gatewayTo({ key, apiUrl: null, price, buyer: null }));
}

describe("createStripeGateway", () => {
  let stripe: LocalStripe;
  beforeEach(async () => {
    stripe = await startStripe({ prices: ["price_1"] });
  });
  afterEach(() => stripe.close());

  const open = (maxNetworkRetries: number) =>
    createStripeGateway({
      key: new Secret(stripe.key),
      apiUrl: stripe.apiUrl,
      clock: systemClock,
      maxNetworkRetries,
    });
  const request = {
    reference: "ord_1",
    price: "price_1",
    successUrl: "https://shop.example/thanks",
    cancelUrl: "https://shop.example/cart",
    metadata: {},
    idempotencyKey: "k1",
  };
  const fails = (kind: string) => (error: unknown) => error instanceof BorderError && error.kind === kind;

  it("sends the pinned API version and our idempotency key", async () => {
    await open(0).createCheckout(request);
    const [call] = stripe.calls();
    assert.deepEqual([call?.apiVersion, call?.idempotencyKey], [stripeApiVersion, "k1"]);
  });

  it("makes one session when the answer was lost and the call is repeated", async () => {
    stripe.faults.add({
      on: "call",
      method: "POST",
      path: "/v1/checkout/sessions",
      effect: { kind: "drop", when: "after" },
    });
    const { session } = await open(0).createCheckout(request);
    assert.deepEqual([...stripe.account.sessions.keys()], [session]);
    assert.equal(stripe.calls().length, 2);
  });

  it("takes another key when Stripe keeps a failure of its own under the first, and the same one ever after", async () => {
    const crash = (times: number | null) =>
      stripe.faults.add({
        on: "call",
        method: "POST",
        path: "/v1/checkout/sessions",
        times,
        effect: { kind: "crash" },
      });
    crash(1);
    await assert.rejects(open(2).createCheckout(request), fails("transient"));
    assert.equal(stripe.calls().length, 1, "Stripe says that repeating is of no use");
    const { session } = await open(0).createCheckout(request);
    assert.deepEqual(
      stripe.calls().map(({ idempotencyKey, status }) => [idempotencyKey, status]),
      [
        ["k1", 500],
        ["k1", 500],
        ["k1:2", 200],
      ],
    );
    assert.equal((await open(0).createCheckout(request)).session, session);
    assert.equal(stripe.account.sessions.size, 1);
    const other = { ...request, idempotencyKey: "k2" };
    const lasting = crash(null);
    for (let key = 1; key <= 3; key++)
      await assert.rejects(open(0).createCheckout(other), fails("transient"));
    stripe.faults.remove(lasting);
    await assert.rejects(open(0).createCheckout(other), fails("transient"), "three keys are enough");
  });

  it("calls both of Stripe's limits transient, and waits for a lock because Stripe says so", async () => {
    const { session } = await open(0).createCheckout(request);
    const limit = (effect: CallFault["effect"]) =>
      stripe.faults.add({ on: "call", path: "/v1/checkout/sessions/*", effect });
    limit({ kind: "lock-timeout" });
    assert.equal((await open(1).fetchSession(session))?.id, session);
    for (const kind of ["rate-limit", "lock-timeout"] as const) {
      limit({ kind });
      await assert.rejects(open(0).fetchSession(session), fails("transient"), kind);
    }
  });

  it("repeats what may work later, and says transient when it does not", async () => {
    const call = (path: string, effect: CallFault["effect"], times = 1) =>
      stripe.faults.add({ on: "call", path, times, effect });
    call("/v1/checkout/sessions/*", { kind: "answer", status: 503 });
    assert.equal(await open(1).fetchSession("cs_test_none"), null);
    for (const status of [500, 503, 409, 429] as const) {
      call("/v1/subscriptions/*", { kind: "answer", status });
      await assert.rejects(open(0).fetchSubscription("sub_1"), fails("transient"), String(status));
    }
    call("/v1/subscriptions/*", { kind: "drop" }, 2);
    await assert.rejects(open(0).fetchSubscription("sub_1"), fails("transient"));
  });

  it("gives up a call that nobody answers", async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const gateway = createStripeGateway({
      key: new Secret("sk_test_1"),
      apiUrl: `http://127.0.0.1:${(silent.address() as AddressInfo).port}`,
      clock: systemClock,
      timeoutMs: 20,
      maxNetworkRetries: 0,
    });
    await assert.rejects(gateway.fetchSession("cs_1"), fails("transient"));
    silent.closeAllConnections();
    await new Promise<void>((resolve) => silent.close(() => resolve()));
  });

  it("calls an answer that it cannot read permanent", async () => {
    const strange = createServer((_, response) => {
      response.setHeader("content-type", "application/json");
      response.end('{"id":"cs_1","object":"teapot"}');
    });
    await new Promise<void>((resolve) => strange.listen(0, "127.0.0.1", resolve));
    const gateway = createStripeGateway({
      key: new Secret("sk_test_1"),
      apiUrl: `http://127.0.0.1:${(strange.address() as AddressInfo).port}`,
      clock: systemClock,
    });
    await assert.rejects(gateway.fetchSession("cs_1"), fails("permanent"));
    strange.closeAllConnections();
    await new Promise<void>((resolve) => strange.close(() => resolve()));
  });

  describe("lists", () => {
    const buy = async () => {
      const key = `k${stripe.account.sessions.size}`;
      const { session } = await open(0).createCheckout({ ...request, idempotencyKey: key });
      const { subscription } = stripe.console.buy(session);
      return { session, subscription: subscription.id };
    };
    const everything = { status: "complete", createdSince: 0, limit: 1_000 } as const;
    const pages = (path: string) =>
      stripe.calls().filter((call) => call.method === "GET" && call.path.startsWith(path)).length;

    it("go through every page, newest first, and end where they are told to", async () => {
      const bought: string[] = [];
      for (let n = 0; n < 120; n++) bought.push((await buy()).session);
      const all = await open(0).sessions(everything);
      assert.deepEqual([all.found.map(({ id }) => id), all.complete], [bought.toReversed(), true]);
      assert.equal(pages("/v1/checkout/sessions"), 2);
      const some = await open(0).sessions({ ...everything, limit: 50 });
      assert.deepEqual(
        [some.found.map(({ id }) => id), some.complete],
        [bought.toReversed().slice(0, 50), false],
      );
      assert.equal(pages("/v1/checkout/sessions"), 3, "and not further");
      assert.equal((await open(0).subscriptions(1_000)).found.length, 120);
      assert.equal((await open(0).subscriptions(50)).complete, false);
    });

    it("show what has expired, and what is not cancelled, as it is", async () => {
      const [one, two, three] = [await buy(), await buy(), await buy()];
      stripe.console.cancel(one.subscription);
      stripe.console.failPayment(two.subscription);
      const { session } = await open(0).createCheckout({ ...request, idempotencyKey: "left" });
      stripe.console.expire(session);
      const expired = await open(0).sessions({ ...everything, status: "expired" });
      assert.deepEqual(
        expired.found.map(({ id, status }) => [id, status]),
        [[session, "expired"]],
      );
      const { found } = await open(0).subscriptions(100);
      assert.deepEqual(
        found.map(({ id, status }) => [id, status]),
        [
          [three.subscription, "active"],
          [two.subscription, "past_due"],
        ],
      );
    });

    it("fail as a whole when one page fails", async () => {
      for (let n = 0; n < 101; n++) await buy();
      const fault = {
        on: "call",
        path: "/v1/checkout/sessions",
        skip: 1,
        effect: { kind: "answer", status: 503 },
      };
      stripe.faults.add(fault as CallFault);
      await assert.rejects(open(0).sessions(everything), fails("transient"));
      stripe.faults.add({ on: "call", path: "/v1/subscriptions", effect: { kind: "rate-limit" } });
      await assert.rejects(open(0).subscriptions(100), fails("transient"));
    });
  });

  it("never says the key", async () => {
    const gateway = createStripeGateway({
      key: new Secret("sk_test_canary_0123456789"),
      apiUrl: stripe.apiUrl,
      clock: systemClock,
    });
    await assert.rejects(gateway.fetchSession("cs_1"), (error) => {
      assert(error instanceof BorderError);
      return !`${error.message} ${error.stack}`.includes("canary_0123456789");
    });
  });
});
