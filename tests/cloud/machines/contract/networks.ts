/** Public addresses that come and go, private networks. */
import { strict as assert } from "node:assert";
import { type PrivateInterface, UnsupportedByMachines } from "../backend.ts";
import { answers, type Session, succeed } from "../probe.ts";
import { type ContractRig, publicPart, type TestMachine } from "./rig.ts";

const own = (network: number, ip: string, mac: string): PrivateInterface => ({
  ...{ network, ip, aliasIps: [], macAddress: `86:00:00:00:00:${mac}` },
  ...{ ipRange: "10.0.0.0/16", gateway: "10.0.0.1" },
});

/** By bash's own means, so that nothing has to be installed. A host that is busy may take its time to connect. */
const connect = (session: Session, ip: string, seconds: number) =>
  session.run(`timeout ${seconds} bash -c ': < /dev/tcp/${ip}/22'`);
const reaches = async (session: Session, ip: string) =>
  assert.equal((await connect(session, ip, 20)).code, 0, `${ip} is not reached`);
const doesNotReach = async (session: Session, ip: string) =>
  assert.notEqual((await connect(session, ip, 1)).code, 0, `${ip} is reached`);

export function addressContract(rig: ContractRig): void {
  it("gives a freed address away at once if told so", async () => {
    rig.backend.reuseAddressesAtOnce(true);
    const machine = await rig.running();
    await succeed(await rig.open(machine), 'echo secret > "$HOME/kept"');
    await rig.backend.destroy(machine.spec.id);
    assert.equal(rig.backend.isOn(machine.spec.id), false);
    assert.equal(await answers(machine.ipv4, rig.sshPort, 250), false);
    await assert.rejects(rig.backend.powerOn(machine.spec.id));

    const next = await rig.running();
    assert.equal(next.ipv4, machine.ipv4);
    const fresh = await rig.open(next);
    assert.equal(fresh.hostKey, publicPart(next.hostKey));
    assert.notEqual((await fresh.run('cat "$HOME/kept"')).code, 0);
  });

  it("gives a freed address away last otherwise", async () => {
    const machine = await rig.create();
    await rig.backend.destroy(machine.spec.id);
    assert.notEqual((await rig.create()).ipv4, machine.ipv4);
  });

  it("changes the address of a machine that is off, or takes it away", async () => {
    const machine = await rig.create();
    const { id } = machine.spec;
    const reserved = await rig.backend.reserveAddress();
    assert.notEqual(reserved, machine.ipv4);
    await assert.rejects(rig.backend.setAddress(id, "192.0.2.1"));
    await rig.backend.setAddress(id, reserved);
    await rig.backend.powerOn(id);
    const moved: TestMachine = { ...machine, ipv4: reserved };
    assert.equal((await rig.open(moved)).hostKey, publicPart(machine.hostKey));
    assert.equal(await answers(machine.ipv4, rig.sshPort, 250), false);
    await assert.rejects(rig.backend.setAddress(id, machine.ipv4));

    await rig.backend.powerOff(id);
    await rig.backend.setAddress(id, null);
    await rig.backend.powerOn(id);
    assert.equal(rig.backend.isOn(id), true);
    assert.equal(await answers(reserved, rig.sshPort, 250), false);
    for (const each of [reserved, machine.ipv4]) await rig.backend.releaseAddress(each);
  });
}

export function privateNetworkContract(rig: ContractRig, kind: "nspawn" | "process"): void {
  if (kind === "process") {
    it("says that it cannot join private networks, and takes their routes, which concern nobody", async () => {
      const { spec } = await rig.create();
      const mine = own(701, "10.0.0.2", "02");
      await assert.rejects(rig.backend.attachNetwork(spec.id, mine), UnsupportedByMachines);
      await rig.backend.setRoutes(701, [{ destination: "10.9.0.0/24", gateway: "10.0.0.2" }]);
    });
    return;
  }

  it("connects the machines of a network, running or not, and no others", async () => {
    const [first, second] = [await rig.shared("first"), await rig.shared("second")];
    const stranger = await rig.create();
    const one = await rig.open(first);
    await rig.open(second);
    const [a, b] = [own(701, "10.0.0.2", "02"), own(701, "10.0.1.3", "03")];
    await rig.backend.attachNetwork(first.spec.id, a);
    await rig.backend.attachNetwork(second.spec.id, b);
    // The same range in another network is another network.
    await rig.backend.attachNetwork(stranger.spec.id, own(702, "10.0.0.4", "04"));
    await rig.backend.setAddress(stranger.spec.id, null);
    await rig.backend.powerOn(stranger.spec.id);
    await assert.rejects(rig.backend.attachNetwork(first.spec.id, a));

    await reaches(one, b.ip);
    await doesNotReach(one, "10.0.0.4");
    const link = JSON.parse(await succeed(one, "ip -j address show enp7s0")) as unknown[];
    assert.deepEqual(
      link.map((each) => {
        const { address, mtu, addr_info } = each as Record<string, unknown>;
        const [{ local, prefixlen }] = addr_info as [Record<string, unknown>];
        return { address, mtu, local, prefixlen };
      }),
      [{ address: a.macAddress, mtu: 1450, local: a.ip, prefixlen: 32 }],
    );

    await rig.reset(second);
    const two = await rig.open(second);
    await reaches(one, b.ip);
    await reaches(two, a.ip);

    await rig.backend.detachNetwork(second.spec.id, 701);
    await doesNotReach(one, b.ip);
    assert.notEqual((await two.run("ip link show enp7s0")).code, 0);
    await assert.rejects(rig.backend.detachNetwork(second.spec.id, 701));
    await rig.backend.detachNetwork(first.spec.id, 701);
  });

  it("leads alias addresses and routes to the machine that they are for", async () => {
    const [first, second] = [await rig.shared("first"), await rig.shared("second")];
    const [one, two] = [await rig.open(first), await rig.open(second)];
    const [a, b] = [own(703, "10.0.0.2", "02"), own(703, "10.0.0.3", "03")];
    await rig.backend.attachNetwork(first.spec.id, a);
    await rig.backend.setRoutes(703, [{ destination: "10.9.0.0/24", gateway: b.ip }]);
    await rig.backend.attachNetwork(second.spec.id, b);
    // As on Hetzner: the network knows the way, the machine has to take the address.
    await succeed(two, "ip address add 10.0.0.77/32 dev lo; ip address add 10.9.0.5/32 dev lo");
    await reaches(one, "10.9.0.5");
    await doesNotReach(one, "10.0.0.77");
    await rig.backend.setAliasIps(second.spec.id, 703, ["10.0.0.77"]);
    await reaches(one, "10.0.0.77");
    await rig.backend.setAliasIps(second.spec.id, 703, []);
    await rig.backend.setRoutes(703, []);
    await doesNotReach(one, "10.0.0.77");
    // It would leave by the public interface now, and a network around this host may answer.
    assert.doesNotMatch(await succeed(one, "ip route get 10.9.0.5"), /enp7s0/);
    for (const { spec } of [first, second]) await rig.backend.detachNetwork(spec.id, 703);
    await succeed(two, "ip address del 10.0.0.77/32 dev lo; ip address del 10.9.0.5/32 dev lo");
  });

  it("makes a machine without a public address reachable from one that has both", async () => {
    const bastion = await rig.shared("first");
    const hidden = await rig.create();
    await rig.backend.setAddress(hidden.spec.id, null);
    const [a, b] = [own(704, "10.0.0.2", "02"), own(704, "10.0.0.3", "03")];
    await rig.backend.attachNetwork(bastion.spec.id, a);
    await rig.backend.attachNetwork(hidden.spec.id, b);
    await rig.backend.powerOn(hidden.spec.id);
    const session = await rig.open(bastion);
    const banner = "until timeout 1 bash -c 'head -c 7 < /dev/tcp/10.0.0.3/22'; do sleep 0.1; done";
    assert.equal(await succeed(session, banner), "SSH-2.0");
    await rig.backend.detachNetwork(bastion.spec.id, 704);
  });
}
