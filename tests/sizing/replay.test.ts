import { strict as assert } from "node:assert";
import { hourMs } from "../../pool/clock.ts";
import { parseConfig } from "../../pool/config/load.ts";
import type { SizingPolicy } from "../../pool/sizing/policy/policy.ts";
import { staticPolicy } from "../../pool/sizing/policy/static.ts";
import { replay } from "../../pool/sizing/replay/replay.ts";
import { parseTrace, TraceError } from "../../pool/sizing/replay/trace.ts";
import { env, example } from "../config/example.ts";
import { closedForms } from "./closed-form.ts";

const from = Date.UTC(2026, 0, 1);
const leadMs = 300_000;

function run(
  claims: readonly number[],
  policy: SizingPolicy,
  change: Partial<Parameters<typeof replay>[0]> = {},
) {
  const to = Math.max(from + hourMs, ...claims.slice(-1)) + 2 * hourMs;
  return replay({
    ...{ claims: Float64Array.from(claims), from, to, scoreFrom: from, leadMs, policy },
    ...{ slots: 10, tickMs: 300_000, nextBuild: () => ({ ms: leadMs, failed: false }) },
    ...change,
  });
}

describe("replay", () => {
  it("comes to what theory says of a base stock under Poisson claims", () => {
    for (const { load, hit, hitInTheory, idle, idleInTheory } of closedForms(60_000)) {
      assert.ok(Math.abs(hit - hitInTheory) < 0.001, `hit share at load ${load}: ${hit}, ${hitInTheory}`);
      assert.ok(Math.abs(idle / idleInTheory - 1) < 0.01, `idle machines at load ${load}`);
    }
  });

  it("gives a claim that finds nothing the machine that is ready next, and counts its wait", () => {
    const claim = from + 10 * hourMs;
    const { misses, waits, built } = run([claim, claim + 1_000], staticPolicy(1));
    assert.deepEqual([misses, waits], [1, [leadMs - 1_000]]);
    assert.equal(built, 3);
  });

  it("begins no more builds at once than there are slots", () => {
    const claims = [1, 2, 3, 4].map((second) => from + 10 * hourMs + second * 1_000);
    const { waits } = run(claims, staticPolicy(0), { slots: 2 });
    assert.deepEqual(waits, [leadMs, leadMs, 2 * leadMs - 2_000, 2 * leadMs - 2_000]);
  });

  it("builds again what failed", () => {
    let builds = 0;
    const nextBuild = () => ({ ms: leadMs, failed: builds++ === 0 });
    const { misses, waits, built } = run([from + 10_000], staticPolicy(0), { nextBuild });
    assert.deepEqual([misses, waits, built], [1, [2 * leadMs], 2]);
  });

  it("retires a surplus machine only in the last minutes of a paid hour", () => {
    const falling: SizingPolicy = {
      claim: () => {},
      wanted: ({ now }) => {
        const target = now < from + 10 * 60_000 ? 3 : 1;
        return { target, keep: target, why: { kind: "static" } };
      },
    };
    const { wasted, idleHours } = run([], falling, { to: from + 2 * hourMs });
    assert.equal(wasted, 2);
    // Two from 5 to 55 minutes, one from 5 to 120.
    assert.equal(Math.round(idleHours * 60), 2 * 50 + 115);
  });

  it("keeps the pool below its cap, and customers wait for it", () => {
    const claims = [1, 2, 3].map((second) => from + 10 * hourMs + second * 1_000);
    const { waits } = run(claims, staticPolicy(2), { maxTotal: 1 });
    // One was ready; the two others are built one after the other.
    assert.deepEqual(waits, [leadMs - 1_000, 2 * leadMs - 2_000]);
  });

  it("orders no more builds a minute than allowed, but for customers who wait", () => {
    const slow = run([], staticPolicy(5), { buildsPerMinute: 2, to: from + hourMs });
    const fast = run([], staticPolicy(5), { to: from + hourMs });
    // Two at once, two a minute later, one after two minutes.
    assert.equal(Math.round((fast.idleHours - slow.idleHours) * 60), 2 * 1 + 1 * 2);
    const claims = [1, 2, 3].map((second) => from + 10 * hourMs + second * 1_000);
    const { waits } = run(claims, staticPolicy(0), { buildsPerMinute: 1 });
    assert.deepEqual(waits, [leadMs, leadMs, leadMs]);
  });

  it("builds for a waiting customer, but nothing to wait, when the day's spend is used up", () => {
    const spend = { perDay: 2.4, perHour: 0.1 };
    const kept = (hours: number) => {
      const seen: number[] = [];
      const to = from + hours * hourMs;
      run([], staticPolicy(3), { spend, to, observe: (_, { ready }) => seen.push(ready) });
      return seen.at(-1);
    };
    // 24 machine-hours a day are one machine, each day; what the last hour of a day has left over goes after midnight.
    assert.deepEqual([kept(12), kept(36), kept(60)], [1, 1, 1]);
    const { paidHours } = run([], staticPolicy(3), { spend, to: from + 96 * hourMs });
    assert.ok(paidHours <= 4 * 24 + 3 * 2, String(paidHours));
    const claims = [1, 2].map((second) => from + 10 * hourMs + second * 1_000);
    const { waits } = run(claims, staticPolicy(3), { spend });
    assert.deepEqual(waits, [leadMs - 1_000]);
  });

  describe("under a failure budget", () => {
    const budget = parseConfig(example, "clawpool.yaml", env).pools[0]?.failureBudget ?? assert.fail();
    const failing = (outcomes: string) => {
      let build = 0;
      return () => ({ ms: leadMs, failed: (outcomes[build++] ?? "+") === "-" });
    };

    it("pauses behind each failure, tries one alone, and goes on when that does well", () => {
      const begun: number[] = [];
      const nextBuild = failing("--+");
      const { failed, stops, built } = run([], staticPolicy(3), {
        ...{ failureBudget: budget, to: from + 2 * hourMs, slots: 1 },
        nextBuild: () => {
          begun.push(0);
          return nextBuild();
        },
      });
      assert.deepEqual([failed, stops, built], [2, 0, 5]);
    });

    it("stops when too many fail, and goes on when a person has seen it", () => {
      const { failed, stops, built } = run([], staticPolicy(1), {
        ...{ failureBudget: budget, to: from + 12 * hourMs, nextBuild: failing("-----") },
      });
      assert.deepEqual([failed, stops, built], [5, 1, 6]);
    });

    it("builds as always when none fails", () => {
      const claims = Array.from({ length: 100 }, (_, index) => from + index * 777_000);
      assert.deepEqual(run(claims, staticPolicy(2), { failureBudget: budget }), run(claims, staticPolicy(2)));
    });
  });

  it("pays for failed builds, an hour each", () => {
    const nextBuild = () => ({ ms: leadMs, failed: true });
    const { paidHours, failed } = run([], staticPolicy(1), { nextBuild, to: from + 20 * 60_000 });
    assert.equal(paidHours, failed);
    assert.ok(failed > 0);
  });

  it("counts what was retired and missed within the hour, more of it without waiting for the paid hour's end", () => {
    // Wanted in every other quarter of an hour.
    const restless: SizingPolicy = {
      claim: () => {},
      wanted: ({ now }) => {
        const target = Math.floor((now - from) / 900_000) % 2 === 0 ? 2 : 0;
        return { target, keep: target, why: { kind: "static" } };
      },
    };
    const to = from + 8 * hourMs;
    const calm = run([], restless, { to });
    const hasty = run([], restless, { to, hysteresis: false });
    assert.ok(calm.wasted < hasty.wasted, `${calm.wasted} ${hasty.wasted}`);
    assert.ok(calm.paidHours <= hasty.paidHours);
    assert.equal(hasty.wasted, 32);
    assert.equal(hasty.rebuilt, 32);
  });

  it("tells who observes what was wanted and ready after each decision", () => {
    const seen: string[] = [];
    run([from + hourMs], staticPolicy(1), {
      to: from + 2 * hourMs,
      observe: (now, { target, ready }) => seen.push(`${(now - from) / 60_000} ${target} ${ready}`),
    });
    assert.deepEqual([seen[0], seen.find((each) => each.startsWith("60 "))], ["0 1 0", "60 1 0"]);
    assert.ok(seen.includes("5 1 1"));
  });

  it("is the same each time", () => {
    const claims = Array.from({ length: 200 }, (_, index) => from + index * index * 10_000);
    assert.deepEqual(run(claims, staticPolicy(2)), run(claims, staticPolicy(2)));
  });
});

describe("a trace", () => {
  const parse = (text: string) => parseTrace(text, "claims.csv");

  it("is read with the span that was watched", () => {
    const { claims, from: begun, to, notes } = parse("t,count\n1000,0\n2000,2\n3000,0\n");
    assert.deepEqual([[...claims], begun, to, notes], [[2e6, 2e6], 1e6, 3e6, []]);
  });

  it("may have a BOM, Windows' line ends, another order and a second twice, and says so", () => {
    const { claims, notes } = parse("\uFEFFt,count\r\n3000,1\r\n2000,1\r\n2000,1\r\n");
    assert.deepEqual([...claims], [2e6, 2e6, 3e6]);
    assert.equal(notes.length, 2);
    assert.match(notes[0] ?? "", /order of time/);
    assert.match(notes[1] ?? "", /1 rows repeat a second/);
  });

  it("may have a gap of days, and says so", () => {
    const hourly = (from: number, hours: number) =>
      Array.from({ length: hours }, (_, hour) => `${from + hour * 3_600},1`).join("\n");
    const { notes } = parse(`t,count\n${hourly(0, 200)}\n${hourly(12 * 86_400, 200)}\n`);
    assert.equal(notes.length, 1);
    assert.match(notes[0] ?? "", /nobody came for 4 days from 1970-01-09 on; if nobody recorded then, cut/);
    assert.deepEqual(parse("t,count\n0,1\n864000,1\n1728000,1\n").notes, []);
  });

  it("is refused with the line and what is wanted there", () => {
    for (const [text, message] of [
      ["time;n\n1,2", /claims.csv, line 1: want the header "t,count"/],
      ["", /line 1: want the header/],
      ["t,count\n1,2\nx,1", /line 3: t: want Unix seconds, not "x"/],
      ["t,count\n1,2\n,1", /line 3: t: want Unix seconds/],
      ["t,count\n1,-1", /line 2: count: want a whole number of claims/],
      ["t,count\n1,1.5", /line 2: count/],
      ["t,count\n1,NaN", /line 2: count/],
      ["t,count\n1,2,3", /line 2: want two fields/],
      ["t,count\n", /spans no time/],
      ["t,count\n5,1", /spans no time/],
      ["t,count\n5,1\n6,99999999999", /at most 10000000 are replayed/],
    ] as const) {
      assert.throws(
        () => parse(text),
        (error) => error instanceof TraceError && message.test(error.message),
        text,
      );
    }
  });
});
