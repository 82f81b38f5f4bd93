/** What goes wrong with machines of other people's data centres. */
import { strict as assert } from "node:assert";
import { answers } from "../probe.ts";
import { type ContractRig, publicPart } from "./rig.ts";

export function faultContract(rig: ContractRig): void {
  it("never boots: it is on, nothing answers, and only its plug helps", async () => {
    const machine = await rig.create();
    const { id } = machine.spec;
    await rig.backend.setBootFaults(id, ["never-boots"]);
    await rig.backend.powerOn(id);
    await rig.backend.shutdown(id);
    await rig.backend.reboot(id);
    assert.equal(rig.backend.isOn(id), true);
    assert.equal(await answers(machine.ipv4, rig.sshPort, 250), false);
    await assert.rejects(rig.backend.resetPassword(id, "nobody-listens"));
    await rig.backend.powerOff(id);
    assert.equal(rig.backend.isOn(id), false);
  });

  it("boots without network or with another host key than user_data said, until the fault is taken away", async () => {
    const machine = await rig.create();
    const { id } = machine.spec;
    await rig.backend.setBootFaults(id, ["no-network"]);
    await rig.backend.powerOn(id);
    assert.equal(rig.backend.isOn(id), true);
    assert.equal(await answers(machine.ipv4, rig.sshPort, 250), false);
    await rig.backend.setBootFaults(id, ["other-host-key"]);
    await rig.reset(machine);
    assert.notEqual((await rig.open(machine)).hostKey, publicPart(machine.hostKey));
    await rig.backend.setBootFaults(id, []);
    await rig.reset(machine);
    assert.equal((await rig.open(machine)).hostKey, publicPart(machine.hostKey));
  });

  it("vanishes: off, its disk is gone, and it cannot be switched on any more", async () => {
    const machine = await rig.running();
    const { id } = machine.spec;
    const session = await rig.open(machine);
    await rig.backend.vanish(id);
    await session.closed;
    assert.equal(rig.backend.isOn(id), false);
    await rig.silent(machine);
    await assert.rejects(rig.backend.powerOn(id), /has vanished/);
    await rig.backend.destroy(id);
  });
}
