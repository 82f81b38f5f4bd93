import { strict as assert } from "node:assert";
import fc from "fast-check";
import type { Config, PoolConfig, SizingConfig } from "../../pool/config/config.ts";
import { raiseAlerts } from "../../pool/refill/alerts.ts";
import { refill } from "../../pool/refill/refill.ts";
import { type Bidder, shareOut } from "../../pool/sizing/share.ts";
import { createSizer } from "../../pool/sizing/sizer.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { newOrder, pay } from "../store/rows.ts";

const minute = 60_000;
/** The k-th machine serves `first` / 2^k claims an hour. */
const bidder = (name: string, first: number, change: Partial<Bidder> = {}): Bidder => ({
  ...{ name, least: 0, wanted: 10, have: 0, value: 1, hourly: 0.01, restOfDay: { built: 0.24, kept: 0.24 } },
  serves: (machines) => first / 2 ** machines,
  ...change,
});
const machines = (of: ReturnType<typeof shareOut>) => [...of.values()].map(({ machines }) => machines);

describe("one budget for many pools", () => {
  it("leaves everybody what he wants where there is enough", () => {
    const shares = shareOut([bidder("a", 1), bidder("b", 9, { wanted: 3 })], 13, 13 * 0.24);
    assert.deepEqual(
      [...shares.values()],
      [
        { machines: 10, cutBy: null },
        { machines: 3, cutBy: null },
      ],
    );
  });

  it("gives each machine to whom it saves the most, by claim, value and price", () => {
    // 8, 4, 2, 1 … against 3, 1.5 …: a gets its third before b its second.
    assert.deepEqual(machines(shareOut([bidder("a", 8), bidder("b", 3)], 4, null)), [3, 1]);
    assert.deepEqual(machines(shareOut([bidder("a", 8), bidder("b", 3, { value: 10 })], 4, null)), [1, 3]);
    assert.deepEqual(machines(shareOut([bidder("a", 8, { hourly: 0.1 }), bidder("b", 3)], 4, null)), [1, 3]);
  });

  it("serves what each keeps at least first", () => {
    const shares = shareOut([bidder("a", 8), bidder("b", 0.001, { least: 2, wanted: 4 })], 4, null);
    assert.deepEqual(
      [...shares.values()],
      [
        { machines: 2, cutBy: "max_total" },
        { machines: 2, cutBy: "max_total" },
      ],
    );
  });

  it("does not let two pools that want the same take turns with a machine", () => {
    const [a, b] = [bidder("a", 8, { have: 1 }), bidder("b", 8.1)];
    assert.deepEqual(machines(shareOut([a, b], 1, null)), [1, 0]);
  });

  it("stops where the day's money ends, and goes on where machines are cheaper", () => {
    const shares = shareOut(
      [
        bidder("a", 8, { restOfDay: { built: 1, kept: 1 } }),
        bidder("b", 0.1, { restOfDay: { built: 0.1, kept: 0.1 } }),
      ],
      99,
      2.5,
    );
    assert.deepEqual(
      [...shares.values()],
      [
        { machines: 2, cutBy: "max_spend_per_day" },
        { machines: 5, cutBy: "max_spend_per_day" },
      ],
    );
  });

  it("keeps a machine whose running hour is paid where a new one would be too dear", () => {
    const one = bidder("a", 8, { have: 1, wanted: 2, restOfDay: { built: 1, kept: 0.2 } });
    assert.deepEqual(machines(shareOut([one], 99, 0.5)), [1]);
    assert.deepEqual(machines(shareOut([one], 99, 1.2)), [2]);
    assert.deepEqual(machines(shareOut([{ ...one, have: 0 }], 99, 0.5)), [0]);
  });

  it("never gives more than there is, than is wanted, or less than nothing", () => {
    const some = fc.record({
      first: fc.double({ min: 0, max: 50, noNaN: true }),
      wanted: fc.nat(20),
      least: fc.nat(5),
    });
    const money = fc.option(fc.double({ min: -5, max: 20, noNaN: true }));
    fc.assert(
      fc.property(
        fc.array(some, { maxLength: 6 }),
        fc.integer({ min: -3, max: 30 }),
        money,
        (all, room, rest) => {
          const bidders = all.map(({ first, ...of }, index) => bidder(`p${index}`, first, of));
          const shares = machines(shareOut(bidders, room, rest));
          const sum = shares.reduce((total, each) => total + each, 0);
          assert.ok(sum <= Math.max(0, room));
          if (rest !== null) assert.ok(sum * 0.24 <= Math.max(0, rest) + 1e-9);
          for (const [index, each] of shares.entries())
            assert.ok(each >= 0 && each <= (all[index]?.wanted ?? 0));
        },
      ),
    );
  });
});

describe("pools that share max_total and the day's spend", () => {
  let life: Life;
  let orders = 0;
  const first = (): PoolConfig => life.config.pools[0] ?? assert.fail();
  const configure = (change: Partial<Config>, sizing: SizingConfig = first().sizing) => {
    const base = { ...first(), minReady: 1, maxTotal: 100, sizing };
    const pools = [
      { ...base, name: "small", plan: "small" },
      { ...base, name: "large", plan: "large", serverType: "cx33" },
    ];
    const plans = ["small", "large"].map((name) => ({ name, price: `price_${name}` }));
    life.config = { ...life.config, plans, pools, maxTotal: 200, ...change };
  };
  const sizer = () => createSizer({ store: life.store, config: () => life.config, clock: life.clock });
  const adaptive: SizingConfig = {
    ...{ policy: "adaptive", goal: { valueEur: 5 }, holdMs: 0, timeZone: "UTC", campaigns: [], floors: [] },
  };
  const price = (net: number) => ({ hourly: { net, gross: net }, monthly: { net: net * 600, gross: net } });
  const busy = async (plan: string) => {
    for (let count = 0; count < 60; count++) {
      const id = `o-${++orders}`;
      life.store.createOrder(newOrder(id, { plan }));
      pay(life.store, id);
      await life.clock.advance(minute);
    }
  };

  beforeEach(() => {
    life = startLife();
    life.store.rememberPrices({
      ...{ currency: "EUR", vatPercent: 19, volumeGbMonth: null, snapshotGbMonth: null },
      servers: { cx23: { fsn1: price(0.008) }, cx33: { fsn1: price(0.016) } },
      primaryIpv4: { fsn1: price(0.0008) },
    });
  });
  afterEach(() => life.store.close());

  it("cut the one whose machines save less, and say so", async () => {
    configure({}, adaptive);
    await busy("small");
    const free = life.config.pools.map((pool) => sizer().decide(pool));
    const [small = assert.fail(), large = assert.fail()] = free;
    assert.ok(small.wanted.target > 3 && large.wanted.target >= 1);
    assert.deepEqual([small.share.cutBy, large.share.cutBy], [null, null]);
    const queued = life.store.queued("small");
    configure({ maxTotal: queued + 3 }, adaptive);
    const cut = life.config.pools.map((pool) => sizer().target(pool));
    assert.deepEqual(
      cut.map(({ target, cutBy }) => [target, cutBy]),
      [
        [2, "max_total"],
        [1, large.wanted.target > 1 ? "max_total" : null],
      ],
    );
    raiseAlerts({ ...life.context, config: life.config, targetOf: sizer().target });
    const told = life.store.flags().filter(({ kind }) => kind === "cut-short");
    assert.match(told[0]?.text ?? "", /^pool small wants more warm machines than max_total of all pools/);
    configure({}, adaptive);
    raiseAlerts({ ...life.context, config: life.config, targetOf: sizer().target });
    assert.deepEqual(
      life.store.flags().filter(({ kind }) => kind === "cut-short"),
      [],
    );
  });

  it("build no machine to wait beyond the day's spend, but those that customers wait for", () => {
    configure({ maxSpendPerDay: 0.5 });
    // Until midnight one small machine costs 0.2112, one large 0.4032.
    const day = 24 * 60 * minute;
    assert.equal(life.clock.now() % day, 0, "the clock begins at midnight");
    const targets = life.config.pools.map((pool) => sizer().target(pool));
    assert.deepEqual(
      targets.map(({ target, cutBy }) => [target, cutBy]),
      [
        [1, null],
        [0, "max_spend_per_day"],
      ],
    );
    life.store.createOrder(newOrder("o-waits", { plan: "large" }));
    pay(life.store, "o-waits");
    const planned = refill(life.store, life.config, life.clock, undefined, sizer().target);
    assert.ok(planned.some(({ pool }) => pool === "large"));
  });

  it("take nothing from a pool that keeps a person's number, and build no more of it", () => {
    configure({ maxTotal: 1 });
    const targets = life.config.pools.map((pool) => sizer().target(pool));
    assert.deepEqual(
      targets.map(({ target, keep, atOnce }) => [target, keep, atOnce]),
      [
        [1, 1, true],
        [0, 1, true],
      ],
    );
  });
});
