import { strict as assert } from "node:assert";
import { createBudget, type Priority } from "../../pool/cloud/budget.ts";
import { VirtualClock } from "../virtual-clock.ts";

describe("API budget", () => {
  const never = Number.POSITIVE_INFINITY;
  const second = 1_000;

  function filled(requestsPerHour: number) {
    const clock = new VirtualClock();
    const budget = createBudget({ requestsPerHour, clock });
    return { clock, budget };
  }

  it("gives a burst of a whole hour, then one a second", async () => {
    const { clock, budget } = filled(3_600);
    const given: number[] = [];
    for (let i = 0; i < 3_603; i++) {
      void budget.take("destroy", never).then(() => given.push(clock.now()));
    }
    await clock.advance(0);
    assert.equal(given.length, 3_600);
    const start = clock.now();
    await clock.advance(3 * second);
    assert.deepEqual(
      given.slice(3_600).map((at) => at - start),
      [1_000, 2_000, 3_000],
    );
  });

  it("serves hand-overs, then destroys, then people, then refill, whoever came first", async () => {
    const { clock, budget } = filled(3_600);
    budget.observe({ status: 200, remaining: 0, retryAfterMs: null });
    const order: Priority[] = [];
    for (const priority of ["refill", "person", "destroy", "hand-over", "destroy"] as const) {
      void budget.take(priority, never).then(() => order.push(priority));
    }
    await clock.advance(3_600 * second);
    assert.deepEqual(order, ["hand-over", "destroy", "destroy", "person", "refill"]);
  });

  it("keeps a tenth for those above refill", async () => {
    const { clock, budget } = filled(100);
    let refills = 0;
    for (let i = 0; i < 100; i++) void budget.take("refill", never).then(() => refills++);
    await clock.advance(0);
    assert.equal(refills, 90);
    assert.equal(await clock.until(budget.take("hand-over", never)), true);
  });

  it("says no at the deadline and takes nothing for it", async () => {
    const { clock, budget } = filled(3_600);
    budget.observe({ status: 200, remaining: 0, retryAfterMs: null });
    assert.equal(await clock.until(budget.take("refill", clock.now() + 5 * second)), false);
    assert.deepEqual(budget.stats(), { waiting: 0, taken: 0 });
    assert.equal(budget.left(), 5);
  });

  it("believes Hetzner when others drink from the same bucket, and waits as long as it is told after a 429", async () => {
    const { clock, budget } = filled(3_600);
    budget.observe({ status: 200, remaining: 12, retryAfterMs: null });
    assert.equal(budget.left(), 12);
    budget.observe({ status: 200, remaining: 3_000, retryAfterMs: null });
    assert.equal(budget.left(), 12);
    budget.observe({ status: 429, remaining: 12, retryAfterMs: 7 * second });
    const start = clock.now();
    await clock.until(budget.take("hand-over", never));
    assert.equal(clock.now() - start, 7 * second);
  });
});
