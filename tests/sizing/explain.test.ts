/** What people are told about a pool's size. */
import { strict as assert } from "node:assert";
import { describePlans } from "../../pool/cli/plan.ts";
import type { PoolConfig, SizingConfig } from "../../pool/config/config.ts";
import { planOf } from "../../pool/sizing/explain.ts";
import { createSizer } from "../../pool/sizing/sizer.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";

const minute = 60_000;

describe("the plan of a pool", () => {
  let life: Life;
  const pool = (): PoolConfig => life.config.pools[0] ?? assert.fail();
  const plan = () => {
    const sizer = createSizer({ store: life.store, config: () => life.config, clock: life.clock });
    return planOf(pool(), { ...life, sizer });
  };
  const sized = (sizing: SizingConfig, change: Partial<PoolConfig> = {}) => {
    life.config = { ...life.config, pools: [{ ...pool(), ...change, sizing }] };
  };
  const common = { timeZone: "UTC", campaigns: [], floors: [] };
  const prices = () =>
    life.store.rememberPrices({
      ...{ currency: "EUR", vatPercent: 19, volumeGbMonth: null, snapshotGbMonth: null },
      servers: { cx23: { fsn1: price(0.008, 5) } },
      primaryIpv4: { fsn1: price(0.0008, 0.5) },
    });
  const price = (net: number, month: number) => ({
    ...{ hourly: { net, gross: net }, monthly: { net: month, gross: month } },
  });
  const buys = async (count: number) => {
    const before = life.store.orders({ limit: Number.MAX_SAFE_INTEGER }).length;
    for (let index = before; index < before + count; index++) {
      life.store.createOrder(newOrder(`o-${index}`));
      pay(life.store, `o-${index}`);
      await life.clock.advance(10 * minute);
    }
  };

  beforeEach(() => {
    life = startLife();
  });
  afterEach(() => life.store.close());

  it("says what an empty installation does not know, and makes up nothing", () => {
    const { words, price, measured, lead, openCheckouts, promise } = plan();
    assert.deepEqual([price.known, measured.share, measured.atLeast, lead.measured], [false, null, 0, null]);
    assert.deepEqual([openCheckouts, promise], [null, null]);
    const text = words.join("\n");
    assert.match(text, /^It keeps 3, as configured\.$/m);
    assert.match(text, /^Price unknown for cx23: no price for cx23 at fsn1: .*not been read yet\.$/m);
    assert.match(text, /^No build was measured yet; 5 min are assumed\.$/m);
    assert.match(text, /^Nobody has paid within twelve weeks: nothing is measured\.$/m);
    assert.doesNotMatch(text, /NaN|Infinity|undefined/);
  });

  it("says what a month costs, what was measured, and that the history is too short for what is asked", async () => {
    prices();
    makeReady(life.store, "m-1");
    makeReady(life.store, "m-2");
    sized({ ...common, policy: "adaptive", goal: { hitShare: 0.99 }, holdMs: 0 }, { minReady: 1 });
    await buys(4);
    const { target, price: known, measured, promise, words, ready, waiting } = plan();
    assert.deepEqual([ready, waiting], [0, 2]);
    assert.deepEqual([measured.claims, measured.hits, measured.share], [4, 2, 0.5]);
    assert.ok(known.known && Math.abs(known.month - 5.5 * target) < 1e-9);
    assert.deepEqual(promise, { asked: 0.99, kept: false, missed: false, claimsNeeded: 299 });
    const text = words.join("\n");
    assert.match(text, /2 of 4 payments of twelve weeks found a machine ready \(50 %; more than 9\.76 %/);
    assert.match(text, /99 % are asked and cannot be promised yet: that takes 299 payments without a miss/);
    assert.match(text, /One machine more would serve .* at once that now wait, and stand idle for EUR/);
  });

  it("says that what is asked is not reached, once there are payments enough to know", async () => {
    sized({ ...common, policy: "adaptive", goal: { hitShare: 0.9 }, holdMs: 0 }, { minReady: 0 });
    await buys(28);
    assert.deepEqual(plan().promise, { asked: 0.9, kept: false, missed: false, claimsNeeded: 29 });
    await buys(1);
    const { promise, words } = plan();
    assert.equal(promise?.missed, true);
    assert.match(
      words.join("\n"),
      /^90 % are asked and not reached: less than 9\.81 % with 95 % confidence\. .*`min_ready`/m,
    );
  });

  it("says what binds, what a campaign adds, and what of a value without a price", async () => {
    const campaign = {
      name: "launch",
      from: life.clock.now(),
      until: life.clock.now() + 60 * minute,
      add: 50,
    };
    sized({ ...common, policy: "adaptive", goal: { valueEur: 1 }, holdMs: 0, campaigns: [campaign] });
    const { words, target, wanted } = plan();
    assert.equal(target, 10);
    assert.equal(wanted.bound, "max_ready");
    const text = words.join("\n");
    assert.match(text, /Campaign launch adds to it\.\nmax_ready decides: 10\./);
    assert.match(text, /Until its price is known it aims at 99 % of claims\./);
  });

  it("is shown as a table with its reasons", () => {
    prices();
    const shown = describePlans([plan()]);
    assert.match(shown, /^POOL +POLICY +TARGET +READY +BUILDING +WAITING +WARM +A MONTH$/m);
    assert.match(shown, /^small +static +3 +0 +0 +0 +- +EUR 16\.50$/m);
    assert.match(shown, /^small:\n {2}It keeps 3, as configured\.$/m);
  });
});
