import { strict as assert } from "node:assert";
import { Stripe } from "stripe";
import { stripeApiVersion } from "../../../pool/stripe/gateway.ts";
import { VirtualClock } from "../../virtual-clock.ts";
import { type Rig, sessionForm, startRig } from "./rig.ts";

describe("the stand-in for Stripe's API", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig({}, null);
  });
  afterEach(() => rig.close());

  const sessions = "/v1/checkout/sessions";

  it("asks for the key as Stripe does, as bearer or as user", async () => {
    const { key } = rig.stripe;
    const basic = (user: string) => `Basic ${Buffer.from(`${user}:`).toString("base64")}`;
    for (const [authorization, message] of [
      ["", /did not provide an API key/],
      [`Digest ${key}`, /did not provide an API key/],
      ["Bearer sk_test_wrong_key_1234", /^Invalid API Key provided: sk_test_\*+1234$/],
      [basic("sk_test_wrong_key_1234"), /Invalid API Key provided/],
    ] as const) {
      const { status, json } = await rig.ask("GET", "/v1/events", "", { authorization });
      assert.deepEqual([status, json.error?.type], [401, "invalid_request_error"]);
      assert.match(String(json.error?.message), message);
    }
    assert.equal((await rig.ask("GET", "/v1/events", "", { authorization: basic(key) })).status, 200);
  });

  it("answers errors in Stripe's envelope, with code, parameter, request and log", async () => {
    const cases: [string, string, string | undefined][] = [
      ["", "parameter_missing", "mode"],
      ["mode=subscription&success_url=https://x.example/", "parameter_missing", "line_items"],
      [
        sessionForm.replace("[quantity]=1", "[quantity]="),
        "parameter_invalid_empty",
        "line_items[0][quantity]",
      ],
      [
        sessionForm.replace("[quantity]=1", "[quantity]=x"),
        "parameter_invalid_integer",
        "line_items[0][quantity]",
      ],
      [sessionForm.replace("price_1", "price_2"), "resource_missing", "line_items[0][price]"],
      [`${sessionForm}&customer=cus_none`, "resource_missing", "customer"],
      [`${sessionForm}&colour=red`, "parameter_unknown", "colour"],
      [`${sessionForm}&line_items[0][colour]=red`, "parameter_unknown", "line_items[0][colour]"],
      [`${sessionForm}&subscription_data[colour]=red`, "parameter_unknown", "subscription_data[colour]"],
      [`${sessionForm}&cancel_url=x`, "url_invalid", "cancel_url"],
    ];
    for (const [form, code, param] of cases) {
      const { status, json, headers } = await rig.ask("POST", sessions, form);
      assert.deepEqual([status, json.error?.code, json.error?.param], [400, code, param], form);
      assert.equal(json.error?.doc_url, `https://docs.stripe.com/error-codes#${code.replaceAll("_", "-")}`);
      const request = headers.get("request-id") ?? "";
      assert.match(request, /^req_/);
      assert.equal(json.error?.request_log_url, `https://dashboard.stripe.com/test/logs/${request}`);
    }
    const unknown = await rig.ask("GET", "/v1/teapots");
    assert.deepEqual([unknown.status, /Unrecognized/.test(String(unknown.json.error?.message))], [404, true]);
    const version = await rig.ask("GET", "/v1/events", "", { "stripe-version": "2020-03-02" });
    assert.match(String(version.json.error?.message), /Invalid Stripe API version/);
  });

  it("says which documented parameters it does not know, instead of ignoring them", async () => {
    for (const more of ["allow_promotion_codes=true", "line_items[0][tax_rates][0]=txr_1"]) {
      const { status, json } = await rig.ask("POST", sessions, `${sessionForm}&${more}`);
      assert.equal(status, 400);
      assert.match(String(json.error?.message), /^This stand-in for Stripe does not know what \S+ does\.$/);
    }
  });

  it("gives the library the errors that it has classes for", async () => {
    const { errors } = Stripe;
    const { client } = rig;
    await assert.rejects(client.subscriptions.retrieve("sub_none"), (error) => {
      assert(error instanceof errors.StripeInvalidRequestError);
      assert.deepEqual([error.statusCode, error.code, error.param], [404, "resource_missing", "id"]);
      return /^req_/.test(error.requestId ?? "");
    });
    const stranger = new Stripe("sk_test_wrong", {
      host: "127.0.0.1",
      port: new URL(rig.stripe.apiUrl).port,
      protocol: "http",
    });
    await assert.rejects(stranger.events.list(), errors.StripeAuthenticationError);
  });

  it("holds metadata to 50 keys of 40 characters with values of 500, and unsets what is empty", async () => {
    const many = (count: number) => Array.from({ length: count }, (_, n) => `metadata[k${n}]=v`).join("&");
    for (const [form, status] of [
      [many(50), 200],
      [many(51), 400],
      [`metadata[${"k".repeat(40)}]=${"v".repeat(500)}`, 200],
      [`metadata[${"k".repeat(41)}]=v`, 400],
      [`metadata[k]=${"v".repeat(501)}`, 400],
      ["metadata=x", 400],
      ["metadata[0]=zero&metadata[1]=one", 200],
    ] as const) {
      const answer = await rig.ask("POST", sessions, `${sessionForm}&${form}`);
      assert.equal(answer.status, status, form.slice(0, 60));
    }
    const { id } = await rig.client.customers.create({ metadata: { a: "1", b: "2" } });
    const changed = await rig.client.customers.update(id, { metadata: { a: "", c: "3" } });
    assert.deepEqual(changed.metadata, { b: "2", c: "3" });
    assert.deepEqual((await rig.client.customers.update(id, { metadata: "" })).metadata, {});
  });

  describe("idempotency keys", () => {
    const key = { "idempotency-key": "k1" };

    it("give the first answer again, and no other parameters", async () => {
      const first = await rig.ask("POST", sessions, sessionForm, key);
      const again = await rig.ask("POST", sessions, sessionForm, key);
      assert.deepEqual(again.json, first.json);
      assert.equal(again.headers.get("idempotent-replayed"), "true");
      const other = await rig.ask("POST", sessions, `${sessionForm}&client_reference_id=x`, key);
      assert.deepEqual([other.status, other.json.error?.type], [400, "idempotency_error"]);
      const elsewhere = await rig.ask("POST", "/v1/customers", sessionForm, key);
      assert.deepEqual([elsewhere.status, elsewhere.json.error?.type], [400, "idempotency_error"]);
      assert.equal(rig.stripe.account.sessions.size, 1);
      const long = { "idempotency-key": "k".repeat(256) };
      assert.equal((await rig.ask("POST", sessions, sessionForm, long)).status, 400);
    });

    it("keep the error of a call that was begun, and forget one that failed the checks", async () => {
      assert.equal((await rig.ask("POST", sessions, "mode=subscription", key)).status, 400);
      assert.equal((await rig.ask("POST", sessions, sessionForm, key)).status, 200);
      const { session } = rig.bought();
      const expire = `${sessions}/${session}/expire`;
      const refused = await rig.ask("POST", expire, "", { "idempotency-key": "k2" });
      assert.equal(refused.status, 400);
      const again = await rig.ask("POST", expire, "", { "idempotency-key": "k2" });
      assert.deepEqual(again.json, refused.json);
      assert.equal(again.headers.get("idempotent-replayed"), "true");
    });

    it("are refused with 409 while the first call still goes on", async () => {
      const release = rig.stripe.console.hold("POST /v1/customers");
      const held = rig.ask("POST", "/v1/customers", "name=a", key);
      await rig.until(() => rig.stripe.faults.list()[0]?.hits === 1);
      const second = await rig.ask("POST", "/v1/customers", "name=a", key);
      assert.deepEqual([second.status, second.json.error?.code], [409, "idempotency_key_in_use"]);
      release();
      const first = await held;
      assert.equal(first.status, 200);
      assert.deepEqual((await rig.ask("POST", "/v1/customers", "name=a", key)).json, first.json);
    });

    it("end after a day", async () => {
      const clock = new VirtualClock();
      const own = await startRig({ clock }, null);
      try {
        const first = await own.ask("POST", sessions, sessionForm, key);
        await clock.advance(86_400_000 - 1);
        assert.deepEqual((await own.ask("POST", sessions, sessionForm, key)).json, first.json);
        await clock.advance(1);
        const next = await own.ask("POST", sessions, sessionForm, key);
        assert.deepEqual([next.status, next.headers.get("idempotent-replayed")], [200, null]);
        assert.notEqual(next.json.id, first.json.id);
      } finally {
        await own.close();
      }
    });
  });

  it("pages newest first, by cursor, type and time, and through the library to the end", async () => {
    for (let n = 0; n < 3; n++) rig.bought();
    const ids = rig.stripe.account.events.map(({ id }) => id).reverse();
    const { events } = rig.client;
    const page = await events.list({ limit: 4 });
    assert.deepEqual([page.data.map(({ id }) => id), page.has_more], [ids.slice(0, 4), true]);
    const rest = await events.list({ limit: 100, starting_after: ids[3] ?? "" });
    assert.deepEqual([rest.data.map(({ id }) => id), rest.has_more], [ids.slice(4), false]);
    const newer = await events.list({ limit: 2, ending_before: ids[4] ?? "" });
    assert.deepEqual([newer.data.map(({ id }) => id), newer.has_more], [ids.slice(2, 4), true]);
    const all: string[] = [];
    for await (const event of events.list({ limit: 2 })) all.push(event.id);
    assert.deepEqual(all, ids);
    const backwards: string[] = [];
    for await (const event of events.list({ limit: 5, ending_before: ids.at(-1) ?? "" }))
      backwards.push(event.id);
    assert.deepEqual(backwards, ids.slice(0, -1).reverse());
    const paid = await events.list({ types: ["invoice.paid", "refund.created"] });
    assert.deepEqual(
      paid.data.map(({ type }) => type),
      Array(3).fill("invoice.paid"),
    );
    assert.equal(paid.data[0]?.api_version, stripeApiVersion);
    const charges = await events.list({ type: "charge.*" });
    assert.deepEqual(new Set(charges.data.map(({ type }) => type)), new Set(["charge.succeeded"]));
    const later = Math.floor(Date.now() / 1000) + 60;
    assert.deepEqual((await events.list({ created: { gt: later } })).data, []);
    assert.deepEqual((await events.list({ created: { lt: later }, limit: 100 })).data.length, ids.length);
    for (const query of ["limit=101", "limit=0", "limit=x", "starting_after=evt_none", "colour=red"]) {
      assert.equal((await rig.ask("GET", `/v1/events?${query}`)).status, 400, query);
    }
  });

  it("forgets events after 30 days", async () => {
    const clock = new VirtualClock();
    const own = await startRig({ clock }, null);
    try {
      own.bought();
      const [event] = own.stripe.account.events;
      await clock.advance(30 * 86_400_000);
      assert.equal((await own.client.events.retrieve(event?.id ?? "")).id, event?.id);
      await clock.advance(1_000);
      await assert.rejects(own.client.events.retrieve(event?.id ?? ""), { code: "resource_missing" });
      assert.deepEqual((await own.client.events.list()).data, []);
    } finally {
      await own.close();
    }
  });

  it("expands references and lists, four levels deep, and nothing else", async () => {
    const { session } = rig.bought();
    const { client } = rig;
    const plain = await client.checkout.sessions.retrieve(session);
    assert.deepEqual([typeof plain.subscription, plain.line_items], ["string", undefined]);
    const full = await client.checkout.sessions.retrieve(session, {
      expand: ["line_items", "customer", "subscription.latest_invoice.payments"],
    });
    assert.equal(full.line_items?.data[0]?.price?.id, "price_1");
    assert(typeof full.customer === "object" && full.customer && !full.customer.deleted);
    assert(typeof full.subscription === "object" && full.subscription);
    const invoice = full.subscription.latest_invoice;
    assert(typeof invoice === "object" && invoice);
    assert.equal(invoice.payments?.data[0]?.payment.type, "payment_intent");
    const listed = await client.subscriptions.list({
      expand: ["data.customer", "data.items.data.price.product"],
    });
    const [one] = listed.data;
    assert(typeof one?.customer === "object");
    assert(typeof one.items.data[0]?.price.product === "object");
    for (const path of ["colour", "status", "metadata", "subscription.colour", "url.x"]) {
      await assert.rejects(
        client.checkout.sessions.retrieve(session, { expand: [path] }),
        { message: `This property cannot be expanded (${path}).` },
        path,
      );
    }
    await assert.rejects(
      client.checkout.sessions.retrieve(session, { expand: ["a.b.c.d.e"] }),
      /more than 4 levels/,
    );
  });

  it("limits the calls of a second when it is told to", async () => {
    const clock = new VirtualClock();
    const own = await startRig({ clock, requestsPerSecond: 25 }, null);
    try {
      for (let n = 0; n < 25; n++) assert.equal((await own.ask("GET", "/v1/events")).status, 200);
      const refused = await own.ask("GET", "/v1/events");
      assert.deepEqual([refused.status, refused.json.error?.code], [429, "rate_limit"]);
      assert.equal(refused.headers.get("stripe-rate-limited-reason"), "global-rate");
      await assert.rejects(own.client.events.list(), Stripe.errors.StripeRateLimitError);
      await clock.advance(1_000);
      assert.equal((await own.ask("GET", "/v1/events")).status, 200);
    } finally {
      await own.close();
    }
  });
});
