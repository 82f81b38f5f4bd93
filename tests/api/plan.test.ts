import { strict as assert } from "node:assert";
import { planOf } from "../../pool/sizing/explain.ts";
import { createSizer } from "../../pool/sizing/sizer.ts";
import { exampleConfig } from "../machine/fakes.ts";
import { type ApiRig, operatorToken, startApi } from "./rig.ts";

describe("a pool's plan at the API", () => {
  let rig: ApiRig;
  beforeEach(async () => {
    const config = exampleConfig();
    rig = await startApi({
      plans: (name) => {
        const { store, clock } = rig;
        const sizer = createSizer({ store, config: () => config, clock });
        return config.pools
          .filter((pool) => pool.name === name)
          .map((pool) => planOf(pool, { store, config, clock, sizer }));
      },
    });
  });
  afterEach(() => rig.close());
  const ask = (name: string) =>
    rig.ask("GET", `/v1/pools/${name}/plan`, undefined, { authorization: `Bearer ${operatorToken}` });

  it("says target, bounds, lead time and reasons", async () => {
    const { status, json } = await ask("small");
    assert.equal(status, 200);
    const { pool, target, ready, bound, cut, lead_time, hit_share, promise, choice } = json;
    assert.deepEqual(
      [pool, target, ready, bound, cut, promise, choice],
      ["small", 3, 0, null, null, null, null],
    );
    assert.deepEqual(lead_time, { planned_with_seconds: 300, measured: null, by_location: {} });
    assert.deepEqual(hit_share, {
      claims: 0,
      hits: 0,
      share: null,
      at_least: 0,
      at_most: 1,
      confidence: 0.95,
      weeks: 12,
    });
    assert.ok(Array.isArray(json.why) && json.why[0] === "It keeps 3, as configured.");
  });

  it("is the operators', and of pools that there are", async () => {
    assert.equal((await rig.ask("GET", "/v1/pools/small/plan")).status, 403);
    assert.equal((await ask("smal")).status, 404);
  });
});
