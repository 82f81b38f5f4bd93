/** Which machine may go: of the machine's row and the order's, both must say so; the gate is told nothing else. */
import { strict as assert } from "node:assert";
import { createLedger } from "../../pool/ledger.ts";
import { keyToDestroy } from "../../pool/machine/destroy-keys.ts";
import type { Machine, MachineName, MachineState } from "../../pool/machine/machine.ts";
import { machineStates } from "../../pool/machine/machine.ts";
import type { Order } from "../../pool/order/order.ts";
import type { Store } from "../../pool/store/store.ts";

const now = 10_000;
const machineOf = (change: Partial<Machine> = {}) =>
  ({
    name: "claw-a",
    state: "serving",
    order: "o-1",
    serverId: 7,
    endConfirmedBy: null,
    held: null,
    ...change,
  }) as Machine;
const orderOf = (change: Partial<Order> = {}) =>
  ({
    id: "o-1",
    machine: "claw-a",
    state: "running",
    endedAt: null,
    keptAt: null,
    releaseAt: null,
    ...change,
  }) as Order;

describe("the key to destroy a customer's machine", () => {
  const cases: [string, Machine, Order | null, ReturnType<typeof keyToDestroy>][] = [
    ["a live order", machineOf(), orderOf(), null],
    ["an order that has ended, in its grace", machineOf(), orderOf({ endedAt: 1, releaseAt: now + 1 }), null],
    ["an order whose grace is over", machineOf(), orderOf({ endedAt: 1, releaseAt: now }), "ended"],
    [
      "an order whose grace is over and that a person keeps",
      machineOf(),
      orderOf({ endedAt: 1, releaseAt: 1, keptAt: 2 }),
      null,
    ],
    ["a time that nobody's end gave", machineOf(), orderOf({ releaseAt: 1 }), null],
    ["an order that is said to be released", machineOf(), orderOf({ state: "released" }), null],
    ["an order that a person ended", machineOf({ endConfirmedBy: "person:ada" }), orderOf(), "confirmed"],
    [
      "an order that another machine serves",
      machineOf(),
      orderOf({ machine: "claw-b" as MachineName }),
      "moved-on",
    ],
    ["an order that waits for another", machineOf(), orderOf({ machine: null }), "moved-on"],
    ["an order that nobody knows", machineOf({ endConfirmedBy: "person:ada" }), null, null],
  ];
  for (const [what, machine, order, key] of cases) {
    it(`${what}: ${key ?? "none"}`, () => assert.equal(keyToDestroy(machine, order, now), key));
  }
});

describe("what the gate is told of the store", () => {
  const may = (machine: Machine, order: Order | null, held = false) => {
    const store = { machine: () => machine, order: () => order } as unknown as Store;
    const clock = { now: () => now, delay: async () => {} };
    return createLedger(store, clock, () => held).machine("claw-a")?.mayDestroy;
  };
  const goes: readonly MachineState[] = ["releasing", "retiring"];
  const over = orderOf({ endedAt: 1, releaseAt: now });

  it("is that a machine with an order goes with both keys alone, whoever holds it", () => {
    for (const state of machineStates) {
      for (const held of [false, true]) {
        assert.equal(may(machineOf({ state }), orderOf(), held), false, state);
        assert.equal(may(machineOf({ state }), null, held), false, `${state} of an unknown order`);
        assert.equal(may(machineOf({ state }), over, held), goes.includes(state), state);
      }
    }
  });

  it("is that one without goes when its row says so, or while a person holds it", () => {
    for (const state of machineStates) {
      assert.equal(may(machineOf({ state, order: null }), null), goes.includes(state), state);
      assert.equal(may(machineOf({ state, order: null }), null, true), true, state);
    }
  });
});
