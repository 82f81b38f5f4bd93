import assert from "node:assert/strict";
import { charge } from "./billing.ts";
import { type Rig, serverOrder, startRig } from "./rig.ts";

const hour = 3_600_000;

describe("Hetzner emulator: bill", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  it("owes server and address by the started hour, switched off or not, until they are deleted", async () => {
    const { id } = await rig.runningServer("m-1");
    assert.equal(rig.hetzner.bill().owedPerHour, 0.0096);
    assert.equal(rig.hetzner.bill().total, 0.0096);
    await rig.must("POST", `/servers/${id}/actions/poweroff`);
    await rig.clock.advance(hour);
    assert.equal(rig.hetzner.bill().total, 0.0192);
    assert.equal(rig.hetzner.bill().owedPerHour, 0.0096);
    await rig.must("DELETE", `/servers/${id}`);
    await rig.clock.advance(10_000);
    assert.equal(rig.hetzner.bill().owedPerHour, 0);
    await rig.clock.advance(100 * hour);
    assert.equal(rig.hetzner.bill().total, 0.0192);
  });

  it("bills two hours for a server made anew within one", async () => {
    const { id } = await rig.runningServer("m-1");
    await rig.must("DELETE", `/servers/${id}`);
    await rig.clock.advance(10_000);
    await rig.runningServer("m-1");
    const servers = rig.hetzner.bill().lines.filter((line) => line.kind === "server");
    assert.deepEqual(
      servers.map((line) => line.amount),
      [0.0088, 0.0088],
    );
  });

  it("charges nothing for IPv6 and nothing for a refused order", async () => {
    await rig.must("POST", "/servers", { ...serverOrder("m-1"), public_net: { enable_ipv4: false } });
    await rig.call("POST", "/servers", serverOrder("m-1"));
    assert.deepEqual(
      rig.hetzner.bill().lines.map((line) => line.kind),
      ["server"],
    );
  });

  it("never takes more than the monthly price for a calendar month", () => {
    const january = Date.UTC(2026, 0, 1);
    const march = Date.UTC(2026, 2, 1);
    assert.deepEqual(charge(january, march, 0.0088, 5.49), { hours: 59 * 24, amount: 10.98 });
    const { amount } = charge(january, march + 10 * hour - 1, 0.0088, 5.49);
    assert.equal(amount.toFixed(4), (10.98 + 0.088).toFixed(4));
    assert.deepEqual(charge(january, january, 0.0088, 5.49), { hours: 1, amount: 0.0088 });
  });

  it("is served at /_local/bill", async () => {
    await rig.runningServer("m-1");
    const url = new URL("/_local/bill", rig.hetzner.endpoint);
    assert.deepEqual(await (await fetch(url)).json(), rig.hetzner.bill());
  });
});
