import { strict as assert } from "node:assert";
import fc from "fast-check";
import { hourMs } from "../../pool/clock.ts";
import { createCalendar } from "../../pool/sizing/forecast/calendar.ts";
import { adaptivePolicy, forecastDemand } from "../../pool/sizing/policy/adaptive.ts";
import { factorPolicy } from "../../pool/sizing/policy/factor.ts";
import { guarded } from "../../pool/sizing/policy/guards.ts";

const leadMs = 300_000;
const dayMs = 24 * hourMs;
const monday = Date.UTC(2026, 0, 5);
const berlin = createCalendar("Europe/Berlin");
const adaptive = (since: number, worthHours: number) =>
  adaptivePolicy({ demand: forecastDemand(berlin, since), goal: { worthHours }, holdMs: hourMs });

/** Gaps between claims in seconds, bursts among them. */
const gaps = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 6 * 3_600 })), { maxLength: 60 });
const worth = fc.double({ min: 0.01, max: 1e6, noNaN: true });

function targetAfter(seconds: readonly number[], worthHours: number, since = monday): number {
  const policy = adaptive(since, worthHours);
  let at = monday;
  for (const gap of seconds) {
    at += gap * 1_000;
    policy.claim({ at, hit: true });
  }
  return policy.wanted({ now: at + 1_000, leadMs }).target;
}

const isSane = (target: number) => Number.isSafeInteger(target) && target >= 0 && target <= 1_000;

describe("the adaptive target", () => {
  it("is a whole number from 0 to its bound, never falls with the price, and is the same each time", () => {
    fc.assert(
      fc.property(gaps, worth, fc.double({ min: 1, max: 100, noNaN: true }), (seconds, price, more) => {
        const target = targetAfter(seconds, price);
        assert.ok(isSane(target), String(target));
        assert.ok(targetAfter(seconds, price * more) >= target);
        assert.equal(targetAfter(seconds, price), target);
      }),
      { numRuns: 40 },
    );
  });

  it("stays within the guards, whatever it asks", () => {
    const bounds = fc.tuple(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 20 }));
    fc.assert(
      fc.property(gaps, worth, bounds, (seconds, price, [minReady, room]) => {
        const target = targetAfter(seconds, price);
        const guards = { minReady, maxReady: minReady + room, campaigns: [], floor: () => 0 };
        const why = { kind: "static" } as const;
        const situation = { now: monday, leadMs };
        const held = guarded(
          { target, keep: target, why },
          { ...guards, addsCheckouts: false },
          situation,
        ).target;
        assert.ok(held >= minReady && held <= minReady + room);
      }),
      { numRuns: 20 },
    );
  });

  it("does not depend on what is older than its memory", () => {
    const target = (busyFirst: boolean) => {
      const policy = adaptive(monday, 250);
      for (let hour = 0; busyFirst && hour < 24; hour++) {
        for (let claim = 0; claim < 30; claim++) policy.claim({ at: monday + hour * hourMs, hit: true });
      }
      const since = monday + 700 * dayMs;
      for (let hour = 0; hour < 21 * 24; hour++) policy.claim({ at: since + hour * hourMs, hit: true });
      return policy.wanted({ now: since + 21 * dayMs, leadMs }).target;
    };
    assert.equal(target(true), target(false));
  });
});

describe("bad input to the adaptive target", () => {
  const fed = (): ReturnType<typeof adaptive> => {
    const policy = adaptive(monday, 250);
    for (let hour = 0; hour < 14 * 24; hour++) policy.claim({ at: monday + hour * hourMs, hit: true });
    return policy;
  };
  const now = monday + 14 * dayMs;
  const usual = fed().wanted({ now, leadMs }).target;

  it("survives a clock that jumps ahead by years and back", () => {
    const policy = fed();
    assert.ok(isSane(policy.wanted({ now: now + 3_650 * dayMs, leadMs }).target));
    const back = policy.wanted({ now, leadMs });
    assert.ok(isSane(back.target) && isSane(back.keep));
    for (let hour = 0; hour < 7 * 24; hour++) policy.claim({ at: now + hour * hourMs, hit: true });
    const { target, keep } = policy.wanted({ now: now + 7 * dayMs, leadMs });
    assert.ok(Math.abs(target - usual) <= 1 && keep <= target + 1, `${target}, ${keep}, usually ${usual}`);
  });

  it("lets the window of a factor forget claims of a clock that was set back", () => {
    const policy = factorPolicy({ factor: 1, windowMs: hourMs });
    for (let claim = 0; claim < 5; claim++) policy.claim({ at: now + 365 * dayMs, hit: true });
    assert.equal(policy.wanted({ now, leadMs }).target, 0);
  });

  it("comes down in a week without a claim, and up again", () => {
    const policy = fed();
    const silent = policy.wanted({ now: now + 7 * dayMs, leadMs }).target;
    assert.ok(isSane(silent) && silent <= usual);
    for (let hour = 0; hour < 48; hour++) {
      policy.claim({ at: now + 7 * dayMs + hour * hourMs, hit: true });
    }
    assert.ok(policy.wanted({ now: now + 9 * dayMs, leadMs }).target >= silent);
  });

  it("bounds what a burst of 1000 in a minute asks, and forgets it within days", () => {
    const policy = fed();
    for (let claim = 0; claim < 1_000; claim++) policy.claim({ at: now + claim * 60, hit: false });
    const burst = policy.wanted({ now: now + 60_000, leadMs }).target;
    assert.ok(isSane(burst) && burst > usual);
    for (let hour = 1; hour < 14 * 24; hour++) policy.claim({ at: now + hour * hourMs, hit: true });
    assert.ok(policy.wanted({ now: now + 14 * dayMs, leadMs }).target < burst / 4);
  });

  it("goes over days of 23 and 25 hours", () => {
    for (const change of [Date.UTC(2026, 2, 29), Date.UTC(2026, 9, 25)]) {
      const policy = adaptive(change - 7 * dayMs, 250);
      for (let at = change - 7 * dayMs; at < change + 2 * dayMs; at += hourMs / 2) {
        policy.claim({ at, hit: true });
        assert.ok(isSane(policy.wanted({ now: at, leadMs }).target));
      }
    }
  });
});
