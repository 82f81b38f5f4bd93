/** A machine on its way to ready, on fakes: what the tests of its stages have in common. */
import { strict as assert } from "node:assert";
import { BorderError, type BorderErrorKind } from "../../pool/errors.ts";
import { reconcile } from "../../pool/machine/lifecycle.ts";
import type { Machine, MachineName, MachineState } from "../../pool/machine/machine.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import type { MachineChange } from "../../pool/store/store.ts";
import { caps, newMachine } from "../store/rows.ts";
import { type Life, startLife } from "./fakes.ts";

export const bootKey = generateKeyPair();
export const secrets = {
  controllerKey: generateKeyPair().privateKey.expose(),
  bootHostKey: bootKey.privateKey.expose(),
  poolToken: "pool-token-of-the-machine",
};

export const border = (kind: BorderErrorKind, retryAfterMs?: number) =>
  new BorderError(`a ${kind} error`, {
    border: "cloud",
    kind,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });

/** The states of a machine that is being built, in their order. */
export const path: readonly MachineState[] = ["planned", "creating", "booting", "preparing", "proving"];

export class Building {
  /** Of the test that runs. */
  life!: Life;
  /** Of the machine that is looked at. */
  name!: MachineName;

  row(): Machine {
    return this.life.store.machine(this.name) ?? assert.fail();
  }

  look(signal = new AbortController().signal): ReturnType<typeof reconcile> {
    return reconcile(this.name, this.life.context, signal);
  }

  /** Puts the machine into a state of its building, with what is known there. */
  put(state: MachineState, change: MachineChange = {}, text = "claw-test-one"): void {
    const { clock, store } = this.life;
    const deadline = clock.now() + 600_000;
    const planned = newMachine(text, { secrets, deadline, hostKey: bootKey.publicKey });
    this.name = (store.planMachine(planned, caps) ?? assert.fail()).name;
    for (const [index, next] of path.slice(1, path.indexOf(state) + 1).entries()) {
      const from = path[index] as MachineState;
      const facts = next === "booting" ? { serverId: 101, ipv4: "192.0.2.7" } : {};
      store.changeMachine(this.name, from, { state: next, deadline, ...facts }, "test");
    }
    store.changeMachine(this.name, state, change, "test");
  }
}

/** For the suite that calls it: each test has a life of its own, and leaves nothing open. */
export function building(): Building {
  const machine = new Building();
  beforeEach(() => {
    machine.life = startLife();
  });
  afterEach(() => {
    const { gate, ssh, store } = machine.life;
    assert.equal(gate.open, 0, "a run of the gate was left open");
    assert.equal(ssh.open, 0, "an SSH connection was left open");
    store.close();
  });
  return machine;
}
