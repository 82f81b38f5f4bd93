import { strict as assert } from "node:assert";
import fc from "fast-check";
import { hourMs } from "../../pool/clock.ts";
import type { PoolConfig, SizingConfig } from "../../pool/config/config.ts";
import { createPolicy } from "../../pool/sizing/policy/create.ts";

const leadMs = 300_000;
const monday = Date.UTC(2026, 0, 5);
const common = { timeZone: "UTC", campaigns: [], floors: [] };
const surroundings = { since: monday, eurPerHour: 0.008 };

const pool = (sizing: SizingConfig, bounds: Partial<PoolConfig> = {}) => ({
  ...{ minReady: 1, maxReady: null, maxTotal: 10, sizing },
  ...bounds,
});

describe("createPolicy", () => {
  it("static: wants min_ready where nothing else is said", () => {
    const wanted = (ready: number | null) =>
      createPolicy(pool({ ...common, policy: "static", ready }), surroundings).wanted({
        now: monday,
        leadMs,
      });
    assert.equal(wanted(null).target, 1);
    assert.equal(wanted(4).target, 4);
    assert.equal(wanted(4).bound, null);
  });

  it("schedule, floors and campaigns: each says what binds", () => {
    const policy = createPolicy(
      pool(
        {
          policy: "schedule",
          timeZone: "UTC",
          windows: [{ cron: "0 8 * * *", lengthMs: 2 * hourMs, ready: 4 }],
          floors: [{ cron: "0 12 * * *", lengthMs: hourMs, ready: 3 }],
          campaigns: [{ name: "launch", from: monday + 14 * hourMs, until: monday + 15 * hourMs, add: 30 }],
        },
        { maxReady: 8 },
      ),
      surroundings,
    );
    const at = (hours: number) => {
      const { target, bound } = policy.wanted({ now: monday + hours * hourMs, leadMs });
      return [target, bound];
    };
    assert.deepEqual([6, 9, 12.5, 14.5, 16].map(at), [
      [1, "min_ready"],
      [4, null],
      [3, "floors"],
      [8, "max_ready"],
      [1, "min_ready"],
    ]);
  });

  it("adaptive: a warm claim that is worth more keeps more, and without a price it aims at 99 %", () => {
    const wanted = (valueEur: number, eurPerHour: number | null) => {
      const sizing: SizingConfig = { ...common, policy: "adaptive", goal: { valueEur }, holdMs: 0 };
      const policy = createPolicy(pool(sizing, { minReady: 0 }), { since: monday, eurPerHour });
      for (let minute = 0; minute < 60; minute += 4)
        policy.claim({ at: monday + minute * 60_000, hit: true });
      return policy.wanted({ now: monday + hourMs, leadMs });
    };
    assert.ok(wanted(5, 0.008).target > wanted(0.05, 0.008).target);
    const { why } = wanted(5, null);
    assert.ok(why.kind === "priced" && why.worthHours > 70 && why.worthHours < 130, JSON.stringify(why));
  });

  it("stays within its bounds whatever comes: clocks that jump, bursts, silence", () => {
    const policies: fc.Arbitrary<SizingConfig> = fc.oneof(
      fc.record({
        ...{ policy: fc.constant("factor" as const), timeZone: fc.constant("UTC") },
        ...{ campaigns: fc.constant([]), floors: fc.constant([]) },
        ...{ scale: fc.double({ min: 0.01, max: 100, noNaN: true }), overMs: fc.constant(hourMs) },
        atMost: fc.option(fc.integer({ min: 0, max: 50 })),
      }),
      fc.record({
        ...{ policy: fc.constant("adaptive" as const), timeZone: fc.constant("Europe/Berlin") },
        ...{ campaigns: fc.constant([]), floors: fc.constant([]), holdMs: fc.constantFrom(0, hourMs) },
        goal: fc.oneof(
          fc.record({ valueEur: fc.double({ min: 1e-6, max: 10_000, noNaN: true }) }),
          fc.record({ hitShare: fc.double({ min: 0.5, max: 0.9999, noNaN: true }) }),
        ),
      }),
    );
    const happenings = fc.array(
      fc.record({
        jumpMs: fc.integer({ min: -hourMs, max: 30 * hourMs }),
        claims: fc.constantFrom(0, 1, 3, 1_000),
      }),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(policies, happenings, fc.integer({ min: 0, max: 5 }), (sizing, happened, minReady) => {
        const policy = createPolicy(pool(sizing, { minReady, maxReady: 8 }), surroundings);
        let now = monday;
        for (const { jumpMs, claims } of happened) {
          now += jumpMs;
          for (let claim = 0; claim < claims; claim++) policy.claim({ at: now, hit: claim % 2 === 0 });
          const { target, keep } = policy.wanted({ now, leadMs });
          assert.ok(Number.isInteger(target) && target >= minReady && target <= 8, `target ${target}`);
          assert.ok(Number.isInteger(keep) && keep >= target && keep <= 8, `keep ${keep}`);
        }
      }),
      { numRuns: 60 },
    );
  });
});
