import { strict as assert } from "node:assert";
import fc from "fast-check";
import { hourMs } from "../../pool/clock.ts";
import { createCalendar } from "../../pool/sizing/forecast/calendar.ts";
import {
  erlangB,
  missShareBound,
  negativeBinomial,
  poisson,
  quantile,
} from "../../pool/sizing/forecast/distributions.ts";
import { pricedTarget } from "../../pool/sizing/forecast/miss-price.ts";
import { type Forecast, Mixture } from "../../pool/sizing/forecast/mixture.ts";
import { Season } from "../../pool/sizing/forecast/season.ts";

const day = 24 * hourMs;
const monday = Date.UTC(2026, 0, 5);

/** One component whose gamma has so large a size that it is a Poisson distribution. */
const certain = (perHour: number, leadMs: number): Forecast => ({
  weight: Float64Array.of(1),
  size: Float64Array.of(1e9),
  mean: Float64Array.of((perHour * leadMs) / hourMs),
  ratePerSize: Float64Array.of(perHour / 1e9),
});

describe("distributions", () => {
  it("has Erlang's loss formula", () => {
    for (const [machines, load, loss] of [
      [3, 1, 0.0625],
      [5, 2, 0.036697],
      [10, 4, 0.005308],
    ] as const) {
      assert.equal(erlangB(machines, load).toFixed(6), loss.toFixed(6));
    }
  });

  it("has the negative binomial by size and mean", () => {
    for (const [size, mean, none, one, most] of [
      [2, 1, 0.444444, 0.296296, 7],
      [0.7, 0.5, 0.685712, 0.199999, 7],
      [5, 4, 0.052922, 0.117605, 16],
    ] as const) {
      const chances = negativeBinomial(size, mean);
      assert.equal(chances.next().value.toFixed(6), none.toFixed(6));
      assert.equal(chances.next().value.toFixed(6), one.toFixed(6));
      assert.equal(quantile(negativeBinomial(size, mean), 0.999), most);
    }
  });

  it("adds up to 1, and to its mean", () => {
    const sums = (chances: Iterator<number>) => {
      let [total, mean] = [0, 0];
      for (let k = 0; k < 3_000; k++) {
        const chance = chances.next().value ?? 0;
        total += chance;
        mean += k * chance;
      }
      return [total, mean].map((each) => each.toFixed(6));
    };
    assert.deepEqual(sums(poisson(7.5)), ["1.000000", "7.500000"]);
    assert.deepEqual(sums(negativeBinomial(0.7, 7.5)), ["1.000000", "7.500000"]);
  });

  it("bounds a miss share by what was seen", () => {
    // Rule of three.
    assert.equal(missShareBound(0, 3_000).toFixed(5), "0.00100");
    assert.equal(missShareBound(0, 0), 1);
    assert.equal(missShareBound(5, 5), 1);
    // R: qbeta(0.95, 4, 2997)
    assert.equal(missShareBound(3, 3_000).toFixed(4), "0.0026");
  });
});

describe("calendar", () => {
  it("counts the hours of the week from Monday", () => {
    const utc = createCalendar("UTC");
    assert.deepEqual(utc.hour(monday), { ofWeek: 0, until: monday + hourMs });
    assert.equal(utc.hour(monday - 1).ofWeek, 167);
    assert.equal(utc.hour(monday + 3 * day + 90 * 60_000).ofWeek, 73);
  });

  it("goes by the customers' clock on days of 23 and 25 hours", () => {
    const berlin = createCalendar("Europe/Berlin");
    const hours = (from: number, count: number) =>
      Array.from({ length: count }, (_, index) => berlin.hour(from + index * hourMs).ofWeek % 24);
    // 2026-03-29: 02:00 does not exist; 2026-10-25: 02:00 comes twice.
    assert.deepEqual(hours(Date.UTC(2026, 2, 29, 0), 3), [1, 3, 4]);
    assert.deepEqual(hours(Date.UTC(2026, 9, 25, 0), 3), [2, 2, 3]);
    assert.deepEqual(createCalendar("Asia/Kolkata").hour(monday), { ofWeek: 5, until: monday + hourMs / 2 });
  });

  it("refuses a time zone that there is not", () => {
    assert.throws(() => createCalendar("Mars/Olympus"), RangeError);
  });
});

describe("season", () => {
  it("learns which hours are busy, and stays 1 on average", () => {
    const season = new Season(createCalendar("UTC"));
    for (let at = monday; at < monday + 28 * day; at += hourMs) {
      season.observe(at, at + hourMs, new Date(at).getUTCHours() === 12 ? 24 : 0);
    }
    const week = monday + 28 * day;
    assert.ok(season.factor(week + 12 * hourMs) > 8);
    assert.ok(season.factor(week + 3 * hourMs) < 0.1);
    assert.ok(Math.abs(season.weight(week, week + 7 * day) - 168) < 1e-6);
  });

  it("goes from hour to hour without a step", () => {
    const season = new Season(createCalendar("UTC"));
    for (let at = monday; at < monday + 28 * day; at += hourMs) {
      season.observe(at, at + hourMs, new Date(at).getUTCHours() === 12 ? 24 : 0);
    }
    const noon = monday + 28 * day + 12 * hourMs;
    assert.ok(Math.abs(season.factor(noon - 1) / season.factor(noon) - 1) < 1e-6);
    assert.ok(season.factor(noon - hourMs / 4) < season.factor(noon));
    const [before, after] = [season.weight(noon - hourMs, noon), season.weight(noon, noon + hourMs)];
    assert.ok(Math.abs(before + after - season.weight(noon - hourMs, noon + hourMs)) < 1e-9);
  });

  it("is flat before anything was seen", () => {
    const season = new Season(createCalendar("UTC"));
    assert.equal(season.weight(monday, monday + day), 24);
  });
});

describe("the price of a miss", () => {
  const leadMs = 300_000;

  it("keeps what Smith's rule keeps under Poisson claims", () => {
    for (const [perHour, worth, target] of [
      [0.5, 100, 2],
      [2, 100, 3],
      [10, 100, 6],
      [10, 10, 4],
      [40, 20, 11],
    ] as const) {
      assert.equal(pricedTarget(certain(perHour, leadMs), worth, 100).target, target);
    }
  });

  it("keeps nothing when a machine costs more than it can save", () => {
    assert.equal(pricedTarget(certain(0.01, leadMs), 50, 100).target, 0);
  });

  it("never keeps fewer for a higher price, nor more than it may", () => {
    const any = fc.record({
      size: fc.double({ min: 0.05, max: 1_000, noNaN: true }),
      mean: fc.double({ min: 1e-6, max: 500, noNaN: true }),
      worth: fc.double({ min: 0.01, max: 1e7, noNaN: true }),
      more: fc.double({ min: 1, max: 100, noNaN: true }),
    });
    fc.assert(
      fc.property(any, ({ size, mean, worth, more }) => {
        const forecast = {
          weight: Float64Array.of(1),
          size: Float64Array.of(size),
          mean: Float64Array.of(mean),
          ratePerSize: Float64Array.of((mean * hourMs) / leadMs / (size + mean)),
        };
        const { target, short } = pricedTarget(forecast, worth, 200);
        assert.ok(Number.isInteger(target) && target >= 0 && target <= 200);
        assert.ok(short >= 0 && short <= 1);
        assert.ok(pricedTarget(forecast, worth * more, 200).target >= target);
      }),
    );
  });
});

describe("the mixture", () => {
  const utc = createCalendar("UTC");
  const fed = (claims: readonly number[], until: number) => {
    const mixture = new Mixture(utc, monday);
    for (const at of claims) mixture.claim(at);
    mixture.advance(until);
    return mixture;
  };
  /** Claims an hour, over the next minute. */
  const rate = (mixture: Mixture, at: number) =>
    pricedTarget(mixture.forecast(at, at + 60_000), 1, 1_000).expected * 60;
  const every = (ms: number, from: number, to: number) =>
    Array.from({ length: Math.floor((to - from) / ms) }, (_, index) => from + index * ms);

  it("expects what it saw", () => {
    const until = monday + 21 * day;
    const found = rate(fed(every(10 * 60_000, monday, until), until), until);
    assert.ok(Math.abs(found - 6) < 0.5, `${found} claims an hour`);
  });

  it("follows a change within hours, and a season ahead of it", () => {
    const until = monday + 21 * day;
    const steady = every(hourMs, monday, until);
    const rush = every(60_000, until, until + 3 * hourMs);
    assert.ok(rate(fed([...steady, ...rush], until + 3 * hourMs), until + 3 * hourMs) > 30);
    const noons = every(day, monday + 12 * hourMs, until).flatMap((noon) =>
      every(180_000, noon, noon + hourMs),
    );
    const mixture = fed(noons, until + 11.9 * hourMs);
    const [noon, night] = [12.2, 4].map((hour) => rate(mixture, until + hour * hourMs));
    assert.ok((noon ?? 0) > 5 * (night ?? 0), `${noon} at noon, ${night} at night`);
  });

  it("forgets what is older than its memory", () => {
    const busy = every(60_000, monday, monday + day);
    const later = every(hourMs, monday + 200 * day, monday + 207 * day);
    const until = monday + 207 * day;
    const [with_, without] = [fed([...busy, ...later], until), fed(later, until)];
    assert.ok(Math.abs(rate(with_, until) / rate(without, until) - 1) < 0.02);
  });

  it("gives finite numbers, whatever comes", () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 24 * 3_600 }), { maxLength: 30 });
    fc.assert(
      fc.property(gaps, fc.integer({ min: 0, max: 1_500 }), (seconds, burst) => {
        let at = monday;
        const claims = seconds.map((gap) => {
          at += gap * 1_000;
          return at;
        });
        const mixture = fed([...claims, ...Array.from({ length: burst }, () => at)], at + day);
        const { weight, size, mean, ratePerSize } = mixture.forecast(at + day, at + day + 300_000);
        for (const values of [weight, size, mean, ratePerSize]) {
          assert.ok(values.every((each) => Number.isFinite(each) && each > 0));
        }
        const { target } = pricedTarget(mixture.forecast(at + day, at + day + 300_000), 125, 1_000);
        assert.ok(target >= 0 && target <= 1_000);
      }),
      { numRuns: 20 },
    );
  });

  it("takes a claim of a clock that was set back as one of now", () => {
    const mixture = fed(every(hourMs, monday, monday + day), monday + day);
    mixture.claim(monday + 3 * hourMs);
    mixture.advance(monday + 2 * day);
    assert.ok(rate(mixture, monday + 2 * day) > 0);
  });

  it("knows a claim of the bin that is not closed yet", () => {
    const mixture = fed(every(hourMs, monday, monday + day), monday + day);
    const before = rate(mixture, monday + day + 60_000);
    for (let claims = 0; claims < 20; claims++) mixture.claim(monday + day + 60_000);
    assert.ok(rate(mixture, monday + day + 60_000) > 2 * before);
  });

  it("learns that claims come in batches", () => {
    const until = monday + 60 * day;
    const single = every(hourMs, monday, until);
    const fourfold = every(4 * hourMs, monday, until).flatMap((at) => [at, at, at, at]);
    const short = (claims: number[]) =>
      pricedTarget(fed(claims, until).forecast(until, until + 300_000), 250, 100).target;
    assert.ok(short(fourfold) > short(single));
  });

  it("goes on after a clock that jumped by years and back", () => {
    const until = monday + 14 * day;
    const claims = every(hourMs, monday, until);
    const mixture = fed(claims, until);
    mixture.advance(monday + 5_000 * day);
    mixture.advance(until);
    for (const at of every(hourMs, until, until + 7 * day)) mixture.claim(at);
    mixture.advance(until + 7 * day);
    const found = rate(mixture, until + 7 * day);
    assert.ok(Math.abs(found - 1) < 0.3, `${found} claims an hour`);
  });
});
