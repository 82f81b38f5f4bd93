/** S1-S23: what Stripe says twice, late, in any order, falsely or not at all. */
import { strict as assert } from "node:assert";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import Database from "better-sqlite3";
import { execa } from "execa";
import { clawpoolArgs } from "../cloud/daemon-process.ts";
import type { FaultInput } from "../cloud/stripe/faults.ts";
import { statesOf } from "../e2e/world.ts";
import { onLocalCloud } from "./fault.ts";
import { type FaultRig, startFaultRig } from "./rig.ts";

const completed = "checkout.session.completed";
const deleted = "customer.subscription.deleted";
type Delivery = Extract<FaultInput, { on: "delivery" }>;

describe("faults: Stripe, on the local cloud", function () {
  this.timeout(120_000);
  let rig: FaultRig & { stop(): Promise<void> };

  before(async () => {
    rig = await startFaultRig({ minReady: 10, maxTotal: 10 });
    await rig.ready(10);
  });
  after(() => rig?.stop());

  const fault = onLocalCloud(() => rig);
  const stripe = () => rig.rig.cloud.stripe;
  const deliver = (type: string, effect: Delivery["effect"], times = 1) =>
    stripe().faults.add({ on: "delivery", type, times, effect });
  const claimsOf = (order: string) =>
    rig.store
      .auditRows({ limit: 100_000 })
      .filter(({ action, after }) => action === "machine.claimed" && after?.order === order).length;
  const inInbox = (event: string) => {
    const db = new Database(join(rig.rig.operator.stateDir, "clawpool.sqlite"), { readonly: true });
    const { n } = db.prepare("SELECT count(*) AS n FROM inbox WHERE id = ?").get(event) as { n: number };
    db.close();
    return n;
  };
  /** One that looks like `body` in everything but what is said here. */
  const like = (body: string, change: Record<string, unknown>, object: Record<string, unknown> = {}) => {
    const event = JSON.parse(body) as { data: { object: Record<string, unknown> } };
    return JSON.stringify({ ...event, ...change, data: { object: { ...event.data.object, ...object } } });
  };
  const reconcile = () =>
    execa(process.execPath, clawpoolArgs(rig.rig.operator.configFile, "reconcile", "stripe"));

  fault("S1", "one event sent fifty times, in a row and at once, is one payment", async () => {
    const bought = await rig.serve("s1");
    const body = rig.told(completed, bought.session);
    for (let i = 0; i < 5; i++) assert.equal(await rig.post(body), 200);
    assert.deepEqual(
      await Promise.all(Array.from({ length: 50 }, () => rig.post(body))),
      Array.from({ length: 50 }, () => 200),
    );
    assert.equal(claimsOf(bought.id), 1);
    assert.equal(inInbox((JSON.parse(body) as { id: string }).id), 1);
  });

  fault("S2", "two events of one session are one payment", async () => {
    const [first] = rig.store.orders({ states: ["running"] });
    assert(first?.checkoutSession);
    const body = rig.told(completed, first.checkoutSession);
    for (const id of ["evt_resent_1", "evt_resent_2"]) assert.equal(await rig.post(like(body, { id })), 200);
    assert.equal(claimsOf(first.id), 1);
    assert.equal(inInbox("evt_resent_2"), 1);
  });

  fault("S3", "a debit that clears later is served when it clears, not before", async () => {
    const order = await rig.order("s3");
    const session = order.checkout_session ?? "";
    await stripe().console.buy(session, { paymentStatus: "unpaid" }).sent;
    assert.equal((await rig.rig.shop.view(order.id)).state, "awaiting-payment");
    await stripe().console.paymentSucceeds(session).sent;
    await rig.reached(order.id, "running");
  });

  fault("S4", "a debit that does not clear takes no machine", async () => {
    const order = await rig.order("s4");
    const session = order.checkout_session ?? "";
    await stripe().console.buy(session, { paymentStatus: "unpaid" }).sent;
    await stripe().console.paymentFails(session).sent;
    assert.equal((await rig.rig.shop.view(order.id)).state, "expired");
    assert.equal(claimsOf(order.id), 0);
  });

  fault("S5", "`async_payment_succeeded` before `completed` is one payment", async () => {
    const order = await rig.order("s5");
    const session = order.checkout_session ?? "";
    stripe().console.buy(session, { paymentStatus: "unpaid", hold: true });
    stripe().console.paymentSucceeds(session, { hold: true });
    await stripe().release(["checkout.session.async_payment_succeeded", completed]);
    await rig.reached(order.id, "running");
    assert.equal(claimsOf(order.id), 1);
  });

  fault("S6", "an end before its beginning serves nobody", async () => {
    const order = await rig.order("s6");
    const { subscription } = stripe().console.buy(order.checkout_session ?? "", { hold: true });
    stripe().console.cancel(subscription.id, { hold: true });
    await stripe().release([deleted, completed]);
    const seen = await rig.rig.shop.follow(order.id, ["released"]);
    assert.deepEqual(statesOf(seen), ["awaiting-payment", "released"]);
    assert.equal(claimsOf(order.id), 0);
  });

  fault("S7", "an end while the machine is handed over ends in its destruction", async () => {
    const order = await rig.order("s7");
    const session = order.checkout_session ?? "";
    const release = stripe().console.hold(`GET /v1/checkout/sessions/${session}`);
    const { subscription, sent } = stripe().console.buy(session);
    for await (const event of rig.rig.shop.events(order.id)) if (event.type === "step") break;
    await sent;
    await stripe().console.cancel(subscription.id).sent;
    release();
    await rig.reached(order.id, "released");
    const used = rig.machines("destroyed").find((machine) => machine.order === order.id);
    assert(used, "no machine of the order was destroyed");
  });

  fault("S8", "what is forged or altered by one byte is refused and leaves nothing", async () => {
    const order = await rig.order("s8");
    const expired = "checkout.session.expired";
    deliver(expired, { kind: "sign", as: "foreign" });
    deliver(expired, { kind: "garble" });
    const before = rig.store.auditRows({ limit: 100_000 }).length;
    const tries = () => {
      const found = stripe()
        .deliveries()
        .filter(({ requestBody }) => requestBody.includes(order.id));
      return found.map(({ status }) => status);
    };
    await stripe().console.expire(order.checkout_session ?? "").sent;
    assert.deepEqual(tries(), [400]);
    assert.equal(rig.store.auditRows({ limit: 100_000 }).length, before);
    await stripe().settled();
    assert.deepEqual(tries(), [400, 400, 200]);
  });

  fault("S9", "a signature of 301 s ago or ahead is refused", async () => {
    const [any] = stripe().deliveries();
    assert(any);
    const before = rig.store.auditRows({ limit: 100_000 }).length;
    for (const off of [-301_000, 301_000]) {
      assert.equal(await rig.post(any.requestBody, { at: Date.now() + off }), 400, String(off));
    }
    assert.equal(rig.store.auditRows({ limit: 100_000 }).length, before);
  });

  fault("S10", "a valid body that somebody replays within five minutes changes nothing", async () => {
    const [first] = rig.store.orders({ states: ["running"] });
    assert(first?.checkoutSession);
    const delivery = stripe()
      .deliveries()
      .find(({ requestBody, type }) => type === completed && requestBody.includes(first.id));
    assert(delivery);
    const header = delivery.requestHeaders["stripe-signature"] ?? "";
    const before = rig.store.auditRows({ limit: 100_000 }).length;
    assert.equal(await rig.post(delivery.requestBody, { header }), 200);
    assert.equal(rig.store.auditRows({ limit: 100_000 }).length, before);
  });

  fault("S11", "while the secret is rolled both are good, and the log says which one was", async () => {
    const destination = [...stripe().account.destinations.keys()][0] ?? "";
    const next = stripe().console.rollSecret(destination);
    const bought = await rig.serve("s11");
    const delivery = stripe()
      .deliveries()
      .find(({ requestBody }) => requestBody.includes(bought.session));
    assert.equal(delivery?.requestHeaders["stripe-signature"]?.match(/v1=/g)?.length, 2);
    const log = await readFile(rig.rig.daemon.logFile, "utf8");
    const line = log
      .split("\n")
      .find((text) => text.includes("webhook taken") && text.includes(bought.session));
    assert.equal((JSON.parse(line ?? "{}") as { secretIndex: number }).secretIndex, 0);
    // The new one alone is not ours yet.
    assert.equal(await rig.post(delivery.requestBody, { secret: next }), 400);
  });

  fault("S12", "signed garbage is refused, and the daemon lives and learns nothing from it", async () => {
    const deep = `${"[".repeat(10_000)}${"]".repeat(10_000)}`;
    const twice =
      '{"id":"evt_1","id":"evt_2","object":"event","type":"x","created":1,"data":{"object":{}},"type":5}';
    const proto = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}';
    const bodies = [
      "null",
      "[]",
      "{}",
      "",
      "\u0000",
      '"\\ud800"',
      deep,
      twice,
      proto,
      "NaN",
      '{"object":"event"',
    ];
    for (const body of bodies) assert.equal(await rig.post(body), 400, body.slice(0, 40));
    assert.equal(await rig.post(Buffer.from([0x22, 0xff, 0xfe, 0x22]), { payload: "x" }), 400);
    const large = await rig.post(`"${"a".repeat(1_000_000)}"`).catch(() => 413);
    assert.equal(large, 413);
    const { status } = await fetch(`${rig.rig.daemon.url}/readyz`);
    assert.equal(status, 200);
  });

  fault("S13", "a thin event beside the snapshot event of the same change is the same event", async () => {
    stripe().setStyle("thin");
    let bought: Awaited<ReturnType<FaultRig["serve"]>>;
    try {
      bought = await rig.serve("s13");
    } finally {
      stripe().setStyle("snapshot");
    }
    const event = stripe().account.events.find(
      ({ type, data }) => type === completed && (data.object as { id?: string }).id === bought.session,
    );
    assert(event);
    await stripe().console.resend(event.id);
    assert.equal(claimsOf(bought.id), 1);
    assert.equal(inInbox(event.id), 1);
  });

  fault("S14", "an event of the other mode is put away, and a person is told", async () => {
    const order = await rig.order("s14");
    const body = rig.told(completed, "cs_");
    const live = like(
      body,
      { id: "evt_live", livemode: true },
      {
        id: order.checkout_session,
        client_reference_id: order.id,
        livemode: true,
      },
    );
    assert.equal(await rig.post(live), 200);
    assert.equal((await rig.rig.shop.view(order.id)).state, "awaiting-payment");
    assert(rig.store.flags().some(({ kind }) => kind === "stripe-mode"));
  });

  fault("S15", "while Stripe's API is down the machine waits, and nobody is served unconfirmed", async () => {
    const { faults } = stripe();
    const path = "/v1/checkout/sessions/*";
    const order = await rig.order("s15");
    faults.add({ on: "call", method: "GET", path, effect: { kind: "drop" } });
    faults.add({ on: "call", method: "GET", path, times: 2, effect: { kind: "answer", status: 500 } });
    faults.add({ on: "call", method: "GET", path, effect: { kind: "rate-limit" } });
    const { sent } = stripe().console.buy(order.checkout_session ?? "");
    await sent;
    await rig.reached(order.id, "running");
    const why = rig.store.auditRows({ subject: order.id, limit: 1_000 }).map(({ action }) => action);
    assert(why.includes("payment.confirmed"));
  });

  fault("S16", "a payment whose webhook never comes is found by the comparison", async () => {
    const order = await rig.order("s16");
    deliver(completed, { kind: "lose" });
    await stripe().console.buy(order.checkout_session ?? "").sent;
    assert.equal((await rig.rig.shop.view(order.id)).state, "awaiting-payment");
    await reconcile();
    await rig.reached(order.id, "running");
  });

  fault("S17", "a payment of which Stripe never made an event is found, too", async () => {
    const order = await rig.order("s17");
    stripe().faults.add({ on: "event", type: completed, effect: { kind: "unmade" } });
    await stripe().console.buy(order.checkout_session ?? "").sent;
    const made = stripe().account.events.filter(({ data }) => JSON.stringify(data).includes(order.id));
    assert(made.every(({ type }) => type !== completed));
    await reconcile();
    await rig.reached(order.id, "running");
  });

  fault("S18", "an end that the fetched subscription does not show ends nothing", async () => {
    const [running] = rig.store.orders({ states: ["running"] });
    assert(running?.subscription);
    const object = stripe().account.subscription(running.subscription);
    const body = like(rig.told(deleted, "sub_"), { id: "evt_mistaken" }, { ...object, status: "canceled" });
    assert.equal(await rig.post(body), 200);
    assert.equal(rig.store.order(running.id)?.endedAt, null);
    assert(
      rig.store.flags().some(({ kind, subject }) => kind === "stripe-disagrees" && subject === object.id),
    );
  });

  fault("S22", "a database that another process holds is 503, and Stripe's next try is kept", async () => {
    const order = await rig.order("s22");
    const db = new Database(join(rig.rig.operator.stateDir, "clawpool.sqlite"));
    db.exec("BEGIN IMMEDIATE");
    const first = stripe().console.buy(order.checkout_session ?? "");
    await first.sent;
    db.exec("ROLLBACK");
    db.close();
    const tries = () =>
      stripe()
        .deliveries()
        .filter(({ type, requestBody }) => type === completed && requestBody.includes(order.id));
    assert.equal(tries()[0]?.status, 503);
    await stripe().settled();
    assert.equal(tries().at(-1)?.status, 200);
    await rig.reached(order.id, "running");
  });

  fault("S23", "a customer who buys twice gets two", async () => {
    const [first] = rig.store.orders({ states: ["running"] }).filter(({ customer }) => customer === "s1");
    const second = await rig.serve("s1");
    assert.notEqual(first?.machine, rig.machineOf(second.id));
  });
});
