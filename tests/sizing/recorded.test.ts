import { strict as assert } from "node:assert";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { hourMs } from "../../pool/clock.ts";
import { createCalendar } from "../../pool/sizing/forecast/calendar.ts";
import { adaptivePolicy, type Demand, forecastDemand } from "../../pool/sizing/policy/adaptive.ts";
import { RecordedForecast } from "../../pool/sizing/replay/recorded.ts";
import { replay } from "../../pool/sizing/replay/replay.ts";

const from = Date.UTC(2026, 2, 23);
const to = from + 14 * 24 * hourMs;
const leadMs = 300_000;
/** Seconds like those of payments, some of them equal; over the days on which clocks are set to summer time. */
const claims = (() => {
  const random = xoroshiro128plus(7);
  const seconds = Array.from({ length: 900 }, () => uniformInt(random, 0, (to - from) / 1_000));
  return Float64Array.from([...seconds, 86_400, 86_400, 86_400], (at) => from + at * 1_000).sort();
})();
const calendar = createCalendar("Europe/Berlin");

const run = (demand: Demand, goal: { worthHours: number } | { missShare: number }, holdMs: number) =>
  replay({
    ...{ claims, from, to, scoreFrom: from, leadMs, policy: adaptivePolicy({ demand, goal, holdMs }) },
    ...{ slots: 10, tickMs: 300_000, nextBuild: () => ({ ms: leadMs + 7_000, failed: false }) },
  });

describe("a recorded forecast", () => {
  it("comes to just what the policy comes to that makes its own, whatever the price and the hold", () => {
    const recorded = new RecordedForecast({ claims, from, to }, { calendar, leadMs, mostWorth: 1e7 });
    for (const [goal, holdMs] of [
      [{ worthHours: 5 }, 0],
      [{ worthHours: 300 }, hourMs],
      [{ missShare: 0.02 }, 0],
    ] as const) {
      assert.deepEqual(
        run(recorded.demand(), goal, holdMs),
        run(forecastDemand(calendar, from), goal, holdMs),
      );
    }
  });
});
