import { strict as assert } from "node:assert";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { hourMs } from "../../pool/clock.ts";
import { createCalendar } from "../../pool/sizing/forecast/calendar.ts";
import { chooseByReplay, type Record, Trials } from "../../pool/sizing/replay/choice.ts";

const dayMs = 24 * hourMs;
const from = Date.UTC(2026, 0, 5);

/** Poisson claims, so many an hour at each hour of the day. */
function claimsOf(perHour: (hourOfDay: number) => number, days: number, seed = 3): Float64Array {
  const random = xoroshiro128plus(seed);
  const most = Math.max(...Array.from({ length: 24 }, (_, hour) => perHour(hour)));
  const claims: number[] = [];
  for (let at = from; ; ) {
    at += (-Math.log1p(-uniformFloat64(random)) / most) * hourMs;
    if (at >= from + days * dayMs) return Float64Array.from(claims);
    const hour = Math.floor(((at - from) % dayMs) / hourMs);
    if (uniformFloat64(random) < perHour(hour) / most) claims.push(at);
  }
}

function trialsOf(claims: Float64Array, days: number, change: Partial<Record> = {}): Trials {
  const trace = { claims, from, to: from + days * dayMs };
  const record = { trace, scoreFrom: from + 14 * dayMs, leadMs: 300_000, rules: { slots: 10 }, ...change };
  return new Trials(record, { calendar: createCalendar("UTC") });
}

/** Busy by day, empty at night. */
const daily = (hour: number) => (hour >= 8 && hour < 18 ? 8 : 0.05);

describe("choice by replay", () => {
  it("takes the adaptive policy where the day has a shape, and says what it is sure of", () => {
    const { chosen, bestStatic, why } = chooseByReplay(trialsOf(claimsOf(daily, 44), 44), 0.99);
    assert.equal(chosen?.setting.kind, "adaptive");
    assert.ok(chosen && chosen.atLeast >= 0.99 && chosen.hitShare > chosen.atLeast);
    assert.ok(bestStatic && bestStatic.atLeast >= 0.99 && bestStatic.paidHours > chosen.paidHours);
    assert.match(
      why,
      /^adaptive, \d+ idle hours .*: 99\.\d+ % of \d+ claims, 95 % sure at least 99[.\d]* %; a static/,
    );
  });

  it("chooses nothing that is not proved, and says how many claims that takes", () => {
    const trials = trialsOf(
      claimsOf(() => 1, 44),
      44,
    );
    const { chosen, why } = chooseByReplay(trials, 0.999);
    assert.equal(chosen, null);
    assert.match(
      why,
      /^[67]\d\d claims in 30 days are too few to promise 99\.9 %: without a single miss .* it takes 2995$/,
    );
    assert.ok(chooseByReplay(trials, 0.99).chosen);
  });

  it("does not take two weeks for the next", () => {
    const { chosen, why } = chooseByReplay(trialsOf(claimsOf(daily, 30), 30), 0.9);
    assert.equal(chosen, null);
    assert.equal(why, "16 days are too short a history to promise 90 %: it takes 28");
  });

  it("says when builds are too slow for any candidate", () => {
    const trials = trialsOf(claimsOf(daily, 44), 44, { rules: { slots: 1, maxTotal: 1 } });
    const { chosen, why } = chooseByReplay(trials, 0.99);
    assert.equal(chosen, null);
    assert.match(why, /^no candidate proves 99 % over these \d+ claims$/);
  });

  it("tries what the pool's own bounds leave of a candidate", () => {
    const atLeastThree: Record["within"] = (policy) => ({
      claim: (claim) => policy.claim(claim),
      wanted(situation) {
        const { target, keep, why } = policy.wanted(situation);
        return { target: Math.max(3, target), keep: Math.max(3, keep), why };
      },
    });
    const claims = claimsOf(daily, 44);
    const bounded = trialsOf(claims, 44, { within: atLeastThree });
    const free = trialsOf(claims, 44);
    assert.equal(
      bounded.of({ kind: "static", ready: 0 }).misses,
      free.of({ kind: "static", ready: 3 }).misses,
    );
  });

  it("is the same each time, and runs each candidate once", () => {
    const claims = claimsOf(daily, 44);
    const trials = trialsOf(claims, 44);
    const setting = { kind: "factor", scale: 1 } as const;
    assert.equal(trials.of(setting), trials.of({ ...setting }));
    assert.deepEqual(chooseByReplay(trials, 0.99), chooseByReplay(trialsOf(claims, 44), 0.99));
  });

  it("has a word for a history without claims", () => {
    const { chosen, why } = chooseByReplay(trialsOf(new Float64Array(0), 60), 0.99);
    assert.equal(chosen, null);
    assert.match(why, /^0 claims in 46 days are too few/);
  });
});
