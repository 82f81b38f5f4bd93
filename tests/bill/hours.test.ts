import { strict as assert } from "node:assert";
import fc from "fast-check";
import { begunHours } from "../../pool/bill/hours.ts";
import { hourMs } from "../../pool/clock.ts";
import { charge } from "../cloud/hetzner/billing.ts";

const day = 24 * hourMs;
const price = (hourly: number, monthly: number) => ({
  hourly: { net: hourly, gross: hourly * 1.19 },
  monthly: { net: monthly, gross: monthly * 1.19 },
});
const january = Date.UTC(2026, 0, 1);
const always = { from: 0, until: Number.MAX_SAFE_INTEGER };
const sum = (hours: ReturnType<typeof begunHours>) =>
  hours.reduce((total, { cost }) => total + (cost?.net ?? Number.NaN), 0);

describe("begun hours", () => {
  it("are at least one, and one more from the first millisecond of the next", () => {
    const lasting = (ms: number) =>
      begunHours({ from: january, until: january + ms }, price(0.01, 5), always).length;
    assert.deepEqual([0, 1, hourMs, hourMs + 1, 2 * hourMs].map(lasting), [1, 1, 1, 2, 2]);
  });

  it("end with the resource, and not with the hour", () => {
    const life = { from: january, until: january + hourMs + 600_000 };
    assert.deepEqual(
      begunHours(life, null, always).map(({ existed, cost }) => [existed.until - existed.from, cost]),
      [
        [hourMs, null],
        [600_000, null],
      ],
    );
  });

  it("cost nothing more in a month that has cost its monthly price", () => {
    const life = { from: january + 90 * 60_000, until: january + 40 * day };
    const inJanuary = begunHours(life, price(0.0088, 5.49), { from: january, until: january + 31 * day });
    assert.equal(sum(inJanuary).toFixed(6), "5.490000");
    const inFebruary = begunHours(life, price(0.0088, 5.49), {
      from: january + 31 * day,
      until: january + 60 * day,
    });
    assert.equal(sum(inFebruary).toFixed(6), (0.0088 * inFebruary.length).toFixed(6));
  });

  it("are the same by days as in one, and what Hetzner's stand-in charges, whatever the life", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 60 * day }),
        fc.integer({ min: 0, max: 70 * day }),
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 2_000 }),
        (begins, lasts, hourly, monthly) => {
          const life = { from: january + begins, until: january + begins + lasts };
          const cost = price(hourly / 10_000, monthly / 100);
          const theirs = charge(life.from, life.until, hourly / 10_000, monthly / 100);
          const days = Array.from({ length: 140 }, (_, index) =>
            begunHours(life, cost, { from: january + index * day, until: january + (index + 1) * day }),
          ).flat();
          assert.equal(days.length, theirs.hours);
          assert.ok(Math.abs(sum(days) - theirs.amount) < 1e-6, `${sum(days)} ${theirs.amount}`);
          assert.ok(days.every(({ cost }) => (cost?.net ?? -1) > -1e-12));
        },
      ),
      { numRuns: 100 },
    );
  });
});
