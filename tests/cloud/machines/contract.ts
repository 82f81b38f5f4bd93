/**
 * What every machine backend must do, whatever its machines are made of. A test file calls
 * `machineContract("nspawn", makeBackend)` at its top level or inside a `describe`.
 */
import { strict as assert } from "node:assert";
import type { MachineBackend, MachineSpec } from "./backend.ts";
import {
  answers,
  ed25519KeyPair,
  type KeyPair,
  loginWhenUp,
  type Session,
  succeed,
  until,
  userData,
} from "./probe.ts";

export interface BackendUnderTest {
  /** Made, not started. */
  readonly backend: MachineBackend;
  readonly sshPort: number;
  /** What is still there of this backend after `stop`, in words; empty when nothing is. */
  leftovers(): Promise<readonly string[]>;
}

export type MakeBackend = () => Promise<BackendUnderTest>;

interface TestMachine {
  readonly spec: MachineSpec;
  readonly ipv4: string;
  readonly hostKey: KeyPair;
  readonly userKey: KeyPair;
  readonly rootKey: KeyPair;
}

/** `timeoutMs` bounds each test; a machine that does not come up is a failure by it. */
export function machineContract(name: string, makeBackend: MakeBackend, timeoutMs = 60_000): void {
  describe(`machine contract: ${name}`, function () {
    this.timeout(timeoutMs);
    let subject: BackendUnderTest;
    const sessions: Session[] = [];

    beforeEach(async () => {
      subject = await makeBackend();
      await subject.backend.start();
    });
    afterEach(async () => {
      for (const session of sessions.splice(0)) session.close();
      await subject.backend.stop();
      assert.deepEqual(await subject.leftovers(), [], "stop leaves nothing");
    });

    async function createMachine(id: number): Promise<TestMachine> {
      const keys = {
        hostKey: ed25519KeyPair(`host ${id}`),
        userKey: ed25519KeyPair(`controller ${id}`),
        rootKey: ed25519KeyPair(`root ${id}`),
      };
      const spec: MachineSpec = {
        id,
        name: `claw-test-${id}`,
        image: "debian-12",
        userData: userData(keys.hostKey, keys.userKey),
        sshKeys: [keys.rootKey.public],
        location: "fsn1",
        cores: 2,
        memoryGiB: 4,
      };
      return { spec, ...keys, ...(await subject.backend.create(spec)) };
    }

    async function runningMachine(id: number): Promise<TestMachine> {
      const machine = await createMachine(id);
      await subject.backend.powerOn(id);
      return machine;
    }

    async function open(machine: TestMachine, username: "clawpool" | "root"): Promise<Session> {
      const key = username === "root" ? machine.rootKey : machine.userKey;
      const session = await loginWhenUp({ host: machine.ipv4, port: subject.sshPort, username, key });
      sessions.push(session);
      return session;
    }

    const publicPart = (key: KeyPair): string => key.public.split(" ").slice(0, 2).join(" ");

    it("lacks nothing that it needs to run", async () => {
      assert.deepEqual(await subject.backend.missing(), []);
    });

    it("creates a machine with an address, switched off", async () => {
      const machine = await createMachine(11);
      assert.match(machine.ipv4, /^\d+\.\d+\.\d+\.\d+$/);
      assert.equal(subject.backend.isOn(11), false);
      assert.equal(await answers(machine.ipv4, subject.sshPort), false);
    });

    it("boots with the host key and the user of user_data", async () => {
      const machine = await runningMachine(11);
      assert.equal(subject.backend.isOn(11), true);
      const session = await open(machine, "clawpool");
      assert.equal(session.hostKey, publicPart(machine.hostKey));
      await succeed(session, "sudo -n true");
      assert.equal((await session.run("exit 7")).code, 7);
    });

    it("lets root in with the server's SSH keys, and nobody with another key", async () => {
      const machine = await runningMachine(11);
      const session = await open(machine, "root");
      await succeed(session, 'test -n "$HOME" && test -w "$HOME"');
      const stranger = ed25519KeyPair("stranger");
      for (const username of ["root", "clawpool"]) {
        const attempt = loginWhenUp({ host: machine.ipv4, port: subject.sshPort, username, key: stranger });
        await assert.rejects(attempt, { level: "client-authentication" });
      }
    });

    it("closes the port when the plug is pulled and boots the same disk again", async () => {
      const machine = await runningMachine(11);
      const before = await open(machine, "root");
      await succeed(before, 'echo survives > "$HOME/kept"');
      await subject.backend.powerOff(11);
      assert.equal(subject.backend.isOn(11), false);
      assert.equal(await answers(machine.ipv4, subject.sshPort), false);
      await subject.backend.powerOn(11);
      const after = await open(machine, "root");
      assert.equal(await succeed(after, 'cat "$HOME/kept"'), "survives\n");
      assert.equal(after.hostKey, publicPart(machine.hostKey));
    });

    it("shuts down when asked", async () => {
      const machine = await runningMachine(11);
      await open(machine, "root");
      await subject.backend.shutdown(11);
      await until(() => !subject.backend.isOn(11));
      assert.equal(await answers(machine.ipv4, subject.sshPort), false);
    });

    it("reboots with the same address, host key and disk", async () => {
      const machine = await runningMachine(11);
      const before = await open(machine, "root");
      await succeed(before, 'echo survives > "$HOME/kept"');
      await subject.backend.reboot(11);
      await before.closed;
      // The machine that goes down may let somebody in once more, and cut the line at any moment.
      await until(async () => {
        const after = await open(machine, "root");
        assert.equal(after.hostKey, publicPart(machine.hostKey));
        const kept = await after.run('cat "$HOME/kept"').catch(() => undefined);
        return kept?.stdout === "survives\n";
      });
      assert.equal(subject.backend.isOn(11), true);
    });

    it("destroys a running machine and gives its address to a later one", async () => {
      const machine = await runningMachine(11);
      const session = await open(machine, "root");
      await succeed(session, 'echo secret > "$HOME/kept"');
      await subject.backend.destroy(11);
      assert.equal(subject.backend.isOn(11), false);
      assert.equal(await answers(machine.ipv4, subject.sshPort), false);
      await assert.rejects(subject.backend.powerOn(11));

      const next = await runningMachine(12);
      assert.equal(next.ipv4, machine.ipv4);
      const fresh = await open(next, "root");
      assert.equal(fresh.hostKey, publicPart(next.hostKey));
      assert.notEqual((await fresh.run('cat "$HOME/kept"')).code, 0);
    });

    it("keeps machines apart: address, host key, keys that log in, disk", async () => {
      const [first, second] = [await runningMachine(11), await runningMachine(12)];
      const [one, two] = [await open(first, "root"), await open(second, "root")];
      assert.notEqual(first.ipv4, second.ipv4);
      assert.notEqual(one.hostKey, two.hostKey);
      await succeed(one, 'echo first > "$HOME/kept"');
      assert.notEqual((await two.run('cat "$HOME/kept"')).code, 0);
      const crossed = loginWhenUp({
        host: second.ipv4,
        port: subject.sshPort,
        username: "root",
        key: first.rootKey,
      });
      await assert.rejects(crossed, { level: "client-authentication" });
    });

    it("makes a host key for a machine whose user_data is empty", async () => {
      const rootKey = ed25519KeyPair("root");
      const spec = {
        id: 11,
        name: "claw-test-11",
        image: "debian-12",
        userData: "",
        sshKeys: [rootKey.public],
      };
      const { ipv4 } = await subject.backend.create({ ...spec, location: "fsn1", cores: 2, memoryGiB: 4 });
      await subject.backend.powerOn(11);
      const session = await loginWhenUp({
        host: ipv4,
        port: subject.sshPort,
        username: "root",
        key: rootKey,
      });
      sessions.push(session);
      assert.match(session.hostKey, /^ssh-ed25519 AAAA/);
    });

    it("refuses a second machine with the same id and unknown ids", async () => {
      await createMachine(11);
      await assert.rejects(createMachine(11));
      await assert.rejects(subject.backend.powerOn(99));
      assert.equal(subject.backend.isOn(99), false);
    });
  });
}
