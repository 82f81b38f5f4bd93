import { strict as assert } from "node:assert";
import { type ArmedMachines, createArmedMachines } from "../../pool/machine/armed.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import type { MachineReply } from "../../pool/machine/protocol.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import type { Ssh, SshConnection, SshTarget } from "../../pool/ssh/ssh.ts";
import { settled } from "../virtual-clock.ts";

const name = "claw-test-one" as MachineName;
const target: SshTarget = {
  host: "192.0.2.7",
  port: 22,
  username: "root",
  privateKey: new Secret("key"),
  hostKey: "ssh-ed25519 AAAA",
};

/** One connection whose far end the test plays. */
class FarEnd {
  readonly #lines: string[] = [];
  #ended = false;
  #wake = Promise.withResolvers<void>();
  #closeListeners: ((error: Error | null) => void)[] = [];
  closed = false;

  say(reply: MachineReply): void {
    this.#lines.push(JSON.stringify(reply));
    this.#wake.resolve();
  }
  end(): void {
    this.#ended = true;
    this.#wake.resolve();
  }
  cut(): void {
    this.closed = true;
    for (const listener of this.#closeListeners) listener(new Error("cut"));
    this.end();
  }
  async *lines(): AsyncGenerator<string> {
    for (;;) {
      for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) yield line;
      if (this.#ended) return;
      this.#wake = Promise.withResolvers();
      await this.#wake.promise;
    }
  }
  connection(): SshConnection {
    const far = this;
    return {
      target,
      get alive() {
        return !far.closed;
      },
      exec: () => Promise.reject(new Error("not by this fake")),
      start: async () => ({
        write: () => {},
        end: () => {},
        lines: () => far.lines(),
        done: new Promise(() => {}),
        close: () => far.end(),
      }),
      onClose: (listener) => void far.#closeListeners.push(listener),
      close() {
        far.closed = true;
        far.end();
      },
    };
  }
}

describe("armed machines", () => {
  let ends: FarEnd[];
  let lost: string[];
  let armed: ArmedMachines;
  let nextError: Error | null;
  const ssh: Ssh = {
    async connect() {
      if (nextError) throw nextError;
      const end = new FarEnd();
      ends.push(end);
      return end.connection();
    },
  };
  /** Arms the machine; the program greets at once. */
  async function ensure() {
    const arming = armed.ensure(name, target);
    await settled();
    ends.at(-1)?.say({ type: "armed", program: "1", gateway: true });
    return arming;
  }

  beforeEach(() => {
    ends = [];
    lost = [];
    nextError = null;
    armed = createArmedMachines(ssh, (machine) => lost.push(machine));
  });
  afterEach(() => {
    armed.close();
    assert.ok(
      ends.every((end) => end.closed),
      "a connection was left open",
    );
  });

  it("are connected once for all who ask at the same time, and kept", async () => {
    const first = armed.ensure(name, target);
    const second = armed.ensure(name, target);
    await settled();
    assert.equal(armed.isArmed(name), false, "it is not armed before the program says so");
    ends[0]?.say({ type: "armed", program: "1", gateway: true });
    assert.equal(await first, await second);
    assert.equal(await armed.ensure(name, target), await first);
    assert.equal(ends.length, 1);
    assert.ok(armed.isArmed(name));
  });

  it("say so once when the connection is lost, and are connected anew", async () => {
    await ensure();
    ends[0]?.cut();
    await settled();
    assert.deepEqual(lost, [name]);
    assert.equal(armed.isArmed(name), false);
    const again = await ensure();
    assert.ok(again.alive);
    assert.equal(ends.length, 2);
  });

  it("are lost as well when the program ends while it waits", async () => {
    await ensure();
    ends[0]?.end();
    await settled();
    assert.deepEqual(lost, [name]);
    assert.equal(armed.isArmed(name), false);
  });

  it("say nothing when they were dropped on purpose", async () => {
    await ensure();
    armed.drop(name);
    await settled();
    assert.deepEqual(lost, []);
    assert.equal(armed.isArmed(name), false);
    assert.ok(ends[0]?.closed);
    armed.drop(name);
  });

  it("may be asked for again after a failure, which leaves nothing open", async () => {
    nextError = new Error("no route");
    await assert.rejects(armed.ensure(name, target), /no route/);
    nextError = null;
    const arming = armed.ensure(name, target);
    await settled();
    ends[0]?.say({ type: "failed", step: "start", reason: "no machine.json", retryable: false });
    await assert.rejects(arming, { kind: "permanent", code: "start" });
    assert.ok(ends[0]?.closed);
    await ensure();
    assert.ok(armed.isArmed(name));
  });

  it("that were dropped while they were being armed do not come back", async () => {
    const arming = armed.ensure(name, target);
    await settled();
    armed.drop(name);
    ends[0]?.say({ type: "armed", program: "1", gateway: true });
    await assert.rejects(arming, { kind: "transient", code: "dropped" });
    assert.equal(armed.isArmed(name), false);
    await ensure();
    assert.ok(armed.isArmed(name));
  });
});
