import { strict as assert } from "node:assert";
import { injections, isOneLine } from "../order/injections.ts";
import { orderBody } from "../order/rig.ts";
import { type ApiRig, startApi } from "./rig.ts";

describe("bad input to POST /v1/orders", () => {
  let rig: ApiRig;
  before(async () => {
    rig = await startApi();
  });
  after(() => rig.close());
  afterEach(() => {
    assert.deepEqual(rig.store.orders(), []);
    assert.deepEqual(rig.stripe.calls(), []);
  });

  const refused = async (body: unknown, field: string) => {
    const { status, headers, json } = await rig.ask("POST", "/v1/orders", body);
    const sent = JSON.stringify(body);
    assert.equal(status, 422, sent);
    assert.equal(headers.get("content-type"), "application/problem+json", sent);
    assert.equal(json.type, "urn:clawpool:problem:invalid-field");
    assert.deepEqual([json.status, json.field], [422, field], sent);
    assert(json.detail && json.remedy && Array.isArray(json.errors), sent);
    return json;
  };

  for (const field of ["customer", "plan", "region", "agent_name", "model", "checkout", "checkout_session"]) {
    it(`refuses every wrong ${field} and names it`, async () => {
      for (const value of [null, 5, true, [], {}, "", "x".repeat(1_000), ...injections]) {
        await refused(orderBody({ [field]: value }), field);
      }
    });
  }

  it("refuses wrong variables and names them, or the environment where the name is wrong", async () => {
    for (const value of [null, 5, true, [], "A=1"]) await refused(orderBody({ env: value }), "env");
    for (const value of [null, 5, [], {}, "a\nb", "a\0b", "a\r\nb"]) {
      await refused(orderBody({ env: { A: value } }), "env.A");
    }
    for (const name of ["", "a", "A B", ...injections]) {
      await refused(orderBody({ env: { [name]: "sk-canary" } }), "env");
    }
    await refused(orderBody({ env: { LD_PRELOAD: "/tmp/x.so" } }), "env.LD_PRELOAD");
  });

  it("names the plans and regions that there are", async () => {
    assert.equal((await refused(orderBody({ plan: "huge" }), "plan")).remedy, "one of: small, large");
    const { remedy } = await refused(orderBody({ region: "mars" }), "region");
    assert.equal(remedy, "one of: eu-central, us-east");
  });

  it("names missing and unknown fields", async () => {
    for (const field of ["customer", "plan", "region", "agent_name"]) {
      await refused(orderBody({ [field]: undefined }), field);
    }
    await refused(orderBody({ tier: "gold" }), "tier");
  });

  it("refuses bodies that are JSON but no object", async () => {
    for (const body of ["null", "[]", "5", '"x"', "true"]) {
      assert.equal((await rig.ask("POST", "/v1/orders", body)).status, 422, body);
    }
  });

  it("refuses an Idempotency-Key that is none", async () => {
    for (const key of ["two words", "x".repeat(256), "naïve"]) {
      const { status, json } = await rig.ask("POST", "/v1/orders", orderBody(), { "idempotency-key": key });
      assert.deepEqual([status, json.field], [422, "Idempotency-Key"]);
    }
  });

  it("finds nothing under ids that are none, and repeats none of them in a header", async () => {
    for (const id of [...injections, "x".repeat(5_000), "%00", "%"]) {
      const path = `/v1/orders/${id === "%" ? id : encodeURIComponent(id)}`;
      const { status, headers } = await rig.ask("GET", path);
      assert(status === 404 || status === 400, `${path}: ${status}`);
      const values = [...headers.values()].join("\n");
      if (isOneLine(id) && id.length > 4) assert(!values.includes(id), id);
    }
  });
});

describe("harmless-looking input that reaches others as data only", () => {
  it("sends nothing of the request but the plan's price to Stripe, and no text of the caller's to a header", async () => {
    const rig = await startApi();
    try {
      const env = Object.fromEntries(injections.filter(isOneLine).map((text, n) => [`A${n}`, text]));
      const body = orderBody({ customer: "canary-customer", agent_name: "canary name", env });
      const { status, headers, json } = await rig.ask("POST", "/v1/orders", body);
      assert.equal(status, 201);
      const told = JSON.stringify(rig.stripe.calls());
      for (const text of ["canary", ...Object.values(env)]) {
        assert(!told.includes(JSON.stringify(text).slice(1, -1)), text);
        assert(![...headers.values()].join("\n").includes(text), text);
      }
      const order = rig.store.order(json.id as never);
      assert.deepEqual(order && rig.store.agentSecrets(order.id).env, env);
    } finally {
      await rig.close();
    }
  });
});
