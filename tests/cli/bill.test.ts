import { strict as assert } from "node:assert";
import { readBill } from "../../api/bill.ts";
import { priceList } from "../hetzner-client/pricing.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { caps, newMachine } from "../store/rows.ts";
import { type AnsweredRig, answeredRig } from "./rig.ts";

describe("clawpool bill", function () {
  this.timeout(60_000);
  let rig: AnsweredRig;
  let life: Life;

  beforeEach(async () => {
    life = startLife();
    const bill = (query: URLSearchParams) => readBill(life, query);
    rig = await answeredRig({ store: life.store, bill });
    life.store.rememberPrices(priceList);
    for (const [name, serverId, serverType] of [
      ["claw-a", 1, "cx23"],
      ["claw-b", 2, "cx99"],
    ] as const) {
      const machine = newMachine(name, { serverType });
      life.store.planMachine(machine, caps);
      life.store.changeMachine(machine.name, "planned", { state: "creating", serverId }, "test");
    }
    await life.clock.advance(90 * 60_000);
  });
  afterEach(async () => {
    await rig.hangUp();
    life.store.close();
    rig.remove();
  });

  it("shows hours and money, what has no price, and refuses what is no time", async () => {
    const month = new Date(life.clock.now()).toISOString().slice(0, 7);
    const [shown, json, refused, both] = await Promise.all([
      rig.run("bill", "--month", month),
      rig.run("bill", "--json"),
      rig.run("bill", "--day", "2026-11"),
      rig.run("bill", "--day", "2026-11-21", "--month", "2026-11"),
    ]);
    assert.match(shown.stdout, /^POOL +PURPOSE +HOURS +EUR NET +EUR GROSS$/m);
    assert.match(shown.stdout, /^small +building +4\.0 +0\.02 +0\.02$/m);
    assert.match(shown.stdout, /^all +4\.0 +0\.02 +0\.02$/m);
    assert.match(shown.stdout, /2 hours, no price for cx99 at fsn1: /);
    const { hours, net } = JSON.parse(json.stdout);
    assert.deepEqual([hours, net], [4, 0.0208]);
    assert.deepEqual([refused.exitCode, both.exitCode], [1, 1]);
    assert.match(refused.stderr, /--day 2026-11: want a day such as 2026-11-21/);
    assert.match(both.stderr, /--day and --month: want one of them/);
  });
});
