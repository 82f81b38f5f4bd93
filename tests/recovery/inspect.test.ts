/** One look at everything, on a real store. */
import { strict as assert } from "node:assert";
import type { MachineName, OrderId } from "../../pool/machine/machine.ts";
import { recoveryStatus } from "../../pool/recovery/findings.ts";
import { inspect } from "../../pool/recovery/inspect.ts";
import type { MachineRecord, OrderRecord } from "../../pool/recovery/records.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";

const order = "o-1" as OrderId;

describe("a look at what is in quarantine", () => {
  let life: Life;
  beforeEach(() => {
    life = startLife();
  });
  afterEach(() => life.store.close());

  it("leaves an order with one machine though the records of two name it, one of which is gone", async () => {
    const secrets = { env: { KEY: "sk" }, gatewayToken: "token" };
    const one = bound("m-1");
    life.store.close();
    // Another store, which knows nothing: what the first one had is in the records.
    life = startLife();
    life.store.enterQuarantine("the store was lost", { actor: "person:ada" });
    const server = life.cloud.put("m-2");
    const machines = new Map<string, MachineRecord>();
    for (const [name, serverId] of [
      ["m-1", 1],
      ["m-2", server.id],
    ] as const) {
      const machine = { ...one.machine, name: name as MachineName, serverId };
      machines.set(name, { machine, secrets: one.secrets, fromBackup: false });
    }
    await look(machines, new Map([[order, { order: one.order, secrets }]]));
    assert.deepEqual(
      recoveryStatus(life.store).machines.map(({ name, state, order, sure }) => ({
        name,
        state,
        order,
        sure,
      })),
      [
        { name: "m-1", state: "retiring", order: null, sure: true },
        { name: "m-2", state: "handing-over", order, sure: false },
      ],
    );
    assert.equal(life.store.order(order)?.machine, "m-2");
  });

  /** Rows of a machine in the middle of its hand-over. */
  function bound(name: string) {
    const { store } = life;
    makeReady(store, name);
    store.createOrder(newOrder(order));
    pay(store, order);
    const machine = store.changeMachine(name as MachineName, "claimed", { state: "handing-over" }, "test");
    return {
      machine,
      secrets: store.machineSecrets(name as MachineName),
      order: store.order(order) ?? assert.fail(),
    };
  }

  async function look(machines: Map<string, MachineRecord>, orders: Map<string, OrderRecord>): Promise<void> {
    const nothing = async () => ({ found: [], complete: true });
    const stripe = { sessions: nothing, subscriptions: nothing, fetchSubscription: async () => null };
    await inspect(
      {
        ...life.context,
        terraform: life.terraform,
        stripe: stripe as never,
        records: { machines: async () => machines, orders: async () => orders },
      },
      "person:ada",
    );
  }
});
