/** What the parts of the contract suite share: one started backend, machines on it, and sessions that are closed. */
import { strict as assert } from "node:assert";
import type { MachineBackend, MachineSpec } from "../backend.ts";
import {
  answers,
  ed25519KeyPair,
  type KeyPair,
  loginWhenUp,
  type Session,
  until,
  userData,
} from "../probe.ts";

export interface BackendUnderTest {
  /** Made, not started. */
  readonly backend: MachineBackend;
  readonly sshPort: number;
  /** What is still there of this backend after `stop`, in words; empty when nothing is. */
  leftovers(): Promise<readonly string[]>;
}

export interface TestMachine {
  readonly spec: MachineSpec;
  readonly ipv4: string;
  readonly hostKey: KeyPair;
  readonly userKey: KeyPair;
  readonly rootKey: KeyPair;
}

export interface ContractRig {
  readonly backend: MachineBackend;
  readonly sshPort: number;
  /** Switched off; gone when the test is over. */
  create(change?: Partial<MachineSpec>): Promise<TestMachine>;
  /** Switched on; gone when the test is over. */
  running(change?: Partial<MachineSpec>): Promise<TestMachine>;
  /**
   * Switched on, with a disk that other tests have seen too. Tests that ask for it leave it as it was made, but for
   * files in root's home and its password; they may leave it off.
   */
  shared(name: "first" | "second"): Promise<TestMachine>;
  /** Logs in as soon as it answers. */
  open(machine: TestMachine, as?: LoginAs): Promise<Session>;
  /** Resolves when nobody answers at the machine's SSH port. */
  silent(machine: TestMachine): Promise<void>;
  /** Takes the plug out and in. */
  reset(machine: TestMachine): Promise<void>;
}

export interface LoginAs {
  readonly username?: "root" | "clawpool";
  readonly key?: KeyPair;
  readonly password?: string;
}

export const publicPart = (key: KeyPair): string => key.public.split(" ").slice(0, 2).join(" ");

/** Registers the hooks of the suite that it is called in. */
export function contractRig(makeBackend: () => Promise<BackendUnderTest>): ContractRig {
  let subject: BackendUnderTest;
  let nextId = 11;
  const sessions: Session[] = [];
  const ofThisTest: number[] = [];
  const shared = new Map<string, TestMachine>();

  before(async () => {
    subject = await makeBackend();
    await subject.backend.start();
  });
  afterEach(async function () {
    // What a failed test did to the machines that it shared is not known.
    if (this.currentTest?.state === "failed") {
      ofThisTest.push(...[...shared.values()].map(({ spec }) => spec.id));
      shared.clear();
    }
    for (const session of sessions.splice(0)) session.close();
    await Promise.all(ofThisTest.splice(0).map((id) => subject.backend.destroy(id).catch(notThere)));
    subject.backend.reuseAddressesAtOnce(false);
  });
  after(async () => {
    await subject.backend.stop();
    assert.deepEqual(await subject.leftovers(), [], "stop leaves nothing");
  });

  async function make(change: Partial<MachineSpec>): Promise<TestMachine> {
    const id = nextId++;
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
      ...change,
    };
    return { spec, ...keys, ...(await subject.backend.create(spec)) };
  }

  return {
    get backend() {
      return subject.backend;
    },
    get sshPort() {
      return subject.sshPort;
    },
    async create(change = {}) {
      const machine = await make(change);
      ofThisTest.push(machine.spec.id);
      return machine;
    },
    async running(change = {}) {
      const machine = await this.create(change);
      await subject.backend.powerOn(machine.spec.id);
      return machine;
    },
    async shared(name) {
      const machine = shared.get(name) ?? (await make({}));
      shared.set(name, machine);
      await subject.backend.powerOn(machine.spec.id);
      return machine;
    },
    async open(machine, { username = "root", key, password } = {}) {
      const target = { host: machine.ipv4, port: subject.sshPort, username };
      const own = key ?? (username === "root" ? machine.rootKey : machine.userKey);
      const session =
        password === undefined
          ? await loginWhenUp({ ...target, key: own })
          : await loginWhenUp({ ...target, password });
      sessions.push(session);
      return session;
    },
    silent: (machine) => until(async () => !(await answers(machine.ipv4, subject.sshPort, 250))),
    async reset(machine) {
      await subject.backend.powerOff(machine.spec.id);
      await subject.backend.powerOn(machine.spec.id);
    },
  };
}

/** A test may have removed its machine itself. */
function notThere(error: Error): void {
  assert.match(error.message, /^no machine/);
}
