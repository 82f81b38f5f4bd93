import { strict as assert } from "node:assert";
import { assumedLeadMs, leadsOf, measuredLead } from "../../pool/sizing/lead-time.ts";
import type { Build } from "../../pool/store/store.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { caps, newMachine } from "../store/rows.ts";
import { failBuild } from "./rows.ts";

const minute = 60_000;
const path = ["planned", "creating", "booting", "preparing", "proving", "ready"] as const;

describe("the lead time", () => {
  let life: Life;
  const pool = () => life.config.pools[0] ?? assert.fail();
  beforeEach(() => {
    life = startLife();
  });
  afterEach(() => life.store.close());

  const build = (startedAt: number, endedAt: number, ok = true): Build =>
    ({ machine: "m", location: "fsn1", startedAt, endedAt, ok, failure: ok ? null : "permanent" }) as Build;

  it("is five minutes as long as none was measured", () => {
    assert.deepEqual(measuredLead(life.store, pool()), {
      ...{ planMs: assumedLeadMs, measured: null, byLocation: {} },
    });
    assert.equal(assumedLeadMs, 5 * minute);
  });

  it("is what nine of ten builds took, by location too", async () => {
    for (const [index, location] of ["fsn1", "nbg1", "fsn1"].entries()) {
      const { name } = life.store.planMachine(newMachine(`m-${index}`, { location }), caps) ?? assert.fail();
      await life.clock.advance((index + 3) * minute);
      for (const [place, to] of path.slice(1).entries())
        life.store.changeMachine(name, path[place] ?? assert.fail(), { state: to }, "test");
    }
    assert.deepEqual(measuredLead(life.store, pool()), {
      planMs: 5 * minute,
      measured: { p50: 4 * minute, p90: 5 * minute, builds: 3 },
      byLocation: {
        fsn1: { p50: 5 * minute, p90: 5 * minute, builds: 2 },
        nbg1: { p50: 4 * minute, p90: 4 * minute, builds: 1 },
      },
    });
  });

  it("counts a failed build, the pause behind it and the next one as one", () => {
    const leads = leadsOf(
      [build(0, 4 * minute), build(minute, 3 * minute, false), build(3.5 * minute, 8 * minute)],
      10 * minute,
    );
    assert.deepEqual(
      leads.map(({ ms }) => ms / minute),
      [4, 7],
    );
  });

  it("gives each failed build one successor, and none that was begun before it failed or long after", () => {
    const failed = [build(0, 2 * minute, false), build(0, 2 * minute, false)];
    const early = build(minute, 5 * minute);
    const next = build(3 * minute, 6 * minute);
    const late = build(60 * minute, 64 * minute);
    assert.deepEqual(
      leadsOf([...failed, early, next, late], 10 * minute).map(({ ms }) => ms / minute),
      [4, 6, 4],
    );
  });

  it("takes no harm from a clock that was set back, and plans for two hours at most", () => {
    assert.deepEqual(leadsOf([build(10 * minute, 2 * minute)], 10 * minute), []);
    failBuild(life.store);
    assert.equal(measuredLead(life.store, pool()).planMs, assumedLeadMs);
  });
});
