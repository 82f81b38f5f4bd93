/** Disks begun anew, looked at from outside, copied; volumes; root's password. */
import { strict as assert } from "node:assert";
import { answers, ed25519KeyPair, type Session, succeed, userData } from "../probe.ts";
import { type ContractRig, publicPart } from "./rig.ts";

/** Root's home is the one place that both kinds call the same. */
const kept = '"$HOME/kept"';
const inRescue = '"$HOME/../mnt/disk/root/kept"';
const mounted = (volume: number) => `"$HOME/../mnt/HC_Volume_${volume}"`;
const byId = (volume: number) => `"$HOME/../dev/disk/by-id/scsi-0HC_Volume_${volume}"`;

export function diskContract(rig: ContractRig): void {
  const readsNothing = async (session: Session, path: string) =>
    assert.notEqual((await session.run(`cat ${path}`)).code, 0);

  it("begins a disk anew: same address, another host key, the new user_data", async () => {
    const machine = await rig.running({ userData: "" });
    const { id } = machine.spec;
    const before = await rig.open(machine);
    await succeed(before, `echo old > ${kept}`);
    await rig.backend.rebuild(id, {
      image: "debian-12",
      userData: userData(machine.hostKey, machine.userKey),
    });
    assert.equal(rig.backend.isOn(id), false);
    assert.equal(await answers(machine.ipv4, rig.sshPort, 250), false);
    await rig.backend.powerOn(id);
    const after = await rig.open(machine);
    assert.notEqual(after.hostKey, before.hostKey);
    assert.equal(after.hostKey, publicPart(machine.hostKey));
    await readsNothing(after, kept);
    await succeed(await rig.open(machine, { username: "clawpool" }), "sudo -n true");
  });

  it("boots the rescue system once, with its keys, and shows it the disk", async () => {
    const machine = await rig.shared("second");
    const { id } = machine.spec;
    await succeed(await rig.open(machine), `echo mine > ${kept}`);
    const key = ed25519KeyPair("rescue");
    await rig.backend.setRescue(id, { sshKeys: [key.public], password: "not-for-ssh" });
    await rig.reset(machine);
    const rescue = await rig.open(machine, { key });
    assert.notEqual(rescue.hostKey, publicPart(machine.hostKey));
    await readsNothing(rescue, kept);
    assert.equal(await succeed(rescue, `cat ${inRescue}`), "mine\n");
    await succeed(rescue, `echo repaired > ${inRescue}`);
    await assert.rejects(rig.open(machine), { level: "client-authentication" });

    // Armed and disarmed again.
    await rig.backend.setRescue(id, { sshKeys: [key.public], password: "not-for-ssh" });
    await rig.backend.setRescue(id, null);
    await rig.reset(machine);
    const usual = await rig.open(machine);
    assert.equal(usual.hostKey, publicPart(machine.hostKey));
    assert.equal(await succeed(usual, `cat ${kept}`), "repaired\n");
  });

  it("lets root into the rescue system by password when there are no keys", async () => {
    const machine = await rig.create();
    const password = "rescue-me-4711";
    await rig.backend.setRescue(machine.spec.id, { sshKeys: [], password });
    await rig.backend.powerOn(machine.spec.id);
    await succeed(await rig.open(machine, { password }), "true");
    const wrong = rig.open(machine, { password: "wrong" });
    await assert.rejects(wrong, { level: "client-authentication" });
  });

  it("sets root's password on a machine that runs", async () => {
    const machine = await rig.shared("first");
    await rig.open(machine);
    const wrong = rig.open(machine, { password: "before-it-was-set" });
    await assert.rejects(wrong, { level: "client-authentication" });
    await rig.backend.resetPassword(machine.spec.id, "set-by-hetzner-1");
    await succeed(await rig.open(machine, { password: "set-by-hetzner-1" }), "true");
    const { spec } = await rig.create();
    await assert.rejects(rig.backend.resetPassword(spec.id, "another"));
  });

  it("makes a machine from a snapshot: its files, and a new instance's host key and users", async () => {
    const first = await rig.shared("first");
    const session = await rig.open(first);
    await succeed(session, `echo copied > ${kept}`);
    const { handle, bytes } = await rig.backend.snapshot(first.spec.id);
    assert.ok(bytes > 0);
    // The machine goes on, and what it writes now is not in the copy.
    await succeed(session, `echo later > ${kept}`);
    const copy = await rig.running({ snapshot: handle });
    await rig.backend.deleteSnapshot(handle);
    const own = await rig.open(copy);
    assert.equal(own.hostKey, publicPart(copy.hostKey));
    assert.equal(await succeed(own, `cat ${kept}`), "copied\n");
    await succeed(await rig.open(copy, { username: "clawpool" }), "sudo -n true");
    await assert.rejects(rig.create({ snapshot: handle }));
    await assert.rejects(rig.backend.deleteSnapshot(handle));
  });

  it("shows a volume to the machine that has it, mounted if wanted, with its files over reboots and moves", async () => {
    const [first, second] = [await rig.shared("first"), await rig.shared("second")];
    const volume = { id: 501, size: 10, format: "ext4" } as const;
    await rig.backend.createVolume(volume);
    const session = await rig.open(first);
    await rig.backend.attachVolume(first.spec.id, volume.id, true);
    await assert.rejects(rig.backend.attachVolume(second.spec.id, volume.id, false));
    await assert.rejects(rig.backend.deleteVolume(volume.id));
    await succeed(session, `test -e ${byId(volume.id)} && echo data > ${mounted(volume.id)}/file`);

    await rig.reset(first);
    const again = await rig.open(first);
    assert.equal(await succeed(again, `cat ${mounted(volume.id)}/file`), "data\n");
    await rig.backend.detachVolume(first.spec.id, volume.id);
    await assert.rejects(rig.backend.detachVolume(first.spec.id, volume.id));
    await succeed(again, `test ! -e ${byId(volume.id)} && test ! -e ${mounted(volume.id)}`);

    await rig.backend.attachVolume(second.spec.id, volume.id, true);
    const there = await rig.open(second);
    assert.equal(await succeed(there, `cat ${mounted(volume.id)}/file`), "data\n");
    await rig.backend.detachVolume(second.spec.id, volume.id);
    await rig.backend.deleteVolume(volume.id);
    await assert.rejects(rig.backend.attachVolume(second.spec.id, volume.id, true));
  });

  it("gives a volume a device of its size, unmounted unless wanted, if its kind has devices", async () => {
    const machine = await rig.running();
    await rig.backend.createVolume({ id: 502, size: 10, format: "xfs" });
    await rig.backend.createVolume({ id: 503, size: 10, format: null });
    await rig.backend.attachVolume(machine.spec.id, 502, true);
    const session = await rig.open(machine);
    await rig.backend.attachVolume(machine.spec.id, 503, true);
    await succeed(session, `test -e ${byId(503)} && test ! -e ${mounted(503)}`);
    await rig.backend.resizeVolume(502, 12);
    if (rig.backend.kind === "nspawn") {
      assert.equal(await succeed(session, `findmnt -no FSTYPE ${mounted(502)}`), "xfs\n");
      assert.equal(await succeed(session, `readlink -f ${byId(502)}`), "/dev/sdb\n");
      assert.equal(await succeed(session, `blockdev --getsize64 ${byId(502)}`), `${12 * 2 ** 30}\n`);
      assert.equal(await succeed(session, `blockdev --getsize64 ${byId(503)}`), `${10 * 2 ** 30}\n`);
      await succeed(session, `mkfs.ext4 -q ${byId(503)} && mkdir /data && mount ${byId(503)} /data`);
    } else {
      // A folder: no file system of its own, and no limit.
      await succeed(session, `test -d ${byId(502)} && test -d ${mounted(502)} && test -d ${byId(503)}`);
    }
    // Volumes outlive the machine that they are attached to.
    await rig.backend.destroy(machine.spec.id);
    for (const id of [502, 503]) await rig.backend.deleteVolume(id);
  });
}
