import { strict as assert } from "node:assert";
import type { Machine, MachineName, MachineState, OrderId } from "../../pool/machine/machine.ts";
import type { Order } from "../../pool/order/order.ts";
import { alignOrders, unserved } from "../../pool/recovery/orders.ts";

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
    assert.deepEqual(aligned("serving", false, { endedAt: 50, releaseAt: 60, servingAt: 5 }), [
      "releasing",
      name,
      60,
    ]);
  });

  it("has its grace from now when it ended while nobody knew that it was served", () => {
    const closed = { state: "released", endedAt: 50, releaseAt: 50 } as const;
    assert.deepEqual(aligned("serving", false, closed), ["releasing", name, 110]);
    assert.deepEqual(aligned("handing-over", false, closed), ["releasing", name, 50]);
  });

  it("is the machine's that has it, not one's that failed it earlier and still goes, in whichever order they are named", () => {
    const order = { id, state: "running", machine: name, paidAt: 1, servingAt: 2, endedAt: 50 } as Order;
    const going = { name: "claw-test-b", state: "releasing", order: id } as unknown as Machine;
    const has = { name, state: "serving", order: id } as Machine;
    for (const machines of [
      [going, has],
      [has, going],
    ]) {
      const known = new Map([[id, { order, secrets: null, bare: false }]]);
      const [row] = alignOrders(known, machines, () => true, { now: 100, graceMs: 10 });
      assert.equal(row?.order.machine, name);
    }
  });

  it("waits for another machine when the one that goes failed it and its subscription lives on", () => {
    assert.deepEqual(aligned("releasing", false), ["queued", null, null]);
    assert.deepEqual(aligned("releasing", false, { state: "queued", machine: null }), ["queued", null, null]);
  });

  it("asks for a machine when it is paid for, by its row or by Stripe, and nothing says that one serves it", () => {
    const known = (change: Partial<Order>) =>
      new Map([
        [id, { order: { id, paidAt: 1, endedAt: null, ...change } as Order, secrets: null, bare: false }],
      ]);
    assert.deepEqual(unserved(known({ state: "queued" }), [], new Set()), [id]);
    assert.deepEqual(unserved(known({ state: "queued" }), [], new Set([id])), []);
    assert.deepEqual(unserved(new Map(), [id], new Set()), [id]);
    const unpaid = known({ state: "awaiting-payment", paidAt: null });
    assert.deepEqual(unserved(unpaid, [], new Set()), []);
    assert.deepEqual(unserved(unpaid, [id], new Set()), [id]);
    assert.deepEqual(unserved(known({ state: "failed" }), [], new Set()), [id]);
    for (const state of ["released", "expired"] as const)
      assert.deepEqual(unserved(known({ state }), [id], new Set()), []);
    assert.deepEqual(unserved(known({ state: "running", endedAt: 1 }), [id], new Set()), []);
  });
});
