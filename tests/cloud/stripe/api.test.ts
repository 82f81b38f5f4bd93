import { strict as assert } from "node:assert";
import { Stripe } from "stripe";
import { stripeApiVersion } from "../../../pool/stripe/gateway.ts";
import { type LocalStripe, startStripe } from "./stripe.ts";

describe("the stand-in for Stripe's API", () => {
  let stripe: LocalStripe;
  beforeEach(async () => {
    stripe = await startStripe({ prices: ["price_1"] });
  });
  afterEach(() => stripe.close());

  const ask = async (method: string, path: string, form = "", headers: Record<string, string> = {}) => {
    const answer = await fetch(`${stripe.apiUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${stripe.key}`,
        "content-type": "application/x-www-form-urlencoded",
        ...headers,
      },
      ...(method === "POST" ? { body: form } : {}),
    });
    const json = (await answer.json()) as Record<string, unknown> & { error?: Record<string, unknown> };
    return { status: answer.status, headers: answer.headers, json };
  };
  const session =
    "mode=subscription&line_items[0][price]=price_1&line_items[0][quantity]=1&success_url=https://shop.example/";
  const client = () => {
    const url = new URL(stripe.apiUrl);
    return new Stripe(stripe.key, {
      host: url.hostname,
      port: url.port,
      protocol: "http",
      maxNetworkRetries: 0,
    });
  };

  it("asks for the key as Stripe does", async () => {
    for (const [authorization, message] of [
      ["", /did not provide an API key/],
      ["Bearer sk_test_wrong", /Invalid API Key provided/],
      [`Basic ${stripe.key}`, /did not provide an API key/],
    ] as const) {
      const { status, json } = await ask("GET", "/v1/events", "", { authorization });
      assert.equal(status, 401);
      assert.equal(json.error?.type, "invalid_request_error");
      assert.match(String(json.error?.message), message);
    }
  });

  it("answers errors in Stripe's envelope, naming the parameter", async () => {
    const cases: [string, string, string | undefined][] = [
      ["", "parameter_missing", "mode"],
      ["mode=subscription&success_url=https://x.example/", "parameter_missing", "line_items"],
      [session.replace("price_1", "price_2"), "resource_missing", "line_items[0][price]"],
      [`${session}&colour=red`, "parameter_unknown", "colour"],
      [`${session}&subscription_data[colour]=red`, "parameter_unknown", "subscription_data[colour]"],
    ];
    for (const [form, code, param] of cases) {
      const { status, json, headers } = await ask("POST", "/v1/checkout/sessions", form);
      assert.deepEqual([status, json.error?.code, json.error?.param], [400, code, param]);
      assert.match(headers.get("request-id") ?? "", /^req_/);
    }
    const limits = [
      `client_reference_id=${"x".repeat(201)}`,
      `metadata[k]=${"x".repeat(501)}`,
      "success_url=x",
    ];
    for (const form of limits) {
      const { status } = await ask("POST", "/v1/checkout/sessions", `${session}&${form}`);
      assert.equal(status, 400, form.slice(0, 30));
    }
    const unknown = await ask("GET", "/v1/teapots");
    assert.deepEqual([unknown.status, /Unrecognized/.test(String(unknown.json.error?.message))], [404, true]);
    const version = await ask("GET", "/v1/events", "", { "stripe-version": "2020-03-02" });
    assert.match(String(version.json.error?.message), /Invalid Stripe API version/);
  });

  it("replays the first answer of an idempotency key, errors included, and refuses other parameters", async () => {
    const key = { "idempotency-key": "k1" };
    const first = await ask("POST", "/v1/checkout/sessions", session, key);
    const again = await ask("POST", "/v1/checkout/sessions", session, key);
    assert.deepEqual(again.json, first.json);
    assert.equal(again.headers.get("idempotent-replayed"), "true");
    const other = await ask("POST", "/v1/checkout/sessions", `${session}&client_reference_id=x`, key);
    assert.deepEqual([other.status, other.json.error?.type], [400, "idempotency_error"]);
    const bad = { "idempotency-key": "k2" };
    const one = await ask("POST", "/v1/checkout/sessions", "", bad);
    assert.deepEqual((await ask("POST", "/v1/checkout/sessions", "", bad)).json, one.json);
    assert.equal(stripe.account.sessions.size, 1);
    const long = { "idempotency-key": "k".repeat(256) };
    assert.equal((await ask("POST", "/v1/checkout/sessions", session, long)).status, 400);
  });

  it("shows line items only on request", async () => {
    const { json } = await ask("POST", "/v1/checkout/sessions", session);
    assert.equal(json.line_items, undefined);
    const shown = await client().checkout.sessions.retrieve(String(json.id), { expand: ["line_items"] });
    assert.equal(shown.line_items?.data[0]?.price?.id, "price_1");
  });

  it("makes customer, subscription and invoice when the buyer pays, and shows them", async () => {
    const made = await ask("POST", "/v1/checkout/sessions", `${session}&subscription_data[metadata][k]=v`);
    const { subscription } = stripe.console.buy(String(made.json.id));
    const seen = await client().checkout.sessions.retrieve(String(made.json.id));
    assert.deepEqual(
      [seen.status, seen.payment_status, seen.subscription, seen.url],
      ["complete", "paid", subscription.id, null],
    );
    const read = await client().subscriptions.retrieve(subscription.id);
    assert.deepEqual([read.status, read.metadata], ["active", { k: "v" }]);
    assert.equal((await client().customers.retrieve(String(seen.customer))).id, seen.customer);
    const invoice = await client().invoices.retrieve(String(read.latest_invoice));
    assert.equal(invoice.parent?.subscription_details?.subscription, subscription.id);
    assert.throws(() => stripe.console.buy(String(made.json.id)), /Only Checkout Sessions/);
  });

  it("leaves cancelled subscriptions out of lists unless they are asked for", async () => {
    const { json } = await ask("POST", "/v1/checkout/sessions", session);
    const { subscription } = stripe.console.buy(String(json.id));
    await client().subscriptions.cancel(subscription.id);
    assert.equal((await client().subscriptions.list()).data.length, 0);
    assert.equal((await client().subscriptions.list({ status: "all" })).data[0]?.status, "canceled");
    await assert.rejects(client().subscriptions.cancel(subscription.id), { code: "resource_missing" });
  });

  it("pages events newest first, by cursor and by type", async () => {
    const ids: string[] = [];
    for (let n = 0; n < 3; n++) {
      const { json } = await ask("POST", "/v1/checkout/sessions", session);
      ids.unshift(...[...stripe.console.buy(String(json.id)).events].reverse().map(({ id }) => id));
    }
    const page = await client().events.list({ limit: 4 });
    assert.deepEqual([page.data.map(({ id }) => id), page.has_more], [ids.slice(0, 4), true]);
    const rest = await client().events.list({ limit: 100, starting_after: ids[3] ?? "" });
    assert.deepEqual([rest.data.map(({ id }) => id), rest.has_more], [ids.slice(4), false]);
    const newer = await client().events.list({ limit: 2, ending_before: ids[4] ?? "" });
    assert.deepEqual([newer.data.map(({ id }) => id), newer.has_more], [ids.slice(2, 4), true]);
    const all: string[] = [];
    for await (const event of client().events.list({ limit: 2 })) all.push(event.id);
    assert.deepEqual(all, ids);
    const paid = await client().events.list({ types: ["invoice.paid"] });
    assert.deepEqual([...new Set(paid.data.map(({ type }) => type))], ["invoice.paid"]);
    assert.equal(paid.data[0]?.api_version, stripeApiVersion);
    const none = await client().events.list({ created: { gt: Math.floor(Date.now() / 1000) + 60 } });
    assert.deepEqual(none.data, []);
    assert.equal((await ask("GET", "/v1/events?limit=101")).status, 400);
  });
});
