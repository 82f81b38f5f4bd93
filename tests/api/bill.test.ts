import { strict as assert } from "node:assert";
import { priceList } from "../hetzner-client/pricing.ts";
import { caps, newMachine } from "../store/rows.ts";
import { type ApiRig, operatorToken, startApi } from "./rig.ts";

describe("the bill at the API", () => {
  let rig: ApiRig;
  beforeEach(async () => {
    rig = await startApi();
    rig.store.rememberPrices(priceList);
    const machine = newMachine("claw-a");
    rig.store.planMachine(machine, caps);
    rig.store.changeMachine(machine.name, "planned", { state: "creating", serverId: 1 }, "test");
  });
  afterEach(() => rig.close());
  const ask = (query: string) =>
    rig.ask("GET", `/v1/bill${query}`, undefined, { authorization: `Bearer ${operatorToken}` });

  it("says of this month, or a day, what the machines cost", async () => {
    const month = new Date(rig.clock.now()).toISOString().slice(0, 7);
    for (const query of [
      "",
      `?month=${month}`,
      `?day=${new Date(rig.clock.now()).toISOString().slice(0, 10)}`,
    ]) {
      const { status, json } = await ask(query);
      assert.equal(status, 200, query);
      const { currency, hours, address_hours, net, rows, differences } = json;
      assert.deepEqual(
        { currency, hours, address_hours, net, differences },
        {
          currency: "EUR",
          hours: 1,
          address_hours: 1,
          net: 0.0096,
          differences: [],
        },
      );
      assert.deepEqual(rows, [
        { pool: "small", purpose: "building", hours: 1, net: 0.0096, gross: 0.011424 },
      ]);
    }
    assert.equal((await ask("?month=2031-01")).json.hours, 0);
  });

  it("names the parameter that is wrong", async () => {
    for (const [query, field] of [
      ["?day=2026-11", "day"],
      ["?month=2026-11-21", "month"],
      ["?month=2026-13", "month"],
      ["?week=47", "week"],
      ["?day=2026-11-21&month=2026-11", "month"],
    ] as const) {
      const { status, json } = await ask(query);
      assert.deepEqual([status, json.field], [400, field], query);
    }
  });

  it("is the operators'", async () => {
    assert.equal((await rig.ask("GET", "/v1/bill")).status, 403);
  });
});
