/** Paid, paused, switched off and still billed, resumed, cancelled: on the local cloud with process machines. */
import { strict as assert } from "node:assert";
import { type Bought, inOrder, startWorld, statesOf, type World } from "./world.ts";

describe("a subscription that is paused, on process machines", function () {
  this.timeout(120_000);
  let world: World;
  let bought: Bought;
  const row = () => world.store.machine(world.machineOf(bought.id)) ?? assert.fail();
  const power = async () => {
    const { body } = await world.hetzner(`/servers/${row().serverId}`);
    return (body.server as { status: string }).status;
  };

  before(async () => {
    world = await startWorld("process", { minReady: 1, maxTotal: 1, releaseGrace: "0s" });
  });
  after(() => world?.stop());
  inOrder(() => world);

  it("serves who paid", async () => {
    await world.ready(1);
    bought = await world.pay(await world.order("pauses"));
    assert.equal(await power(), "running");
  });

  it("is switched off when it is paused, with all that it has, and billed on", async () => {
    const { serverId } = row();
    await world.rig.cloud.stripe.console.pause(world.store.order(bought.id as never)?.subscription ?? "")
      .sent;
    await world.rig.until("it is suspended", async () => row().state === "suspended");
    const { state, notice } = (await world.rig.shop.view(bought.id)) as unknown as Record<string, unknown>;
    assert.deepEqual([state, await power()], ["suspended", "off"]);
    assert.match(String(notice), /resume the subscription/);
    assert.equal(row().serverId, serverId);
    assert(row().tailnetNode);
    assert(world.rig.cloud.hetzner.bill().owedPerHour > 0);
  });

  it("serves again, with the same token, when it is resumed", async () => {
    await world.rig.cloud.stripe.console.resume(world.store.order(bought.id as never)?.subscription ?? "")
      .sent;
    await world.rig.until("it serves", async () => row().state === "serving");
    const view = await world.rig.shop.view(bought.id);
    assert.deepEqual([view.state, await power()], ["running", "running"]);
    const { gateway_token: token } = await world.rig.shop.access(bought.id);
    assert.equal(await world.customer.ask(view, token, "Back?"), "claw says: Back?");
  });

  it("is destroyed when it is cancelled", async () => {
    const released = world.rig.shop.follow(bought.id, ["released"]);
    await world.cancel(bought);
    assert.deepEqual(statesOf(await released).slice(-5), [
      "running",
      "suspended",
      "running",
      "releasing",
      "released",
    ]);
  });
});
