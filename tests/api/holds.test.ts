/** What the product team sees of a suspended order, and what it can say about one. */
import { strict as assert } from "node:assert";
import { orderBody } from "../order/rig.ts";
import { makeReady } from "../store/rows.ts";
import { type ApiRig, operatorToken, startApi } from "./rig.ts";

describe("a suspended order at the API", () => {
  let rig: ApiRig;
  let path: string;
  let subscription: string;
  const view = async () => (await rig.ask("GET", path)).json;
  const hold = (body: unknown) => rig.ask("POST", `${path}/hold`, body, as);
  const as = { authorization: `Bearer ${operatorToken}` };
  const suspended = async () => ((await view()).suspended as { reason: string } | null)?.reason ?? null;

  beforeEach(async () => {
    rig = await startApi({ retryDelaysMs: [1] });
    makeReady(rig.store, "claw-a");
    const { json } = await rig.ask("POST", "/v1/orders", orderBody());
    path = `/v1/orders/${json.id}`;
    const bought = rig.stripe.console.buy(String(json.checkout_session));
    subscription = bought.subscription.id;
    await bought.sent;
  });
  afterEach(() => rig.close());

  it("is shown with its reason and what the customer can do", async () => {
    assert.deepEqual([(await view()).suspended, (await view()).notice], [null, null]);
    await rig.stripe.console.failPayment(subscription).sent;
    assert.match(String((await view()).overdue_since), /^\d{4}-/);
    await rig.stripe.console.failPayment(subscription, { final: "unpaid" }).sent;
    const { since, ...shown } = (await view()).suspended as Record<string, unknown>;
    assert.match(String(since), /^\d{4}-/);
    assert.deepEqual(shown, {
      reason: "unpaid",
      text: "the payment failed for good: Stripe has given up collecting it",
      remedy: "pay the open invoice; the agent then goes on where it stopped",
    });
    assert.match(
      String((await view()).notice),
      /switched off and nothing on it is lost.*pay the open invoice/,
    );
  });

  it("is suspended by hand until it is resumed, with the reason in the audit log", async () => {
    assert.equal((await hold({ action: "suspend", why: "abuse" })).status, 200);
    assert.equal(await suspended(), "person");
    await rig.desk.review(subscription);
    assert.equal(await suspended(), "person");
    const { json } = await hold({ action: "resume", why: "settled" });
    assert.deepEqual([json.suspended, json.held], [null, null]);
    const rows = rig.store.auditRows().filter(({ actor }) => actor === "person:ada");
    assert.deepEqual(
      rows.map(({ why }) => why).filter((why) => ["abuse", "settled"].includes(why)),
      ["abuse", "settled"],
    );
  });

  it("is not resumed against Stripe's word, unless that is said; then until it is taken back", async () => {
    await rig.stripe.console.pause(subscription).sent;
    const refused = await hold({ action: "resume", why: "please" });
    assert.equal(refused.status, 409);
    assert.match(String(refused.json.detail), /the subscription is paused.*stays suspended; with --anyway/);
    assert.equal(await suspended(), "paused");
    await hold({ action: "resume", why: "goodwill", anyway: true });
    await rig.desk.review(subscription);
    assert.deepEqual([await suspended(), (await view()).held], [null, "serve"]);
    await hold({ action: "follow", why: "enough" });
    assert.deepEqual([await suspended(), (await view()).held], ["paused", null]);
  });

  it("is kept until that is taken back", async () => {
    const { json } = await hold({ action: "keep", why: "evidence" });
    assert.match(String(json.kept_since), /^\d{4}-/);
    assert.equal((await hold({ action: "follow", why: "done" })).json.kept_since, null);
  });

  it("stays as it is while Stripe cannot be asked, and when it is over", async () => {
    await hold({ action: "suspend", why: "abuse" });
    const fault = rig.stripe.faults.add({
      on: "call",
      method: "GET",
      path: "/v1/charges",
      times: null,
      effect: { kind: "answer", status: 500 },
    });
    for (const action of ["resume", "follow"]) {
      assert.equal((await hold({ action, why: "settled" })).status, 502);
      assert.equal(await suspended(), "person");
    }
    rig.stripe.faults.remove(fault);
    await rig.stripe.console.cancel(subscription).sent;
    const ended = await hold({ action: "resume", why: "settled" });
    assert.match(String(ended.json.detail), /has ended; only keep and follow are left/);
    assert.equal((await hold({ action: "keep", why: "evidence" })).status, 200);
  });

  it("refuses what it does not know, and whoever is no operator", async () => {
    assert.equal((await hold({ action: "sleep", why: "x" })).status, 422);
    assert.equal((await hold({ action: "suspend" })).status, 422);
    assert.equal((await hold({ action: "suspend", why: "  " })).status, 422);
    const unknown = await rig.ask("POST", "/v1/orders/ord_none/hold", { action: "keep", why: "x" }, as);
    assert.equal(unknown.status, 404);
    const shop = await rig.ask("POST", `${path}/hold`, { action: "suspend", why: "x" });
    assert.deepEqual([shop.status, await suspended()], [403, null]);
  });
});
