import { strict as assert } from "node:assert";
import { hourMs } from "../../pool/clock.ts";
import { steps } from "../../pool/refill/steps.ts";
import { createCalendar } from "../../pool/sizing/forecast/calendar.ts";
import { adaptivePolicy, forecastDemand } from "../../pool/sizing/policy/adaptive.ts";
import { factorPolicy } from "../../pool/sizing/policy/factor.ts";
import { guarded } from "../../pool/sizing/policy/guards.ts";
import { schedulePolicy } from "../../pool/sizing/policy/schedule.ts";
import { staticPolicy } from "../../pool/sizing/policy/static.ts";

const leadMs = 300_000;
const monday = Date.UTC(2026, 0, 5);

describe("sizing policies", () => {
  it("factor: so many for each claim of the window", () => {
    const policy = factorPolicy({ factor: 0.5, windowMs: hourMs });
    for (const minute of [0, 10, 20]) policy.claim({ at: monday + minute * 60_000, hit: true });
    const target = (minute: number) => policy.wanted({ now: monday + minute * 60_000, leadMs }).target;
    assert.deepEqual([target(20), target(65), target(90)], [2, 1, 0]);
  });

  it("schedule: opens a lead time early, and closes on time", () => {
    const policy = schedulePolicy([{ cron: "0 8 * * 1-5", lengthMs: 2 * hourMs, ready: 4 }], "UTC");
    const target = (hours: number) => policy.wanted({ now: monday + hours * hourMs, leadMs }).target;
    assert.deepEqual([7.9, 7.95, 8, 9.99, 10, 24 + 9, 5 * 24 + 9].map(target), [0, 4, 4, 4, 0, 4, 0]);
  });

  it("schedule: knows daylight saving, and of two open windows takes the larger", () => {
    const windows = [
      { cron: "0 9 * * *", lengthMs: hourMs, ready: 2 },
      { cron: "30 9 * * *", lengthMs: hourMs, ready: 5 },
    ];
    const policy = schedulePolicy(windows, "Europe/Berlin");
    const target = (iso: string) => policy.wanted({ now: Date.parse(iso), leadMs: 0 }).target;
    // Summer time begins on 2026-03-29.
    assert.deepEqual(
      ["2026-03-28T08:10Z", "2026-03-28T07:10Z", "2026-03-29T07:10Z", "2026-03-29T07:40Z"].map(target),
      [2, 0, 2, 5],
    );
  });

  it("schedule: refuses a pattern or a zone that is none", () => {
    assert.throws(
      () => schedulePolicy([{ cron: "0 25 * * *", lengthMs: hourMs, ready: 1 }], "UTC"),
      /25|range|bounds/i,
    );
    const policy = () =>
      schedulePolicy([{ cron: "0 1 * * *", lengthMs: hourMs, ready: 1 }], "Mars/Olympus").wanted({
        now: 0,
        leadMs,
      });
    assert.throws(policy, /Mars\/Olympus/);
  });

  it("adaptive: raises its price until the asked share misses", () => {
    const demand = forecastDemand(createCalendar("UTC"), monday);
    const policy = adaptivePolicy({ demand, goal: { missShare: 0.01 }, holdMs: 0 });
    const worth = () => {
      const { why } = policy.wanted({ now: monday + hourMs, leadMs });
      assert.equal(why.kind, "priced");
      return why.kind === "priced" ? why.worthHours : 0;
    };
    assert.equal(worth(), 100);
    policy.claim({ at: monday + hourMs, hit: false });
    const missed = worth();
    assert.ok(missed > 140 && missed < 142, String(missed));
    policy.claim({ at: monday + hourMs, hit: true });
    assert.ok(worth() < missed);
  });

  it("adaptive: keeps a surplus until nothing wanted it for as long as it holds", () => {
    const demand = forecastDemand(createCalendar("UTC"), monday);
    const policy = adaptivePolicy({ demand, goal: { worthHours: 100 }, holdMs: 2 * hourMs });
    const rush = monday + 24 * hourMs;
    for (let hour = 0; hour < 24; hour++) policy.claim({ at: monday + hour * hourMs, hit: true });
    for (let minute = 0; minute < 60; minute++) policy.claim({ at: rush + minute * 60_000, hit: true });
    const busy = policy.wanted({ now: rush + hourMs, leadMs });
    assert.equal(busy.keep, busy.target);
    const after = policy.wanted({ now: rush + 2.9 * hourMs, leadMs });
    assert.ok(after.target < busy.target);
    assert.equal(after.keep, busy.target);
    const later = policy.wanted({ now: rush + 12 * hourMs, leadMs });
    assert.ok(later.keep < busy.target);
  });

  it("guards hold over every policy, and a campaign adds to it in time", () => {
    const campaign = { name: "launch", from: monday + hourMs, until: monday + 2 * hourMs, add: 5 };
    const guards = { minReady: 1, maxReady: 8, campaigns: [campaign], floor: () => 0, addsCheckouts: false };
    const target = (policy: number, hours: number) => {
      const now = monday + hours * hourMs;
      const wanted = staticPolicy(policy).wanted({ now, leadMs });
      return guarded(wanted, guards, { now, leadMs }).target;
    };
    assert.deepEqual([target(0, 0), target(3, 0), target(20, 0)], [1, 3, 8]);
    assert.deepEqual([target(2, 0.9), target(2, 0.95), target(5, 1.5), target(2, 2)], [2, 7, 8, 2]);
  });
});

describe("steps", () => {
  const now = monday + hourMs;
  const aged = (minutes: number) => ({ createdAt: now - minutes * 60_000 });
  const state = (change: object) => ({ ready: [], building: 0, queued: 0, waiting: 0, ...change });
  const wanted = (target: number, keep = target) => ({ target, keep });

  it("builds what is lacking, those that customers wait for on top", () => {
    const lacking = steps(state({ ready: [aged(1)], building: 1, waiting: 3 }), wanted(2), now);
    assert.deepEqual(lacking, { build: 3, callOff: 0, retire: [] });
  });

  it("calls off what has not begun before it retires anything", () => {
    const ready = [aged(57), aged(57)];
    assert.deepEqual(steps(state({ ready, queued: 1 }), wanted(2), now), {
      build: 0,
      callOff: 1,
      retire: [],
    });
    assert.deepEqual(steps(state({ ready, queued: 1 }), wanted(1), now), {
      build: 0,
      callOff: 1,
      retire: [ready[0]],
    });
  });

  it("retires only in the last minutes of a paid hour, and not what is kept", () => {
    const ready = [aged(30), aged(53), aged(57), aged(58)];
    assert.deepEqual(steps(state({ ready }), wanted(0), now).retire, [ready[1], ready[2]]);
    assert.deepEqual(steps(state({ ready }), { ...wanted(2), atOnce: true }, now).retire, ready.slice(0, 2));
    assert.deepEqual(steps(state({ ready }), wanted(0, 3), now).retire, [ready[1]]);
  });
});
