import { strict as assert } from "node:assert";
import fc from "fast-check";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { dayMs, minuteMs } from "../../../pool/clock.ts";
import { createCalendar } from "../../../pool/sizing/forecast/calendar.ts";
import { adaptivePolicy, forecastDemand } from "../../../pool/sizing/policy/adaptive.ts";
import { type CheckoutRecord, readCheckouts } from "../../../pool/sizing/replay/checkouts.ts";
import { chooseByReplay, Trials } from "../../../pool/sizing/replay/choice.ts";
import { replay } from "../../../pool/sizing/replay/replay.ts";
import { learnedFrom, learnPaying, reservations } from "../../../pool/sizing/reservations.ts";
import type { Checkout } from "../../../pool/store/store.ts";

const from = Date.UTC(2026, 0, 5);
const leadMs = 5 * minuteMs;
const own = { plan: "small", region: "eu-central" };

const byEnd = (a: Checkout, b: Checkout) => (a.closedAt ?? 0) - (b.closedAt ?? 0);
const byOpening = (a: Checkout, b: Checkout) => a.openedAt - b.openedAt;
const recordOf = (checkouts: readonly Checkout[]): CheckoutRecord => ({
  ended: checkouts.filter(({ closedAt }) => closedAt !== null).sort(byEnd),
  own: [...checkouts].sort(byOpening),
});

const days = 44;
const to = from + days * dayMs;
/** Six an hour, by chance: two of three pay, within some minutes; the others leave their checkout open for a day. */
const bought = (() => {
  const random = xoroshiro128plus(5);
  const checkouts: Checkout[] = [];
  for (let at = from; ; ) {
    at += -Math.log1p(-uniformFloat64(random)) * 10 * minuteMs;
    if (at >= to) return checkouts;
    const pays = uniformFloat64(random) < 2 / 3;
    const lasts = pays ? -Math.log1p(-uniformFloat64(random)) * 6 * minuteMs : dayMs;
    checkouts.push({ ...own, openedAt: at, closedAt: at + lasts, outcome: pays ? "paid" : "expired" });
  }
})();
const claims = Float64Array.from(
  bought.filter(({ outcome }) => outcome === "paid"),
  ({ closedAt }) => closedAt ?? 0,
).sort();

describe("open checkouts of a record", () => {
  it("are at each moment what the daemon knew then", () => {
    const checkout = fc
      .record({
        openedAt: fc.integer({ min: 0, max: 5_000 }),
        lasts: fc.option(fc.integer({ min: 0, max: 600 })),
        paid: fc.boolean(),
      })
      .map(({ openedAt, lasts, paid }): Checkout => {
        const closedAt = lasts === null ? null : (openedAt + lasts) * 1_000;
        return {
          ...{ ...own, openedAt: openedAt * 1_000, closedAt },
          outcome: closedAt === null ? null : paid ? "paid" : "expired",
        };
      });
    fc.assert(
      fc.property(fc.array(checkout, { minLength: 30, maxLength: 900 }), (checkouts) => {
        const record = recordOf(checkouts);
        const openAt = readCheckouts(record);
        for (let now = 0; now <= 6_000_000; now += 250_000) {
          const known = record.ended.filter(({ closedAt }) => (closedAt ?? 0) <= now);
          const whole = known.slice(0, known.length - (known.length % 10));
          const paying = learnPaying(whole.slice(-learnedFrom));
          const open = record.own.filter(
            ({ openedAt, closedAt }) => openedAt <= now && (closedAt === null || closedAt > now),
          );
          assert.deepEqual(openAt(now, leadMs), paying && reservations(paying, open, now, leadMs));
        }
      }),
      { numRuns: 50 },
    );
  });

  it("tell a policy who is about to pay", () => {
    const run = (checkouts: CheckoutRecord | undefined) =>
      replay({
        ...{ claims, from, to, scoreFrom: from + 14 * dayMs, leadMs, slots: 10, tickMs: minuteMs, checkouts },
        nextBuild: () => ({ ms: leadMs, failed: false }),
        policy: adaptivePolicy({
          ...{ demand: forecastDemand(createCalendar("UTC"), from), holdMs: 0 },
          goal: { worthHours: 10 },
        }),
      });
    const [told, untold] = [run(recordOf(bought)), run(undefined)];
    assert.ok(told.misses < untold.misses, `${told.misses} and ${untold.misses} misses`);
    assert.ok(told.idleHours < untold.idleHours, `${told.idleHours} and ${untold.idleHours} idle hours`);
  });

  it("count in a choice by replay, for adaptive prices and for plain numbers", () => {
    const choice = (checkouts: CheckoutRecord | undefined) =>
      chooseByReplay(
        new Trials(
          {
            ...{ trace: { claims, from, to }, scoreFrom: from + 14 * dayMs, leadMs, rules: { slots: 10 } },
            checkouts,
          },
          { calendar: createCalendar("UTC") },
        ),
        0.99,
      ).chosen;
    const [told, untold] = [choice(recordOf(bought)), choice(undefined)];
    assert.ok(told && untold);
    assert.ok(told.paidHours < untold.paidHours, `${told.paidHours} and ${untold.paidHours} paid hours`);
  });
});
