import { strict as assert } from "node:assert";
import { isClaimable, type OrderId } from "../../pool/machine/machine.ts";
import { createMetrics, type Metrics } from "../../pool/observe/metrics.ts";
import { poolStatus } from "../../pool/observe/status.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { caps, makeReady, newMachine, newOrder, pay } from "../store/rows.ts";

describe("what is seen of the pools", () => {
  let life: Life;
  let metrics: Metrics;
  const status = () => poolStatus(life.store, life.config, life.clock);

  /** Samples by name and labels. */
  async function samples(): Promise<Map<string, number>> {
    const text = await metrics.registry.metrics();
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(
      lines.map((line) => {
        const space = line.lastIndexOf(" ");
        return [line.slice(0, space), Number(line.slice(space + 1))];
      }),
    );
  }

  beforeEach(() => {
    life = startLife();
    metrics = createMetrics(life.store, () => life.config, life.clock);
  });
  afterEach(() => life.store.close());

  it("has the documented metrics, each with a help text", async () => {
    const all = await metrics.registry.getMetricsAsJSON();
    assert.deepEqual(all.map(({ name, type }) => [name, type]).sort(), [
      ["clawpool_backup_age_seconds", "gauge"],
      ["clawpool_below_floor", "gauge"],
      ["clawpool_build_failure_ratio", "gauge"],
      ["clawpool_claimable", "gauge"],
      ["clawpool_flags", "gauge"],
      ["clawpool_handover_seconds", "histogram"],
      ["clawpool_hit_share", "gauge"],
      ["clawpool_hit_share_at_least", "gauge"],
      ["clawpool_idle_hours", "gauge"],
      ["clawpool_machines", "gauge"],
      ["clawpool_machines_held", "gauge"],
      ["clawpool_messages_undelivered", "gauge"],
      ["clawpool_orders_queued", "gauge"],
      ["clawpool_pool_target", "gauge"],
      ["clawpool_quarantine", "gauge"],
      ["clawpool_refill_stopped", "gauge"],
      ["clawpool_repairs_total", "counter"],
      ["clawpool_rollout_stopped", "gauge"],
      ["clawpool_serving_health", "gauge"],
      ["clawpool_stale", "gauge"],
      ["clawpool_stripe_repairs_total", "counter"],
      ["clawpool_sweep_age_seconds", "gauge"],
      ["clawpool_webhooks_total", "counter"],
    ]);
    assert.ok(all.every(({ help }) => help.length > 10));
  });

  it("says since when each sweep has not done well", async () => {
    life.store.putSetting("sweep/cloud/well", String(life.clock.now() - 90_000));
    const seen = await samples();
    assert.equal(seen.get('clawpool_sweep_age_seconds{sweep="cloud"}'), 90);
    assert.equal(seen.has('clawpool_sweep_age_seconds{sweep="tailnet"}'), false);
  });

  it("counts no suspended order among those that wait for a machine", async () => {
    for (const id of ["o-1", "o-2"]) {
      life.store.createOrder(newOrder(id));
      pay(life.store, id);
    }
    const suspension = { reason: "paused", text: "paused" } as const;
    life.store.recordStanding("o-1" as OrderId, { suspension, overdueSince: null }, "test");
    assert.equal((await samples()).get("clawpool_orders_queued"), 1);
    assert.deepEqual(
      status().pools.map(({ queued }) => queued),
      [1],
    );
  });

  it("follows the rows: nothing is counted beside them", async () => {
    makeReady(life.store, "claw-test-one");
    makeReady(life.store, "claw-test-two");
    life.store.planMachine(newMachine("claw-test-three"), caps);
    let seen = await samples();
    assert.equal(seen.get('clawpool_machines{pool="small",state="ready"}'), 2);
    assert.equal(seen.get('clawpool_machines{pool="small",state="planned"}'), 1);
    assert.equal(seen.get('clawpool_machines{pool="small",state="serving"}'), 0, "0, not absent");
    assert.equal(seen.get('clawpool_claimable{pool="small"}'), 2);
    assert.equal(seen.get('clawpool_pool_target{pool="small"}'), 3);
    assert.equal(seen.get("clawpool_orders_queued"), 0);

    for (const id of ["o-1", "o-2", "o-3"]) {
      life.store.createOrder(newOrder(id));
      pay(life.store, id);
    }
    life.store.flag("kind", "subject", "text");
    seen = await samples();
    assert.equal(seen.get('clawpool_claimable{pool="small"}'), 0);
    assert.equal(seen.get('clawpool_machines{pool="small",state="claimed"}'), 2);
    assert.equal(seen.get("clawpool_orders_queued"), 1);
    assert.equal(seen.get("clawpool_flags"), 1);

    life.config = { ...life.config, pools: [] };
    seen = await samples();
    assert.ok(
      ![...seen.keys()].some((key) => key.includes('pool="small"')),
      "a pool that is gone is not shown",
    );
  });

  it("tells of a pool whose builds fail", async () => {
    for (const n of [1, 2, 3, 4]) makeReady(life.store, `claw-test-a${n}`);
    const { name } = life.store.planMachine(newMachine("claw-test-two"), caps) ?? assert.fail();
    life.store.changeMachine(name, "planned", { state: "failed" }, "test");
    let seen = await samples();
    assert.equal(seen.get('clawpool_build_failure_ratio{pool="small"}'), 0.2);
    assert.equal(seen.get('clawpool_refill_stopped{pool="small"}'), 0);
    assert.equal(seen.get('clawpool_below_floor{pool="small"}'), 0);
    const { pausedUntil, failures } = status().pools[0]?.refill ?? assert.fail();
    assert.deepEqual([failures, pausedUntil !== null], [1, true]);

    const specimen = { name, until: life.clock.now() + 1_000 };
    life.store.stopRefill("small", { reason: "too many", inputs: "i", specimen, text: "t" });
    life.store.flag("below-floor", "small", "cold");
    seen = await samples();
    assert.equal(seen.get('clawpool_refill_stopped{pool="small"}'), 1);
    assert.equal(seen.get('clawpool_below_floor{pool="small"}'), 1);
    assert.deepEqual(status().pools[0]?.refill, {
      stopped: { at: life.clock.now(), reason: "too many" },
      failures: 1,
      pausedUntil: null,
      specimen: name,
    });
  });

  it("observes each hand-over once, from payment to serving, by where the machine came from", async () => {
    const warm = makeReady(life.store, "claw-test-warm");
    const serve = async (id: string, afterMs: number) => {
      const { machine } = life.store.order(id as OrderId) ?? assert.fail();
      assert.ok(machine);
      life.store.changeMachine(machine, "claimed", { state: "handing-over" }, "test");
      await life.clock.advance(afterMs);
      life.store.recordServing(machine, { tailnetNode: null, tailnetAddress: null });
      for (const event of life.store.orderEvents(id as OrderId, 0)) metrics.orderEvent(event);
      return machine;
    };
    for (const id of ["o-1", "o-2"]) life.store.createOrder(newOrder(id));
    pay(life.store, "o-1");
    assert.equal(await serve("o-1", 350), warm);

    pay(life.store, "o-2");
    await life.clock.advance(200_000);
    makeReady(life.store, "claw-test-cold");
    life.store.claimForQueue({ name: "small", plan: "small", locationsOf: () => ["fsn1"] });
    await serve("o-2", 400);
    const seen = await samples();
    assert.equal(seen.get('clawpool_handover_seconds_count{source="warm"}'), 1);
    assert.equal(seen.get('clawpool_handover_seconds_sum{source="warm"}'), 0.35);
    assert.equal(seen.get('clawpool_handover_seconds_bucket{le="0.3",source="warm"}'), 0);
    assert.equal(seen.get('clawpool_handover_seconds_bucket{le="0.4",source="warm"}'), 1);
    assert.equal(seen.get('clawpool_handover_seconds_count{source="cold"}'), 1);
    assert.equal(seen.get('clawpool_handover_seconds_sum{source="cold"}'), 200.4);
  });

  it("counts webhooks by outcome", async () => {
    metrics.webhook("claimed");
    metrics.webhook("claimed");
    metrics.webhook("duplicate");
    const seen = await samples();
    assert.equal(seen.get('clawpool_webhooks_total{outcome="claimed"}'), 2);
    assert.equal(seen.get('clawpool_webhooks_total{outcome="duplicate"}'), 1);
  });

  it("agrees between status and metrics", async () => {
    makeReady(life.store, "claw-test-one");
    life.store.planMachine(newMachine("claw-test-two"), caps);
    for (const id of ["o-1", "o-2"]) {
      life.store.createOrder(newOrder(id));
      pay(life.store, id);
    }
    const [pool] = status().pools;
    assert.ok(pool);
    const { claimable, live, states, queued, minReady, maxTotal, buildMs } = pool;
    assert.deepEqual(
      { claimable, live, states, queued, minReady, maxTotal },
      { claimable: 0, live: 2, states: { claimed: 1, planned: 1 }, queued: 1, minReady: 3, maxTotal: 10 },
    );
    assert.ok(buildMs === null || buildMs >= 0);
    const seen = await samples();
    assert.equal(seen.get('clawpool_claimable{pool="small"}'), claimable);
    assert.equal(claimable, life.store.machines().filter(isClaimable).length);
  });

  it("shows what needs a person, and nothing of a destroyed machine", () => {
    const name = makeReady(life.store, "claw-test-one");
    life.store.changeMachine(name, "ready", { state: "retiring" }, "test");
    life.store.recordDestroyed(name);
    life.store.flag("stuck", "claw-test-two", "it is stuck");
    const { pools, flags, instance } = status();
    assert.equal(instance, "test");
    assert.deepEqual([pools[0]?.live, pools[0]?.states], [0, {}]);
    assert.deepEqual(
      flags.map(({ kind, subject, text }) => [kind, subject, text]),
      [["stuck", "claw-test-two", "it is stuck"]],
    );
  });
});
