/** The sweep of Stripe, where objects cannot be asked for: what is told, what is asked next, and when. */
import { strict as assert } from "node:assert";
import { pino } from "pino";
import { minuteMs } from "../../pool/clock.ts";
import { BorderError, type BorderErrorKind } from "../../pool/errors.ts";
import type { OrderId } from "../../pool/machine/machine.ts";
import type { StripeGateway } from "../../pool/stripe/stripe.ts";
import { createStripeSweep, type StripeSweep } from "../../pool/sweep/stripe.ts";
import { type DeskRig, orderBody, startDesk } from "../order/rig.ts";
import { event, makeReady, newOrder } from "../store/rows.ts";
import { subscription } from "../stripe/objects.ts";

/** As Stripe words it. */
const lacksCharges =
  "The provided key 'rk_test_*****abc' does not have the required permissions for this endpoint on account 'acct_1'. " +
  "Having the 'rak_charge_read' permission would allow this request to continue.";

const failure = (kind: BorderErrorKind, code?: string) =>
  new BorderError(kind, { border: "stripe", kind, ...(code ? { code } : {}) });

describe("the sweep of Stripe, about what it cannot ask for", () => {
  let rig: DeskRig;
  let sweep: StripeSweep;
  /** Answers of the gateway that a test replaces. */
  let fake: Partial<StripeGateway>;
  /** Subscriptions that were asked for, since it was last emptied. */
  let asked: string[];
  /** What comes of them, by id; else they live. */
  let answers: Map<string, () => ReturnType<typeof subscription> | null>;
  let lists: number;
  let review: DeskRig["desk"]["review"];

  beforeEach(async () => {
    rig = await startDesk({ retryDelaysMs: [1] });
    fake = {};
    asked = [];
    answers = new Map();
    lists = 0;
    review = rig.desk.review;
    sweep = createStripeSweep({
      store: rig.store,
      stripe: {
        ...rig.gateway,
        async subscriptions(limit) {
          lists++;
          return (fake.subscriptions ?? rig.gateway.subscriptions)(limit);
        },
        fetchSubscription: async (id) => {
          asked.push(id);
          const answer = answers.get(id);
          return answer ? answer() : subscription({ id });
        },
      },
      desk: { ...rig.desk, review: (...args) => review(...args) },
      clock: { now: rig.clock.now, delay: async () => {} },
      instance: () => "test",
      log: pino({ level: "silent" }),
      onRepair: () => {},
    });
  });
  afterEach(() => rig.close());

  /** Orders whose subscriptions no list shows: each look asks for each of them. */
  function unlisted(count: number): string[] {
    return Array.from({ length: count }, (_, n) => {
      const name = String(n).padStart(3, "0");
      const id = `o-${name}` as OrderId;
      rig.store.createOrder(newOrder(id));
      const bound = { checkoutSession: `cs_${name}`, subscription: `sub_${name}`, stripeCustomer: null };
      rig.store.acceptPayment(event(`evt_${name}`), { order: id, ...bound }, []);
      return bound.subscription;
    });
  }
  const fails = (ids: readonly string[], error: BorderError) => {
    for (const id of ids)
      answers.set(id, () => {
        throw error;
      });
  };
  /** The daemon's next look, if one is due after these minutes. */
  async function look(minutes: number): Promise<{ well: boolean; asked: string[] }> {
    asked.length = 0;
    rig.clock.skip(minutes * minuteMs);
    const well = await sweep.runIfDue();
    return { well, asked: [...asked] };
  }
  const flags = () => rig.store.flags().map(({ kind, subject }) => [kind, subject]);
  const audited = (action: string) =>
    rig.store.auditRows().filter((row) => row.action === action || row.action === `${action}.cleared`).length;

  /** A customer is served whose subscription was paused, and nobody heard of it. */
  async function pausedUnheard(customer: string): Promise<{ id: OrderId; subscription: string }> {
    makeReady(rig.store, `claw-${customer}`);
    const { id, checkoutSession } = await rig.desk.create(orderBody({ customer }));
    const bought = rig.stripe.console.buy(checkoutSession ?? "");
    await bought.sent;
    const deaf = rig.stripe.faults.add({ on: "delivery", times: null, effect: { kind: "lose" } });
    await rig.stripe.console.pause(bought.subscription.id).sent;
    rig.stripe.faults.remove(deaf);
    return { id, subscription: bought.subscription.id };
  }

  it("tells once of a permission that the key lacks, looks each minute, and takes it back when it is given", async () => {
    const paused = await Promise.all(["ada", "bob"].map(pausedUnheard));
    const suspended = () => paused.map(({ id }) => rig.store.order(id)?.suspendedFor);
    const refused = rig.stripe.faults.add({
      on: "call",
      method: "GET",
      path: "/v1/charges",
      times: null,
      effect: { kind: "answer", status: 403, error: { message: lacksCharges } },
    });
    for (let minute = 0; minute < 60; minute++) assert.equal((await look(1)).well, false);
    assert.equal(lists, 60);
    assert.deepEqual(flags(), [["stripe-refused", "charge_read"]]);
    const [{ text } = assert.fail()] = rig.store.flags();
    assert.match(text, /could not list charges of cus_\w+: .*'rak_charge_read' permission/);
    assert.match(text, /give the restricted key in stripe\.key the permission charge_read/);
    assert.equal(audited("flag.stripe-refused"), 1);
    assert.deepEqual(suspended(), [null, null]);
    rig.stripe.faults.remove(refused);
    assert.equal((await look(1)).well, true);
    assert.deepEqual([flags(), suspended()], [[], ["paused", "paused"]]);
    assert.equal(audited("flag.stripe-refused"), 2);
  });

  it("tells at once of a list that is refused, and of a key that is not taken, but not when only asked", async () => {
    for (const [error, subject] of [
      [failure("auth", "StripeAuthenticationError"), "key"],
      [failure("permanent", "StripeInvalidRequestError"), "request"],
    ] as const) {
      fake.subscriptions = async () => {
        throw error;
      };
      await assert.rejects(sweep.reconcile({ dryRun: true, actor: "person:ada" }), error);
      assert.deepEqual(flags(), []);
      assert.equal((await look(14)).well, false);
      assert.deepEqual(flags(), [["stripe-refused", subject]]);
      fake = {};
      assert.equal((await look(1)).well, true);
      assert.deepEqual(flags(), []);
    }
  });

  it("asks a minute later for those that a look left, them first, and repairs what they show", async () => {
    const ids = unlisted(8);
    const [broken, rest] = [ids.slice(0, 3), ids.slice(3)];
    fails(broken, failure("transient"));
    answers.set("sub_006", () =>
      subscription({ id: "sub_006", status: "canceled", endedAt: rig.clock.now() }),
    );
    assert.deepEqual(await look(0), { well: false, asked: broken });
    assert.equal(rig.store.orderBySubscription("sub_006")?.endedAt, null);
    assert.deepEqual(await look(1), { well: false, asked: [...rest, ...broken] });
    assert.notEqual(rig.store.orderBySubscription("sub_006")?.endedAt, null);
    for (const id of broken) answers.delete(id);
    // The one that ended is asked for no more.
    const living = rest.filter((id) => id !== "sub_006");
    assert.deepEqual(await look(1), { well: true, asked: [...living, ...broken] });
    assert.deepEqual((await look(13)).asked, []);
    assert.deepEqual((await look(1)).asked.length, 7);
    assert.deepEqual(flags(), []);
  });

  it("asks in one minute after the other for more than 200, and did well when it asked for all of them", async () => {
    const ids = unlisted(450);
    assert.deepEqual(await look(0), { well: false, asked: ids.slice(0, 200) });
    assert.deepEqual(await look(1), { well: false, asked: ids.slice(200, 400) });
    const third = await look(1);
    assert.deepEqual([third.well, third.asked.slice(0, 50)], [true, ids.slice(400)]);
    assert.deepEqual((await look(13)).asked, []);
    assert.equal((await look(1)).well, false);
  });

  it("does well beside objects that fail by themselves, tells of each, and takes it back when it is read", async () => {
    const ids = unlisted(12);
    const [gone, unreadable] = [ids.slice(0, 4), ids.slice(7, 8)];
    fails(gone, failure("permanent", "resource_missing"));
    fails(unreadable, failure("permanent"));
    const told = [...gone, ...unreadable].map((id) => ["stripe-object-failed", id]);
    assert.deepEqual(await look(0), { well: true, asked: ids });
    assert.deepEqual(flags(), told);
    assert.match(rig.store.flags()[0]?.text ?? "", /^sub_000 is not compared with Stripe/);
    assert.deepEqual(await look(14), { well: true, asked: ids });
    assert.equal(audited("flag.stripe-object-failed"), told.length);
    // A look that does not come to one of them says nothing about it.
    fails(ids, failure("transient"));
    assert.equal((await look(14)).well, false);
    assert.deepEqual(flags(), told);
    answers.clear();
    assert.equal((await look(1)).well, true);
    assert.deepEqual(flags(), []);
  });

  it("takes it for the account's when nothing is answered and all fails for good", async () => {
    const ids = unlisted(8);
    fails(ids, failure("permanent"));
    assert.deepEqual(await look(0), { well: false, asked: ids.slice(0, 3) });
    assert.deepEqual(await look(1), { well: false, asked: ids.slice(3, 6) });
    assert.deepEqual(flags(), [["stripe-refused", "request"]]);
  });

  it("suspends the others when one cannot be reviewed any more, and that one a minute later", async () => {
    const paused = [await pausedUnheard("ada"), await pausedUnheard("bob")].sort((a, b) =>
      a.subscription < b.subscription ? -1 : 1,
    );
    const suspended = () => paused.map(({ id }) => rig.store.order(id)?.suspendedFor);
    review = async (id, asked) => {
      if (id === paused[0]?.subscription && !asked?.dryRun) throw failure("transient");
      return rig.desk.review(id, asked);
    };
    assert.equal((await look(0)).well, false);
    assert.deepEqual(suspended(), [null, "paused"]);
    review = rig.desk.review;
    assert.equal((await look(1)).well, true);
    assert.deepEqual(suspended(), ["paused", "paused"]);
  });
});
