/** Our bill against that of the emulated Hetzner, through its API, the daemon's client and the cloud's sweep. */

import { strict as assert } from "node:assert";
import { makeBill } from "../../pool/bill/bill.ts";
import { hourMs } from "../../pool/clock.ts";
import { ownLabels } from "../../pool/machine/labels.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { createCloudSweep } from "../../pool/sweep/cloud.ts";
import { serverOrder } from "../cloud/hetzner/rig.ts";
import { caps, newMachine } from "../store/rows.ts";
import { type LocalCloud, startLocalHetzner } from "../sweep/local-cloud.ts";
import { billGaps } from "./agreement.ts";

const minute = 60_000;
const always = { from: 0, until: Number.MAX_SAFE_INTEGER };

describe("the bill on the local cloud", function () {
  this.timeout(60_000);
  let local: LocalCloud;
  const labels = ownLabels("test");

  beforeEach(async () => {
    local = await startLocalHetzner();
    local.store.rememberPrices(await local.cloud.prices());
  });
  afterEach(() => local.close());

  const bill = () => makeBill(local.store, always, local.parts.clock.now());
  const agrees = () =>
    assert.deepEqual(billGaps(local.store, local.hetzner.hetzner.bill().lines, local.parts.clock.now()), []);
  async function make(name: string, serverType: string): Promise<{ name: MachineName; id: number }> {
    const { store, hetzner } = local;
    const machine = newMachine(name, { serverType });
    store.planMachine(machine, caps);
    const order = { ...serverOrder(name), server_type: serverType, location: "fsn1", labels };
    const { server } = await hetzner.must("POST", "/servers", order);
    store.changeMachine(machine.name, "planned", { state: "creating", serverId: server.id }, "test");
    return { name: machine.name, id: server.id };
  }
  async function destroy({ name, id }: { name: MachineName; id: number }): Promise<void> {
    const { store, hetzner, cloud } = local;
    store.changeMachine(name, "creating", { state: "failed" }, "test");
    store.changeMachine(name, "failed", { state: "retiring" }, "test");
    await hetzner.must("DELETE", `/servers/${id}`);
    while ((await cloud.server(id)) !== null) await local.parts.clock.advance(1_000);
    store.recordDestroyed(name);
  }

  it("is Hetzner's to the cent for lives of minutes, hours and two months, of several types", async () => {
    const { clock } = local.parts;
    const first = await make("claw-a", "cx23");
    const second = await make("claw-b", "cpx22");
    await clock.advance(17 * minute);
    await destroy(first);
    agrees();
    await clock.advance(5 * hourMs + 11 * minute);
    const third = await make("claw-c", "ccx13");
    agrees();
    await clock.advance(40 * 24 * hourMs);
    await destroy(second);
    agrees();
    await clock.advance(25 * 24 * hourMs);
    agrees();
    await destroy(third);
    await clock.advance(hourMs);
    agrees();
    assert.equal(local.hetzner.hetzner.bill().owedPerHour, 0);
  });

  it("includes an orphan and a left address, from their creation until they are deleted", async () => {
    const { hetzner, parts } = local;
    const sweep = createCloudSweep({ ...local, ...parts });
    const look = () => sweep.run({ dryRun: false, actor: "daemon" }, new AbortController().signal);
    await look();
    await make("claw-own", "cx23");
    await parts.clock.advance(minute);
    await hetzner.must("POST", "/servers", { ...serverOrder("claw-test-orphan"), location: "fsn1", labels });
    await hetzner.must("POST", "/primary_ips", { name: "left", type: "ipv4", location: "fsn1", labels });
    const looks = 40;
    for (let looked = 0; looked < looks; looked++) {
      await parts.clock.advance(minute);
      await look();
    }
    assert.equal(hetzner.hetzner.bill().lines.filter(({ ended }) => ended === null).length, 2);
    agrees();
    const { differences } = bill();
    assert.deepEqual(differences.map(({ kind, name, hours }) => [kind, name, hours]).sort(), [
      ["not-counted", "claw-test-orphan", 1],
      ["not-counted", "left", 1],
    ]);
  });
});
