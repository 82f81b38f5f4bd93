import { strict as assert } from "node:assert";
import fc from "fast-check";
import { poisson } from "../../pool/sizing/forecast/distributions.ts";
import { pricedTarget } from "../../pool/sizing/forecast/miss-price.ts";
import { openCheckouts, thinned } from "../../pool/sizing/forecast/open-checkouts.ts";
import { expectedFrom, learnPaying, reservations } from "../../pool/sizing/reservations.ts";
import type { Checkout } from "../../pool/store/store.ts";

const minute = 60_000;
const leadMs = 5 * minute;
const paid = (minutes: number): Checkout => ({
  ...{ plan: "small", region: "eu-central", openedAt: 0, closedAt: minutes * minute, outcome: "paid" },
});
const expired: Checkout = { ...paid(24 * 60), outcome: "expired" };
const open = (openedAt: number): Checkout => ({ ...paid(0), openedAt, closedAt: null, outcome: null });
const close = (value: number, wanted: number) => assert.ok(Math.abs(value - wanted) < 1e-9, `${value}`);

/** Nothing but chance: a forecast of almost no claims. */
const quiet = {
  weight: Float64Array.of(1),
  size: Float64Array.of(1),
  mean: Float64Array.of(1e-9),
  ratePerSize: Float64Array.of(1e-9),
};

describe("open checkouts", () => {
  it("say nothing as long as few have ended", () => {
    assert.equal(learnPaying(Array.from({ length: 19 }, () => paid(2))), null);
    assert.equal(learnPaying(Array.from({ length: 40 }, () => expired)), null);
  });

  it("are paid within the lead time by the chance that own checkouts told", () => {
    // Half are paid: half of those after 2 minutes, half after 10.
    const closed = [2, 10].flatMap((minutes) => Array.from({ length: 10 }, () => paid(minutes)));
    const paying = learnPaying([...closed, ...Array.from({ length: 20 }, () => expired)]);
    assert.ok(paying);
    const now = 60 * minute;
    const chance = (age: number) =>
      reservations(paying, [open(now - age * minute)], now, leadMs).chances[0] ?? 0;
    close(chance(0), 0.25);
    // The quick ones would have paid: a quarter of the rest of three quarters pays at 10 minutes.
    close(chance(3), 0);
    close(chance(6), 0.25 / 0.75);
    close(chance(11), 0);
    // A checkout from the future, by a clock that was set back, is one of now.
    close(chance(-5), 0.25);
    const both = reservations(paying, [open(now), open(now - 6 * minute)], now, leadMs);
    close(expectedFrom(both), 0.25 + 1 / 3);
    // Of those who come in the next 5 minutes only who pays after 2 minutes is in time: for 3 of the 5 minutes.
    close(both.unseen, (0.5 * 3) / 5);
  });

  it("add up to the distribution of independent chances", () => {
    const { chances, expected } = openCheckouts([0.5, 0.25], leadMs);
    close(expected, 0.75);
    for (const [count, chance] of [0.375, 0.5, 0.125].entries()) close(chances[count] ?? 0, chance);
    // Many small chances are Poisson's.
    const many = openCheckouts(
      Array.from({ length: 200 }, () => 0.01),
      leadMs,
    );
    const limit = poisson(2);
    for (let count = 0; count < 6; count++)
      assert.ok(Math.abs((many.chances[count] ?? 0) - limit.next().value) < 0.003);
  });

  it("call for a machine each where they are nearly sure, and for none where a miss costs less than idle time", () => {
    const target = (chances: readonly number[], worth: number) =>
      pricedTarget(quiet, worth, 1_000, openCheckouts(chances, leadMs)).target;
    assert.equal(target([0.999, 0.999, 0.999], 10), 3);
    assert.equal(target([1, 1], 0.001), 2);
    assert.equal(target([0.01], 0.01), 0);
    assert.equal(target([], 100), 0);
  });

  it("never make a target that is no number, and more of them never a smaller one", () => {
    const chance = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(chance, { maxLength: 30 }),
        chance,
        fc.integer({ min: 1, max: 1_000 }),
        (chances, more, worth) => {
          const target = (all: readonly number[]) =>
            pricedTarget(thinned(quiet, 0.5), worth, 1_000, openCheckouts(all, leadMs)).target;
          const before = target(chances);
          const after = target([...chances, more]);
          assert.ok(Number.isInteger(before) && before >= 0 && before <= chances.length + 1, `${before}`);
          assert.ok(after >= before, `${before} then ${after}`);
        },
      ),
      { numRuns: 200 },
    );
  });
});
