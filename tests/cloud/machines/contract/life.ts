/** Switching on and off, logging in, addresses, sizes. */
import { strict as assert } from "node:assert";
import { answers, ed25519KeyPair, succeed, until } from "../probe.ts";
import { type ContractRig, publicPart } from "./rig.ts";

export function lifeContract(rig: ContractRig): void {
  it("lacks nothing that it needs to run", async () => {
    assert.deepEqual(await rig.backend.missing(), []);
  });

  it("creates a machine with an address, switched off", async () => {
    const machine = await rig.create();
    assert.match(machine.ipv4, /^\d+\.\d+\.\d+\.\d+$/);
    assert.equal(rig.backend.isOn(machine.spec.id), false);
    assert.equal(await answers(machine.ipv4, rig.sshPort, 250), false);
  });

  it("boots with the host key and the user of user_data", async () => {
    const machine = await rig.shared("first");
    assert.equal(rig.backend.isOn(machine.spec.id), true);
    const session = await rig.open(machine, { username: "clawpool" });
    assert.equal(session.hostKey, publicPart(machine.hostKey));
    await succeed(session, "sudo -n true");
    assert.equal((await session.run("exit 7")).code, 7);
  });

  it("lets root in with the server's SSH keys, and nobody with another key", async () => {
    const machine = await rig.shared("first");
    const session = await rig.open(machine);
    await succeed(session, 'test -n "$HOME" && test -w "$HOME"');
    const key = ed25519KeyPair("stranger");
    for (const username of ["root", "clawpool"] as const) {
      await assert.rejects(rig.open(machine, { username, key }), { level: "client-authentication" });
    }
  });

  it("closes the port when the plug is pulled and boots the same disk again", async () => {
    const machine = await rig.shared("first");
    const { id } = machine.spec;
    await succeed(await rig.open(machine), 'echo survives > "$HOME/kept"');
    await rig.backend.powerOff(id);
    assert.equal(rig.backend.isOn(id), false);
    assert.equal(await answers(machine.ipv4, rig.sshPort, 250), false);
    await rig.backend.powerOn(id);
    const after = await rig.open(machine);
    assert.equal(await succeed(after, 'cat "$HOME/kept"'), "survives\n");
    assert.equal(after.hostKey, publicPart(machine.hostKey));
  });

  it("shuts down when asked", async () => {
    const machine = await rig.shared("second");
    await rig.open(machine);
    await rig.backend.shutdown(machine.spec.id);
    await until(() => !rig.backend.isOn(machine.spec.id));
    assert.equal(await answers(machine.ipv4, rig.sshPort, 250), false);
  });

  it("reboots with the same address, host key and disk", async () => {
    const machine = await rig.shared("second");
    const before = await rig.open(machine);
    await succeed(before, 'echo survives > "$HOME/rebooted"');
    await rig.backend.reboot(machine.spec.id);
    await before.closed;
    // The machine that goes down may let somebody in once more, and cut the line at any moment.
    await until(async () => {
      const after = await rig.open(machine);
      assert.equal(after.hostKey, publicPart(machine.hostKey));
      const kept = await after.run('cat "$HOME/rebooted"').catch(() => undefined);
      return kept?.stdout === "survives\n";
    });
    assert.equal(rig.backend.isOn(machine.spec.id), true);
  });

  it("keeps machines apart: address, host key, keys that log in, disk", async () => {
    const [first, second] = [await rig.shared("first"), await rig.shared("second")];
    const [one, two] = [await rig.open(first), await rig.open(second)];
    assert.notEqual(first.ipv4, second.ipv4);
    assert.notEqual(one.hostKey, two.hostKey);
    await succeed(one, 'echo first > "$HOME/mine"');
    assert.notEqual((await two.run('cat "$HOME/mine"')).code, 0);
    const crossed = rig.open(second, { key: first.rootKey });
    await assert.rejects(crossed, { level: "client-authentication" });
  });

  it("makes a host key for a machine whose user_data is empty", async () => {
    const session = await rig.open(await rig.running({ userData: "" }));
    assert.match(session.hostKey, /^ssh-ed25519 AAAA/);
  });

  it("takes every system image's name", async () => {
    const { ipv4 } = await rig.create({ image: "ubuntu-24.04" });
    assert.match(ipv4, /^\d+\./);
  });

  it("refuses a second machine with the same id and unknown ids", async () => {
    const { spec } = await rig.create();
    await assert.rejects(rig.backend.create(spec));
    await assert.rejects(rig.backend.powerOn(99));
    assert.equal(rig.backend.isOn(99), false);
  });

  it("takes a new size at the next boot", async () => {
    const cores = Number(await succeed(await rig.open(await rig.shared("first")), "nproc"));
    const machine = await rig.create({ cores: 2, memoryGiB: 4 });
    await rig.backend.resize(machine.spec.id, { cores: 1, memoryGiB: 0.5 });
    await rig.backend.powerOn(machine.spec.id);
    const session = await rig.open(machine);
    const smaller = Number(await succeed(session, "nproc"));
    // A gibibyte at once; whoever takes more than the machine has is killed, others are not.
    const greedy = await session.run(`python3 -c 'print(len(b"x" * 2 ** 30))'`);
    if (rig.backend.kind === "nspawn") {
      assert.equal(smaller, 1);
      assert.notEqual(greedy.code, 0);
      assert.doesNotMatch(greedy.stdout, /1073741824/);
      await succeed(session, "true");
    } else {
      // Folder machines run with what their host has, whatever their size is.
      assert.equal(smaller, cores);
      assert.equal(greedy.stdout, "1073741824\n");
    }
  });

  it("tells what a machine has used since it was switched on, if its kind can", async () => {
    const machine = await rig.shared("first");
    const session = await rig.open(machine);
    const before = await rig.backend.usage(machine.spec.id);
    await succeed(session, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done");
    const after = await rig.backend.usage(machine.spec.id);
    if (rig.backend.kind === "nspawn") {
      assert.ok(before && after);
      assert.ok(after.cpuSeconds > before.cpuSeconds && before.cpuSeconds > 0);
      assert.ok(after.networkInBytes > before.networkInBytes);
      assert.ok(after.networkOutPackets > before.networkOutPackets);
    } else assert.deepEqual([before, after], [null, null]);
    const { spec } = await rig.create();
    assert.equal(await rig.backend.usage(spec.id), null);
  });
}
