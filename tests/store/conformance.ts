/** What every store must do, whatever it is made of. */
import { strict as assert } from "node:assert";
import fc from "fast-check";
import { type Clock, systemClock } from "../../pool/clock.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import type { NoticePolicy, Store } from "../../pool/store/store.ts";
import { assertAudited } from "./audited.ts";
import { configPromises } from "./conformance/configs.ts";
import { demandPromises } from "./conformance/demand.ts";
import { entitlementPromises } from "./conformance/entitlement.ts";
import { machinePromises } from "./conformance/machines.ts";
import { orderPromises } from "./conformance/orders.ts";
import { outboxPromises } from "./conformance/outbox.ts";
import { failure, limits, makeReady, newOrder, pay } from "./rows.ts";

export function storeConformance(
  name: string,
  openWith: (clock: Clock, notices?: () => NoticePolicy) => Store,
): void {
  describe(`${name}: the store's promises`, () => {
    let store: Store;
    const time = { ...systemClock, ms: 1_700_000_000_000, now: () => time.ms };
    const open = () => openWith(time);
    const tick = () => {
      time.ms += 1;
    };
    beforeEach(() => {
      store = open();
    });
    afterEach(() => store.close());
    const rig = {
      get store() {
        return store;
      },
      tick,
    };
    machinePromises(rig);
    orderPromises(rig);
    entitlementPromises(rig);
    outboxPromises({ open: (notices) => openWith(time, notices), time });
    configPromises(rig);
    demandPromises(rig);

    it("never binds one machine twice, nor two machines to one order, whatever comes in whatever order", () => {
      const step = fc.oneof(
        fc.record({ do: fc.constant("ready" as const), n: fc.nat(6) }),
        fc.record({ do: fc.constant("pay" as const), n: fc.nat(6) }),
        fc.record({ do: fc.constant("queue" as const), n: fc.nat(1) }),
        fc.record({ do: fc.constant("fail" as const), n: fc.nat(6) }),
        fc.record({ do: fc.constant("end" as const), n: fc.nat(6) }),
      );
      fc.assert(
        fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
          const fresh = open();
          try {
            for (let order = 0; order <= 6; order++) fresh.createOrder(newOrder(`o-${order}`));
            for (const { do: what, n } of steps) {
              const machine = fresh.machine(`m-${n}` as MachineName);
              if (what === "ready" && !machine) makeReady(fresh, `m-${n}`);
              if (what === "pay") pay(fresh, `o-${n}`);
              if (what === "queue")
                fresh.claimForQueue({ name: "small", plan: "small", locationsOf: () => ["fsn1"] });
              if (what === "fail" && machine?.state === "claimed")
                fresh.recordHandOverFailure(machine.name, failure, limits);
              if (what === "end") {
                fresh.endSubscription(null, { subscription: `sub_o-${n}`, releaseAt: 1, reason: "test" });
              }
              const bound = fresh.machines({ states: ["claimed", "handing-over", "serving"] });
              assert.equal(new Set(bound.map((item) => item.order)).size, bound.length);
              const provisioning = fresh.orders({ states: ["provisioning"] });
              assert.equal(new Set(provisioning.map((item) => item.machine)).size, provisioning.length);
              for (const order of provisioning) {
                assert.equal(fresh.machine(order.machine as MachineName)?.order, order.id);
              }
            }
            assertAudited(fresh);
          } finally {
            fresh.close();
          }
        }),
        { numRuns: 60 },
      );
    });
  });
}
