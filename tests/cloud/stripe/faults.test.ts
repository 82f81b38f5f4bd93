import { strict as assert } from "node:assert";
import { Stripe } from "stripe";
import { VirtualClock } from "../../virtual-clock.ts";
import { Faults } from "./faults.ts";
import { libraryOn, type Rig, startRig } from "./rig.ts";

const { errors } = Stripe;

describe("faults of the stand-in for Stripe, as the library sees them", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig({}, null);
  });
  afterEach(() => rig.close());

  const customers = { on: "call", method: "POST", path: "/v1/customers" } as const;
  const create = (client = rig.client) => client.customers.create({ name: "a" });
  const count = () => rig.stripe.account.customers.size;
  const replayed = (answer: { lastResponse: { headers: Record<string, string> } }) =>
    answer.lastResponse.headers["idempotent-replayed"];

  it("rate limit: an error of its own, which says which limit it was, and is not repeated", async () => {
    rig.stripe.faults.add({ ...customers, effect: { kind: "rate-limit", reason: "endpoint-rate" } });
    await assert.rejects(create(libraryOn(rig.stripe, { maxNetworkRetries: 2 })), (error) => {
      assert(error instanceof errors.StripeRateLimitError);
      assert.equal(error.headers?.["stripe-rate-limited-reason"], "endpoint-rate");
      return error.statusCode === 429 && error.code === "rate_limit";
    });
    assert.equal(rig.stripe.calls().length, 1);
    assert.equal(count(), 0);
  });

  it("lock time-out: repeated by the library because Stripe says so", async () => {
    rig.stripe.faults.add({ ...customers, effect: { kind: "lock-timeout" } });
    await create(libraryOn(rig.stripe, { maxNetworkRetries: 1 }));
    assert.deepEqual(
      rig.stripe.calls().map(({ status }) => status),
      [429, 200],
    );
    rig.stripe.faults.add({ ...customers, effect: { kind: "lock-timeout" } });
    await assert.rejects(create(), { code: "lock_timeout", statusCode: 429 });
  });

  it("an error of a server in front: repeated, and found done when it was done", async () => {
    rig.stripe.faults.add({ ...customers, effect: { kind: "answer", status: 503 } });
    rig.stripe.faults.add({ ...customers, effect: { kind: "answer", when: "after", status: 504 } });
    const patient = libraryOn(rig.stripe, { maxNetworkRetries: 2 });
    const made = await create(patient);
    assert.deepEqual(
      rig.stripe.calls().map(({ status }) => status),
      [503, 504, 200],
    );
    assert.equal(replayed(made), "true");
    assert.equal(count(), 1);
    rig.stripe.faults.add({ ...customers, effect: { kind: "answer", status: 502 } });
    await assert.rejects(create(), errors.StripeAPIError);
  });

  it("a crash within the call: 500, which the key gives again and again", async () => {
    rig.stripe.faults.add({ ...customers, effect: { kind: "crash" } });
    const key = { idempotencyKey: "k1" };
    const patient = libraryOn(rig.stripe, { maxNetworkRetries: 2 });
    await assert.rejects(patient.customers.create({ name: "a" }, key), errors.StripeAPIError);
    await assert.rejects(patient.customers.create({ name: "a" }, key), { statusCode: 500 });
    assert.equal(rig.stripe.calls().length, 2, "stripe-should-retry: false");
    await patient.customers.create({ name: "a" }, { idempotencyKey: "k2" });
    assert.equal(count(), 1);
  });

  it("a dropped connection, before or after the change: repeated once even without repeats", async () => {
    rig.stripe.faults.add({ ...customers, effect: { kind: "drop" } });
    await create();
    assert.equal(count(), 1);
    rig.stripe.faults.add({ ...customers, effect: { kind: "drop", when: "after" } });
    assert.equal(replayed(await create()), "true");
    assert.equal(count(), 2);
    assert.deepEqual(
      rig.stripe.calls().map(({ status }) => status),
      ["cut", 200, "cut", 200],
    );
    rig.stripe.faults.add({ ...customers, times: 2, effect: { kind: "drop" } });
    await assert.rejects(create(), errors.StripeConnectionError);
  });

  it("a slow answer: given up after the library's time-out", async () => {
    const clock = new VirtualClock();
    const own = await startRig({ clock }, null);
    try {
      own.stripe.faults.add({ ...customers, times: 2, effect: { kind: "delay", ms: 20_000 } });
      const hasty = libraryOn(own.stripe, { timeout: 50 });
      await assert.rejects(hasty.customers.create({ name: "a" }), errors.StripeConnectionError);
      let answered = false;
      const patient = own.client.customers.create({ name: "b" }).then(() => {
        answered = true;
      });
      await own.until(() => clock.waiting === 2);
      await clock.advance(19_999);
      assert.equal(answered, false);
      await clock.advance(1);
      await patient;
    } finally {
      await own.close();
    }
  });

  it("a held call: answered as things are when the fault is taken back", async () => {
    const { subscription } = rig.bought();
    const release = rig.stripe.console.hold(`GET /v1/subscriptions/${subscription}`);
    const seen = rig.client.subscriptions.retrieve(subscription);
    await rig.until(() => rig.stripe.faults.list()[0]?.hits === 1);
    rig.stripe.console.cancel(subscription);
    release();
    assert.equal((await seen).status, "canceled");
  });

  it("an event that is never made: neither sent nor listed, though the thing happened", async () => {
    rig.stripe.faults.add({ on: "event", type: "customer.subscription.deleted", effect: { kind: "unmade" } });
    rig.stripe.setWebhook(rig.webhook, ["*"]);
    const { subscription } = rig.bought();
    await rig.stripe.console.cancel(subscription).sent;
    assert.equal((await rig.client.subscriptions.retrieve(subscription)).status, "canceled");
    assert.deepEqual((await rig.client.events.list({ type: "customer.subscription.deleted" })).data, []);
    assert(!rig.types().includes("customer.subscription.deleted"));
  });

  it("two events for one change", async () => {
    rig.stripe.faults.add({ on: "event", type: "checkout.session.completed", effect: { kind: "twin" } });
    const { session } = rig.bought();
    const { data } = await rig.client.events.list({ type: "checkout.session.completed" });
    assert.equal(new Set(data.map(({ id }) => id)).size, 2);
    assert.deepEqual(
      data.map(({ data }) => (data.object as { id: string }).id),
      [session, session],
    );
  });

  it("hit calls by method, path and parameters, as often as asked, after those they let through", async () => {
    const { faults } = rig.stripe;
    faults.add({
      on: "call",
      path: "/v1/customers",
      form: { "metadata[k]": "v" },
      skip: 1,
      times: 2,
      effect: { kind: "answer", status: 500 },
    });
    const named = (k: string) => rig.ask("POST", "/v1/customers", `metadata[k]=${k}`);
    const statuses: number[] = [];
    for (const k of ["v", "w", "v", "w", "v", "v"]) statuses.push((await named(k)).status);
    assert.deepEqual(statuses, [200, 200, 500, 200, 500, 200]);
    assert.deepEqual(
      faults.log().map(({ fault, effect, what }) => [fault, effect, what]),
      Array(2).fill([1, "answer", "POST /v1/customers"]),
    );
  });

  it("hit by chance as the seed says", () => {
    const hits = (seed: number) => {
      const faults = new Faults(seed, () => 0);
      faults.add({ on: "call", path: "/v1/events", probability: 0.3, times: null, effect: { kind: "drop" } });
      return Array.from({ length: 200 }, () => faults.onCall("GET", "/v1/events", {}).effect !== null);
    };
    assert.deepEqual(hits(1), hits(1));
    assert.notDeepEqual(hits(1), hits(2));
    const share = hits(1).filter(Boolean).length / 200;
    assert(share > 0.2 && share < 0.4, String(share));
  });

  it("can be ordered, seen and taken back at /_local/faults", async () => {
    const fault = { on: "call", path: "/v1/events", effect: { kind: "answer", status: 500 } };
    assert.deepEqual((await rig.local("faults", fault)).json, { id: 1 });
    assert.equal((await rig.ask("GET", "/v1/events")).status, 500);
    const { json } = await rig.local("faults");
    assert.deepEqual([(json.faults as unknown[]).length, (json.log as unknown[]).length], [1, 1]);
    const remove = (path: string) => fetch(`${rig.stripe.apiUrl}/_local/${path}`, { method: "DELETE" });
    assert.equal((await remove("faults/1")).status, 204);
    assert.equal((await remove("faults/1")).status, 404);
    await rig.local("faults", fault);
    assert.equal((await remove("faults")).status, 204);
    assert.equal((await rig.ask("GET", "/v1/events")).status, 200);
    for (const wrong of [
      null,
      {},
      { ...fault, times: 0 },
      { ...fault, on: "x" },
      { ...fault, colour: "red" },
    ]) {
      assert.equal((await rig.local("faults", wrong)).status, 400, JSON.stringify(wrong));
    }
  });
});
