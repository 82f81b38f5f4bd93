import { strict as assert } from "node:assert";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { hourMs } from "../../../pool/clock.ts";
import type { PoolConfig } from "../../../pool/config/config.ts";
import { parseConfig } from "../../../pool/config/load.ts";
import { configured } from "../../../pool/sizing/replay/candidates.ts";
import { type Experiment, tryOut } from "../../../pool/sizing/replay/experiment.ts";
import { drawDays, drawSvg } from "../../../pool/sizing/replay/picture.ts";
import { simulate } from "../../../pool/sizing/replay/simulate.ts";
import { env, example } from "../../config/example.ts";

const dayMs = 24 * hourMs;
/** A Monday; daylight saving begins in Berlin four weeks later. */
const from = Date.UTC(2026, 2, 2);

const poolWith = (yaml: string): PoolConfig =>
  parseConfig(example.replace("min_ready: 3\n    max_total: 10", yaml), "clawpool.yaml", env).pools[0] ??
  assert.fail();

const present = poolWith("min_ready: 3\n    max_total: 10");
const next = poolWith(
  "min_ready: 0\n    max_total: 10\n    sizing: { policy: adaptive, target_hit_share: 0.99, time_zone: Europe/Berlin }",
);

/** Claims of working hours, about twelve a day. */
function claimsOf(days: number): Float64Array {
  const random = xoroshiro128plus(7);
  const claims: number[] = [];
  for (let hour = 0; hour < days * 24; hour++) {
    const rate = hour % 24 >= 8 && hour % 24 < 18 ? 1.2 : 0.02;
    for (let at = -Math.log1p(-uniformFloat64(random)) / rate; at < 1; ) {
      claims.push(from + (hour + at) * hourMs);
      at -= Math.log1p(-uniformFloat64(random)) / rate;
    }
  }
  return Float64Array.from(claims);
}

const experiment = (change: Partial<Experiment> = {}): Experiment => ({
  claims: claimsOf(35),
  from,
  to: from + 35 * dayMs,
  lead: { planMs: 300_000, builds: [] },
  rules: { slots: 4, maxTotal: 10, failureBudget: present.failureBudget },
  pricePerHour: 0.008,
  ...change,
});

/** Every number in it. */
function* numbers(value: unknown): Generator<number> {
  if (typeof value === "number") yield value;
  else if (typeof value === "object" && value !== null)
    for (const each of Object.values(value)) yield* numbers(each);
}

describe("a simulation of a pool", function () {
  this.timeout(60_000);
  const simulation = simulate({ present, next }, experiment());
  const row = (name: RegExp) =>
    simulation.rows.find(({ candidate }) => name.test(candidate.name)) ?? assert.fail(String(name));

  it("has the present policy, the new one, and the others by name", () => {
    const names = simulation.rows.map(({ candidate }) => candidate.name);
    assert.deepEqual(names.slice(0, 2), ["present: static 3", "new: adaptive for 99 %"]);
    for (const kind of [
      /^static \d/,
      /^factor/,
      /^schedule learned/,
      /^adaptive for 99.9 %/,
      /^adaptive at 1/,
    ]) {
      assert.ok(
        names.some((name) => kind.test(name)),
        String(kind),
      );
    }
    assert.equal(new Set(names).size, names.length);
  });

  it("prices what is paid, and is sure of less than it saw", () => {
    for (const {
      candidate,
      hitShare,
      hitShareAtLeast,
      costAMonth,
      paidHoursAMonth,
      wait,
      misses,
    } of simulation.rows) {
      assert.ok(hitShareAtLeast < hitShare, candidate.name);
      assert.ok(Math.abs((costAMonth ?? 0) - paidHoursAMonth * 0.008) < 1e-9);
      assert.equal(wait === null, misses === 0);
      if (wait) assert.ok(wait.p50 <= wait.p95 && wait.p95 <= 10 * 300_000);
    }
    // Three machines always, and the hours that their claims had begun.
    const kept = row(/^present/).paidHoursAMonth / 730;
    assert.ok(kept > 2.9 && kept < 4, String(kept));
    assert.ok((row(/^new/).costAMonth ?? 0) < (row(/^present/).costAMonth ?? 0));
  });

  it("shows what hysteresis saves: fewer machines made for nobody", () => {
    const { wasted, rebuilt, atOnce } = row(/^new/);
    assert.ok(wasted < atOnce.wasted && rebuilt <= atOnce.rebuilt, `${wasted} ${atOnce.wasted}`);
    assert.deepEqual([row(/^present/).wasted, row(/^present/).atOnce.wasted], [0, 0]);
  });

  it("chooses for each target, and says when the claims prove too little", () => {
    assert.deepEqual(
      simulation.choices.map(({ hitShare }) => hitShare),
      [0.99, 0.995, 0.999],
    );
    assert.ok(
      simulation.choices.every(({ chosen, why }) => chosen === null && /21 days are too short/.test(why)),
    );
    const longer = simulate({ present, next }, experiment({ claims: claimsOf(44), to: from + 44 * dayMs }));
    const [first, , last] = longer.choices;
    assert.ok(first?.chosen && first.chosen.atLeast >= 0.99, first?.why);
    const shown = longer.rows.find(({ candidate }) => first.why.startsWith(candidate.name));
    assert.deepEqual([shown?.claims, shown?.misses], [first.chosen.claims, first.chosen.misses]);
    assert.equal(last?.chosen, null);
    assert.match(last?.why ?? "", /claims in 30 days are too few to promise 99.9 %: .*it takes 2995/);
  });

  it("says nothing of money without a price, and nothing that is no number ever", () => {
    const short = { claims: claimsOf(14), to: from + 14 * dayMs };
    const unpriced = simulate({ present: null, next }, experiment({ ...short, pricePerHour: null }));
    assert.ok(unpriced.rows.every(({ costAMonth }) => costAMonth === null));
    for (const found of [simulation, unpriced]) {
      for (const number of numbers({ ...found, rows: found.rows.map(({ candidate, ...each }) => each) }))
        assert.ok(Number.isFinite(number) && number >= 0);
    }
  });

  it("stands a week of nothing, a thousand at once and a record without claims", () => {
    const to = from + 20 * dayMs;
    const burst = Float64Array.from({ length: 1_000 }, (_, index) => from + 12 * dayMs + index * 60);
    const quiet = claimsOf(20).filter((at) => at < from + 10 * dayMs || at > from + 17 * dayMs);
    for (const claims of [burst, quiet, new Float64Array()]) {
      const { rows, choices, slots } = simulate({ present: null, next }, experiment({ claims, to }));
      for (const number of numbers(rows.map(({ candidate, ...each }) => each))) assert.ok(number >= 0);
      assert.ok(slots.every(({ wanted }) => wanted <= 10));
      if (claims.length === 0) {
        assert.ok(choices.every(({ chosen }) => chosen === null));
        assert.match(choices[0]?.why ?? "", /^10 days are too short/);
      }
    }
  });

  it("builds as builds were measured, failures included, the same for each candidate", () => {
    const builds = [
      { ms: 240_000, failed: false },
      { ms: 300_000, failed: false },
      { ms: 420_000, failed: true },
    ];
    const measured = experiment({ lead: { planMs: 600_000, builds } });
    const own = tryOut(configured("present", present, measured), measured);
    assert.ok(own.failed > 0.2 * own.claims, String(own.failed));
    assert.ok(own.paidHoursAMonth > row(/^present/).paidHoursAMonth);
    const again = tryOut(configured("present", present, measured), measured);
    assert.deepEqual({ ...again, candidate: null }, { ...own, candidate: null });
  });

  it("draws the last days in two lines each, with its misses", () => {
    const text = drawDays(simulation.slots, 3);
    const lines = text.split("\n");
    assert.equal(lines.length, 7);
    assert.match(lines[1] ?? "", /^\w{3} 2026-04-\d\d wanted [·▁-█]{48} {2}\d+ claims$/);
    assert.match(lines[2] ?? "", /^ +ready [·▁-█×]{48}/);
    assert.equal(drawDays([], 3).split("\n").length, 1);
  });

  it("draws an SVG that is one, whatever the pool is called", () => {
    const svg = drawSvg(simulation.slots.slice(-96), "a <b> & c");
    assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    assert.ok(svg.includes("a &lt;b&gt; &amp; c") && !/NaN|Infinity|undefined/.test(svg));
    assert.ok(!/NaN/.test(drawSvg([], "empty")));
  });
});
