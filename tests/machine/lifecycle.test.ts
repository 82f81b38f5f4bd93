/** planned → ready, stage by stage, and what errors become; `creating.test.ts` and `ready.test.ts` have the rest. */
import { strict as assert } from "node:assert";
import { BorderError } from "../../pool/errors.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { firstBoot } from "../../pool/machine/user-data.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { bootKey, border, building, path, secrets } from "./building.ts";
import type { Life } from "./fakes.ts";

const bornKey = generateKeyPair();

describe("the life of a machine", () => {
  const machine = building();
  let life: Life;
  beforeEach(() => {
    life = machine.life;
  });

  it("is not looked at again when nobody knows it or it is destroyed", async () => {
    machine.name = "claw-test-none" as MachineName;
    assert.equal((await machine.look()).againInMs, Number.POSITIVE_INFINITY);
  });

  it("planned: spends nothing, and gives the creation its deadline", async () => {
    machine.put("planned");
    assert.deepEqual(await machine.look(), { againInMs: 0 });
    assert.equal(machine.row().state, "creating");
    assert.equal(machine.row().deadline, life.clock.now() + life.config.deadlines.creatingMs);
    assert.deepEqual(life.terraform.calls, []);
  });

  describe("an error", () => {
    it("that may pass is tried again, with growing pauses, at least as long as the other side asked", async () => {
      machine.put("creating");
      const pauses: number[] = [];
      for (let tries = 0; tries < 4; tries++) {
        life.terraform.nextError = border("transient", tries === 3 ? 90_000 : undefined);
        pauses.push((await machine.look()).againInMs);
        assert.equal(machine.row().nextLookAt, life.clock.now() + (pauses.at(-1) ?? 0));
      }
      assert.equal(machine.row().state, "creating");
      assert.equal(machine.row().attempts, 4);
      assert.ok(
        pauses.slice(0, 3).every((pause, index) => pause >= 0.8 * 2_000 * 2 ** index),
        String(pauses),
      );
      assert.ok((pauses[3] ?? 0) >= 90_000);
      assert.deepEqual(life.store.flags(), []);
    });

    it("by which a new machine says that it is another order's has it held, and is no failed build", async () => {
      machine.put("proving");
      const anothers = { border: "machine", kind: "permanent", code: "another-order" } as const;
      life.armed.runErrors = [new BorderError("this machine already has another order", anothers)];
      await machine.look();
      assert.equal(machine.row().state, "proving");
      assert.match(machine.row().held ?? "", /has an order of which its row does not know/);
      assert.deepEqual(life.store.builds("small"), []);
      assert.deepEqual(
        life.store.flags().map(({ kind }) => kind),
        ["another-order"],
      );
    });

    for (const kind of ["quota", "auth"] as const) {
      it(`of kind ${kind} freezes the refill and calls a person, once`, async () => {
        for (const each of ["claw-test-one", "claw-test-two"]) {
          await life.clock.advance(1);
          machine.put("creating", {}, each);
          life.terraform.nextError = border(kind);
          await machine.look();
          assert.deepEqual([machine.row().state, machine.row().failure], ["failed", kind]);
        }
        const [flag, ...more] = life.store.flags();
        assert.deepEqual([flag?.kind, flag?.subject, more], ["frozen", "cloud", []]);
        assert.match(flag?.text ?? "", new RegExp(`a ${kind} error`));
        assert.deepEqual(
          life.store.frozen().map(({ border: of, kind: what, probes }) => [of, what, probes]),
          [["cloud", kind, 2]],
        );
      });

      it(`of kind ${kind} gives up no machine that has a server`, async () => {
        machine.put("proving", { serverId: 101 });
        life.tailnet.nextError = new BorderError("no", { border: "tailnet", kind });
        const { deadline } = machine.row();
        const { againInMs } = await machine.look();
        assert.deepEqual(
          [machine.row().state, machine.row().nextLookAt],
          ["proving", life.clock.now() + againInMs],
        );
        assert.ok((machine.row().deadline ?? 0) > againInMs && machine.row().deadline !== deadline);
        assert.equal(life.store.frozen()[0]?.border, "tailnet");
        await machine.look();
        assert.deepEqual([machine.row().state, life.store.frozen(), life.store.flags()], ["ready", [], []]);
      });
    }

    it("that would come again fails the machine, and nobody is called", async () => {
      machine.put("preparing");
      life.ansible.nextError = border("permanent");
      await machine.look();
      assert.equal(machine.row().state, "failed");
      assert.deepEqual(life.store.flags(), []);
    });

    it("of our own making fails the machine and calls a person", async () => {
      machine.put("preparing");
      life.ansible.nextError = new TypeError("x is not a function");
      await machine.look();
      assert.equal(machine.row().state, "failed");
      assert.equal(life.store.flags().length, 1);
    });

    it("that comes while the daemon stops changes nothing", async () => {
      machine.put("preparing");
      const stop = new AbortController();
      stop.abort();
      life.ansible.nextError = border("permanent");
      assert.deepEqual(await machine.look(stop.signal), { againInMs: 0 });
      assert.equal(machine.row().state, "preparing");
      assert.equal(machine.row().attempts, 0);
    });
  });

  for (const state of path) {
    it(`${state}: fails at its deadline, without another try`, async () => {
      machine.put(state, { deadline: life.clock.now() });
      assert.deepEqual(await machine.look(), { againInMs: 0 });
      assert.equal(machine.row().state, "failed");
      assert.match(machine.row().reason ?? "", new RegExp(`still ${state} at its deadline`));
      assert.deepEqual(life.terraform.calls, []);
      assert.deepEqual(life.armed.dropped, [machine.name]);
      await machine.look();
      assert.equal(machine.row().state, "retiring");
    });
  }

  describe("booting", () => {
    it("logs in with the pinned key and pins the key that was born on the machine", async () => {
      machine.put("booting");
      life.ssh.nextExec = { code: 0, stdout: `${bornKey.publicKey} root@x\n`, stderr: "" };
      await machine.look();
      const [target] = life.ssh.targets;
      assert.equal(target?.hostKey, bootKey.publicKey);
      assert.equal(target?.username, "clawpool");
      assert.equal(target?.port, life.config.ssh.port);
      assert.equal(target?.privateKey.expose(), secrets.controllerKey);
      assert.equal(machine.row().state, "preparing");
      assert.equal(machine.row().hostKey, bornKey.publicKey.trim());
      assert.equal(machine.row().nextHostKey, null);
    });

    it("has the new key on record before the machine shows it, and believes the machine after a crash there", async () => {
      machine.put("booting");
      life.ssh.hostKey = bootKey.publicKey;
      life.ssh.nextExec = { code: 0, stdout: bornKey.publicKey, stderr: "" };
      life.ssh.onExec = (command) => {
        if (command !== firstBoot.install) return;
        assert.equal(machine.row().nextHostKey, bornKey.publicKey);
        life.ssh.hostKey = bornKey.publicKey;
        life.ssh.onExec = () => {};
        throw new BorderError("cut", { border: "ssh", kind: "transient", code: "closed" });
      };
      await machine.look();
      assert.equal(machine.row().state, "booting");
      assert.equal(machine.row().hostKey, bootKey.publicKey);
      await life.clock.advance(60_000);
      await machine.look();
      assert.equal(machine.row().state, "preparing");
      assert.equal(machine.row().hostKey, bornKey.publicKey);
    });

    it("believes no third key", async () => {
      machine.put("booting");
      life.store.changeMachine(machine.name, "booting", { nextHostKey: bornKey.publicKey }, "");
      life.ssh.hostKey = generateKeyPair().publicKey;
      await machine.look();
      assert.equal(machine.row().state, "failed");
      assert.deepEqual(life.ssh.commands, []);
    });

    for (const [what, exec] of [
      ["fails", { code: 1, stdout: bornKey.publicKey, stderr: "no" }],
      ["prints no key", { code: 0, stdout: "hello", stderr: "" }],
      ["prints a key of another kind", { code: 0, stdout: "ssh-rsa AAAAB3Nza", stderr: "" }],
    ] as const) {
      it(`gives up a machine whose first boot ${what}`, async () => {
        machine.put("booting");
        life.ssh.nextExec = exec;
        await machine.look();
        assert.equal(machine.row().state, "failed");
        assert.equal(machine.row().hostKey, bootKey.publicKey);
      });
    }
  });

  describe("preparing", () => {
    it("runs the playbook with the pool's token as a secret, and records what is installed", async () => {
      machine.put("preparing");
      await machine.look();
      const [run] = life.ansible.runs;
      assert.equal(run?.machine, machine.name);
      assert.equal(run?.secretVars.clawpool_pool_token?.expose(), secrets.poolToken);
      assert.ok(!JSON.stringify(run?.vars).includes(secrets.poolToken));
      assert.equal(run?.timeoutMs, 600_000, "the rest of the state's time");
      assert.equal(machine.row().state, "proving");
      assert.deepEqual(machine.row().installed, { openclaw: "1.2.3" });
    });

    it("tries a failed download again, and fails for a failed task", async () => {
      machine.put("preparing");
      const failure = { task: "fetch", message: "timed out", kind: "transient" } as const;
      life.ansible.nextResult = { ok: false, failure };
      await machine.look();
      assert.equal(machine.row().state, "preparing");
      life.ansible.nextResult = { ok: false, failure: { ...failure, kind: "permanent" } };
      await machine.look();
      assert.equal(machine.row().state, "failed");
      assert.match(machine.row().reason ?? "", /"fetch": timed out/);
    });
  });

  describe("proving", () => {
    it("rehearses with a throw-away identity, keeps the new token and revokes the key", async () => {
      machine.put("proving");
      await machine.look();
      const [document] = life.armed.documents;
      assert.ok(document?.rehearsal && !document.dropAdmin);
      assert.equal(document.currentToken, secrets.poolToken);
      assert.equal(document.tailnet?.logout, true);
      assert.equal(life.tailnet.minted[0]?.ephemeral, true);
      assert.deepEqual(life.tailnet.minted[0]?.tags, life.config.tailnet?.rehearsalTags);
      assert.deepEqual(life.tailnet.revoked, ["key-1"]);
      assert.deepEqual(life.armed.dropped, [machine.name]);
      assert.equal(machine.row().state, "ready");
      assert.equal(machine.row().deadline, null);
      assert.equal(machine.row().readyAt, life.clock.now());
      assert.equal(life.store.machineSecrets(machine.name).poolToken, document.gatewayToken);
    });

    it("rehearses anew, not the same again, when the first rehearsal's end was not heard", async () => {
      machine.put("proving");
      life.armed.runErrors = [border("transient")];
      await machine.look();
      await life.clock.advance(60_000);
      await machine.look();
      const [first, second] = life.armed.documents;
      assert.ok(first && second && second.generation > first.generation);
      assert.notEqual(second.gatewayToken, first.gatewayToken);
    });

    for (const [missing, attestation] of [
      ["the new gateway token is not accepted", { newTokenAccepted: false }],
      ["the pool's gateway token is still accepted", { oldTokenRefused: false }],
      ["the gateway's unit is not active", { unitActive: false }],
      ["there is no tailnet address", { tailnetAddress: null }],
    ] as const) {
      it(`never lets a machine into the pool when ${missing}`, async () => {
        machine.put("proving");
        life.armed.nextAttestation = attestation;
        await machine.look();
        assert.equal(machine.row().state, "failed");
        assert.equal(machine.row().reason, missing);
        assert.deepEqual(life.tailnet.revoked, ["key-1"]);
        assert.equal(life.store.machineSecrets(machine.name).poolToken, secrets.poolToken);
      });
    }
  });
});
