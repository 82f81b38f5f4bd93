import { strict as assert } from "node:assert";
import type { Machine, MachineName, MachineState, OrderId } from "../../pool/machine/machine.ts";
import type { Order } from "../../pool/order/order.ts";
import { alignOrders } from "../../pool/recovery/orders.ts";

const id = "ord_1" as OrderId;
const name = "claw-test-a" as MachineName;

/** What becomes of an order whose record says that it is being handed over on a machine in this state. */
function aligned(machine: MachineState, isOver: boolean, change: Partial<Order> = {}): readonly unknown[] {
  const order = { id, state: "provisioning", machine: name, paidAt: 1, servingAt: null, endedAt: null };
  const known = { order: { ...order, releaseAt: null, reason: null, ...change } as Order, secrets: null };
  const [row] = alignOrders(
    new Map([[id, { ...known, bare: false }]]),
    [{ name, state: machine, order: id } as Machine],
    () => isOver,
    { now: 100, graceMs: 10 },
  );
  return [row?.order.state, row?.order.machine, row?.order.releaseAt];
}

describe("an order's row, by its machine and Stripe", () => {
  it("is its machine's while that works for it", () => {
    assert.deepEqual(aligned("handing-over", false), ["provisioning", name, null]);
    assert.deepEqual(aligned("serving", false), ["running", name, null]);
  });

  it("goes with its machine when its subscription has ended", () => {
    assert.deepEqual(aligned("releasing", true), ["releasing", name, 110]);
    assert.deepEqual(aligned("releasing", false, { endedAt: 50 }), ["releasing", name, 110]);
  });

  it("waits for another machine when the one that goes failed it and its subscription lives on", () => {
    assert.deepEqual(aligned("releasing", false), ["queued", null, null]);
    assert.deepEqual(aligned("releasing", false, { state: "queued", machine: null }), ["queued", null, null]);
  });
});
