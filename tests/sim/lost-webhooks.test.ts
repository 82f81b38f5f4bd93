/** Stripe's objects alone must be enough: not one webhook ever comes. */
import { strict as assert } from "node:assert";
import type { OrderId } from "../../pool/machine/machine.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { simulate } from "./simulation.ts";

const minute = 60_000;
const start = new VirtualClock().now();

/** When what the story noted about an order happened (epoch ms); by the trace, which the daemon does not know. */
function happened(trace: readonly string[], what: RegExp): Map<OrderId, number> {
  const found = new Map<OrderId, number>();
  for (const line of trace) {
    const [, seconds, order] = what.exec(line) ?? [];
    if (order) found.set(order as OrderId, start + Math.round(Number(seconds) * 1000));
  }
  return found;
}

describe("the whole controller without a single webhook, under simulation", function () {
  this.timeout(120_000);

  it("serves whoever paid, ends whoever cancelled, and tells of each repair", async () => {
    const kinds = new Set<unknown>();
    const wanted = ["end", "expiry", "payment", "suspend"];
    // A tenth of the checkouts expires: in a few seeds there may be none.
    for (let seed = 1; seed <= 5 || (wanted.some((kind) => !kinds.has(kind)) && seed <= 40); seed++) {
      let served = 0;
      let paid = 0;
      const { violations, trace } = await simulate(seed, { buyers: 5, lost: 1 }, ({ world, store }) => {
        const repairs = store
          .auditRows({ limit: 100_000 })
          .filter(({ action }) => action === "stripe.repaired");
        for (const { detail } of repairs) kinds.add(detail.kind);
        paid += [...world.sessions.values()].filter(({ paymentStatus }) => paymentStatus === "paid").length;
        served += repairs.filter(({ detail }) => detail.kind === "payment").length;
        assert.deepEqual(
          world.trace.filter((line) => line.includes(": claimed")),
          [],
        );
      });
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
      assert(paid > 0 && served >= paid, `${served} of ${paid}`);
    }
    for (const kind of wanted) assert(kinds.has(kind), kind);
  });

  it("does each within 15 minutes when nothing else fails", async () => {
    const waits: number[] = [];
    for (let seed = 1; seed <= 5; seed++) {
      const calm = { buyers: 6, lasts: 0, kills: [], lost: 1 };
      const { violations, trace } = await simulate(seed, calm, ({ world, store }) => {
        const since = (what: RegExp, until: (order: OrderId) => number | null | undefined) => {
          for (const [order, at] of happened(world.trace, what)) {
            const wait = (until(order) ?? Number.POSITIVE_INFINITY) - at;
            assert(wait <= 15 * minute, `${order}: ${wait / minute} minutes`);
            waits.push(wait);
          }
        };
        since(/^ *([\d.]+) s {2}session \S+ (?:pays|clears for) (\S+)$/, (id) => store.order(id)?.paidAt);
        since(/^ *([\d.]+) s {2}subscription \S+ of (\S+) is cancelled$/, (id) => store.order(id)?.endedAt);
      });
      assert.deepEqual(violations, [], `seed ${seed}:\n${trace.join("\n")}`);
    }
    assert(waits.length > 20);
    assert(waits.some((wait) => wait > 5 * minute));
  });
});
