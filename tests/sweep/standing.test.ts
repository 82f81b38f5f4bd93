/** The sweep of Stripe, about orders whose subscription lives: what it entitles to, though no webhook told. */
import { strict as assert } from "node:assert";
import { pino } from "pino";
import type { OrderId } from "../../pool/machine/machine.ts";
import { createStripeSweep, type StripeSweep } from "../../pool/sweep/stripe.ts";
import { buyOrder, type DeskRig, startDesk } from "../order/rig.ts";

const day = 86_400_000;

describe("the sweep of Stripe, about who may be served", () => {
  let rig: DeskRig;
  let sweep: StripeSweep;
  let repairs: string[];
  let meanwhile: () => Promise<void>;
  let id: OrderId;
  let subscription: string;
  const stripe = () => rig.stripe.console;
  const now = (dryRun = false) => sweep.reconcile({ dryRun, actor: "person:ada" });
  const kinds = async (dryRun = false) =>
    (await now(dryRun)).findings.map(({ kind, order }) => [kind, order]);
  const suspendedFor = () => rig.store.order(id)?.suspendedFor;

  beforeEach(async () => {
    rig = await startDesk({ retryDelaysMs: [1] });
    repairs = [];
    meanwhile = async () => {};
    sweep = createStripeSweep({
      store: rig.store,
      stripe: rig.gateway,
      desk: rig.desk,
      clock: { now: rig.clock.now, delay: () => meanwhile() },
      instance: () => "test",
      log: pino({ level: "silent" }),
      onRepair: (kind) => repairs.push(kind),
    });
    ({ id, subscription } = await buyOrder(rig));
    rig.stripe.faults.add({ on: "delivery", times: null, effect: { kind: "lose" } });
  });
  afterEach(() => rig.close());

  it("asks for nobody's payments while every subscription is in order", async () => {
    await sweep.runIfDue();
    assert.deepEqual(await kinds(), []);
    const asked = rig.stripe.calls().filter(({ path }) => path.startsWith("/v1/charges"));
    assert.deepEqual(asked, []);
  });

  for (const [what, happens, undo] of [
    ["a pause", () => stripe().pause(subscription), () => stripe().resume(subscription)],
    [
      "payments given up",
      () => stripe().failPayment(subscription, { final: "unpaid" }),
      () => stripe().paymentRecovers(subscription),
    ],
    [
      "a dispute",
      () => stripe().dispute(subscription),
      () => {
        const [made] = rig.stripe.account.disputes.values();
        return stripe().closeDispute(made?.id ?? "", "won");
      },
    ],
  ] as const) {
    it(`finds ${what} that no webhook told, says so before it does anything, and the end of it`, async () => {
      await happens().sent;
      assert.deepEqual(await kinds(true), [["suspend", id]]);
      assert.equal(suspendedFor(), null);
      assert.deepEqual(await kinds(), [["suspend", id]]);
      assert.notEqual(suspendedFor(), null);
      assert(rig.reviewed.includes(id));
      assert.deepEqual(await kinds(), []);
      await undo().sent;
      assert.deepEqual(await kinds(), [["resume", id]]);
      assert.equal(suspendedFor(), null);
      assert.deepEqual(repairs, ["suspend", "resume"]);
      const [row] = rig.store.auditRows().filter(({ action }) => action === "stripe.repaired");
      assert.deepEqual(
        [row?.actor, row?.subject, row?.detail],
        ["person:ada", subscription, { kind: "suspend", order: id }],
      );
    });
  }

  it("suspends when the time to pay is over, which is no lost webhook", async () => {
    await stripe().failPayment(subscription).sent;
    assert.deepEqual(await kinds(), []);
    rig.clock.skip(7 * day);
    assert.deepEqual(await kinds(), [["due", id]]);
    assert.deepEqual([suspendedFor(), repairs], ["past-due", []]);
  });

  it("tells a person of a refund that no webhook told", async () => {
    await stripe().refund(subscription).sent;
    await now();
    assert.deepEqual(
      rig.store.flags().map(({ kind, subject }) => [kind, subject]),
      [["refund", id]],
    );
  });

  it("ends a suspended order once when its subscription has ended", async () => {
    await stripe().pause(subscription).sent;
    await now();
    await stripe().cancel(subscription).sent;
    assert.deepEqual(await kinds(), [["end", id]]);
    assert.equal(rig.store.order(id)?.state, "releasing");
    assert.deepEqual(repairs, ["suspend", "end"]);
  });

  it("leaves a webhook time to come, and concludes nothing from a Stripe that fails half way", async () => {
    await stripe().pause(subscription).sent;
    meanwhile = async () => void (await rig.desk.review(subscription));
    assert.deepEqual(await kinds(), []);
    assert.equal(suspendedFor(), "paused");
    await stripe().resume(subscription).sent;
    rig.stripe.faults.add({
      on: "call",
      method: "GET",
      path: "/v1/charges",
      times: null,
      effect: { kind: "answer", status: 500 },
    });
    const report = await now();
    assert.deepEqual([report.findings, suspendedFor()], [[], "paused"]);
    assert.match(report.gaps.join(), /sub_\w+ could not be asked for/);
  });
});
