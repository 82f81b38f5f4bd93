import { strict as assert } from "node:assert";
import fc from "fast-check";
import { Stripe } from "stripe";
import { Secret } from "../../pool/secrets/secret.ts";
import { InvalidWebhookError } from "../../pool/stripe/stripe.ts";
import { verifyWebhook } from "../../pool/stripe/webhook.ts";

const secret = "whsec_current";
const secrets = [new Secret(secret), new Secret("whsec_next")];
const now = 1_790_000_000_000;
const seconds = now / 1000;

const snapshot = {
  id: "evt_1",
  object: "event",
  api_version: "2026-10-28.endive",
  type: "customer.subscription.deleted",
  created: seconds,
  data: { object: { id: "sub_1", object: "subscription", status: "canceled" } },
};
const thin = {
  id: "evt_test_9",
  object: "v2.core.event",
  type: "v1.checkout.session.completed",
  created: "2026-09-21T13:33:20.000Z",
  livemode: false,
  related_object: { id: "cs_test_1", type: "checkout.session", url: "/v1/checkout/sessions/cs_test_1" },
};
const session = {
  id: "cs_test_1",
  object: "checkout.session",
  created: seconds,
  status: "complete",
  payment_status: "paid",
  mode: "subscription",
  client_reference_id: "ord_1",
  subscription: "sub_1",
  customer: "cus_1",
  metadata: { clawpool_order: "ord_1" },
};

const sign = (payload: string, change: { secret?: string; timestamp?: number; scheme?: string } = {}) =>
  Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp: seconds, ...change });
const verify = (payload: string, header: string | undefined = sign(payload)) =>
  verifyWebhook(Buffer.from(payload), header, secrets, now);
const refused = (payload: string, header: string | undefined, why: string) =>
  assert.throws(() => verifyWebhook(Buffer.from(payload), header, secrets, now), InvalidWebhookError, why);

describe("verifyWebhook", () => {
  const body = JSON.stringify(snapshot);

  it("reduces a snapshot event to type, object and time", () => {
    assert.deepEqual(verify(body), {
      id: "evt_1",
      type: "customer.subscription.deleted",
      object: "sub_1",
      status: "canceled",
      createdAt: now,
      livemode: null,
      session: null,
      body,
      secretIndex: 0,
    });
  });

  it("shows the checkout session that a snapshot carries", () => {
    const completed = { ...snapshot, type: "checkout.session.completed", data: { object: session } };
    const { session: read } = verify(JSON.stringify(completed));
    assert.deepEqual(read, {
      id: "cs_test_1",
      createdAt: now,
      status: "complete",
      paymentStatus: "paid",
      mode: "subscription",
      reference: "ord_1",
      subscription: "sub_1",
      customer: "cus_1",
      url: null,
      metadata: { clawpool_order: "ord_1" },
      prices: [],
    });
  });

  it("leaves a session of a shape that it does not know to be fetched", () => {
    const strange = { ...snapshot, data: { object: { ...session, payment_status: { of: 2030 } } } };
    const event = verify(JSON.stringify(strange));
    assert.deepEqual([event.object, event.session], ["cs_test_1", null]);
  });

  it("reduces a thin event to the same, under the id of its snapshot twin where it names one", () => {
    const { body: _, ...event } = verify(JSON.stringify(thin));
    assert.deepEqual(event, {
      id: "evt_test_9",
      type: "checkout.session.completed",
      object: "cs_test_1",
      status: null,
      createdAt: Date.parse(thin.created),
      livemode: false,
      session: null,
      secretIndex: 0,
    });
    assert.equal(verify(JSON.stringify({ ...thin, snapshot_event: "evt_1" })).id, "evt_1");
  });

  it("takes events about nothing and of unknown types", () => {
    const event = verify(JSON.stringify({ ...snapshot, type: "balance.available", data: { object: {} } }));
    assert.deepEqual([event.type, event.object], ["balance.available", null]);
    assert.equal(verify(JSON.stringify({ ...thin, related_object: null })).object, null);
  });

  it("takes each of several secrets and says which it was", () => {
    assert.equal(verify(body, sign(body, { secret: "whsec_next" })).secretIndex, 1);
    const both = `${sign(body, { secret: "whsec_old" })},${sign(body).split(",")[1]}`;
    assert.equal(verify(body, both).secretIndex, 0, "two v1 values, as during a rotation at Stripe");
  });

  it("takes signatures up to 300 s old or early and no others", () => {
    for (const age of [0, 300, -300]) verify(body, sign(body, { timestamp: seconds - age }));
    for (const age of [301, 86_400, -301, -86_400]) {
      refused(body, sign(body, { timestamp: seconds - age }), `${age} s old`);
    }
  });

  it("refuses every header that is not a signature of this body", () => {
    const good = sign(body);
    const [time, signature] = good.split(",");
    const headers: Record<string, string | undefined> = {
      none: undefined,
      empty: "",
      "no value at all": "t=,v1=",
      "no signature": time,
      "no time": signature,
      "no number": `t=soon,${signature}`,
      "a fake scheme": sign(body, { scheme: "v0" }),
      "a wrong secret": sign(body, { secret: "whsec_wrong" }),
      "an empty secret's": `t=${seconds},v1=`,
      "another body's": sign(`${body} `),
      "another time": `t=${seconds + 1},${signature}`,
      "a cut signature": good.slice(0, -1),
      "a second time from the future": `${good},t=${seconds + 400}`,
      garbage: "\u0000,=,==,t",
    };
    for (const [why, header] of Object.entries(headers)) refused(body, header, why);
  });

  it("refuses a time that is no number even when somebody signed it", () => {
    const header = Stripe.webhooks
      .generateTestHeaderString({ payload: body, secret, timestamp: Number.NaN })
      .replace(/^t=\d+/, "t=NaN");
    refused(body, header, "NaN");
  });

  it("refuses bodies that are no event, though signed", () => {
    const bodies = [
      "",
      "null",
      "true",
      "1",
      '"evt_1"',
      "[]",
      "{}",
      "{",
      "not json",
      JSON.stringify({ ...snapshot, object: "charge" }),
      JSON.stringify({ ...snapshot, id: undefined }),
      JSON.stringify({ ...snapshot, id: 5 }),
      JSON.stringify({ ...snapshot, type: "" }),
      JSON.stringify({ ...snapshot, created: "soon" }),
      JSON.stringify({ ...snapshot, data: null }),
      JSON.stringify({ ...snapshot, data: { object: [] } }),
      JSON.stringify({ ...thin, created: "soon" }),
      JSON.stringify({ ...thin, related_object: "cs_test_1" }),
    ];
    for (const bad of bodies) refused(bad, sign(bad), bad);
  });

  it("refuses bytes that are not UTF-8", () => {
    const raw = Buffer.concat([Buffer.from(body), Buffer.from([0xff])]);
    const header = sign(new TextDecoder().decode(raw));
    assert.throws(() => verifyWebhook(raw, header, secrets, now), InvalidWebhookError);
  });

  it("never throws anything else, whatever comes", () => {
    const headers = fc.oneof(
      fc.string(),
      fc.tuple(fc.string(), fc.string()).map(([time, value]) => `t=${time},v1=${value}`),
    );
    fc.assert(
      fc.property(fc.uint8Array(), headers, (raw, header) => {
        assert.throws(() => verifyWebhook(raw, header, secrets, now), InvalidWebhookError);
      }),
    );
    fc.assert(
      fc.property(fc.json(), (json) => {
        assert.throws(() => verify(json), InvalidWebhookError);
      }),
    );
  });
});
