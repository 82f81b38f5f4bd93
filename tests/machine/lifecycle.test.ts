/** planned → ready, stage by stage, and what errors become. */
import { strict as assert } from "node:assert";
import { BorderError, type BorderErrorKind } from "../../pool/errors.ts";
import { reconcile } from "../../pool/machine/lifecycle.ts";
import type { MachineName, MachineState } from "../../pool/machine/machine.ts";
import { firstBoot } from "../../pool/machine/user-data.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import type { MachineChange } from "../../pool/store/store.ts";
import { caps, makeReady, newMachine } from "../store/rows.ts";
import { failedRun, type Life, startLife, stateOf } from "./fakes.ts";

const bootKey = generateKeyPair();
const bornKey = generateKeyPair();
const secrets = {
  controllerKey: generateKeyPair().privateKey.expose(),
  bootHostKey: bootKey.privateKey.expose(),
  poolToken: "pool-token-of-the-machine",
};
const border = (kind: BorderErrorKind, retryAfterMs?: number) =>
  new BorderError(`a ${kind} error`, {
    border: "cloud",
    kind,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });

describe("the life of a machine", () => {
  let life: Life;
  let name: MachineName;
  const row = () => {
    const machine = life.store.machine(name);
    assert.ok(machine);
    return machine;
  };
  const look = (signal = new AbortController().signal) => reconcile(name, life.context, signal);
  const path: readonly MachineState[] = ["planned", "creating", "booting", "preparing", "proving"];

  /** Puts the machine into a state of its building, with what is known there. */
  function put(state: MachineState, change: MachineChange = {}, text = "claw-test-one"): void {
    const deadline = life.clock.now() + 600_000;
    name = (
      life.store.planMachine(newMachine(text, { secrets, deadline, hostKey: bootKey.publicKey }), caps) ??
      assert.fail()
    ).name;
    for (const [index, next] of path.slice(1, path.indexOf(state) + 1).entries()) {
      const from = path[index] as MachineState;
      const facts = next === "booting" ? { serverId: 101, ipv4: "192.0.2.7" } : {};
      life.store.changeMachine(name, from, { state: next, deadline, ...facts }, "test");
    }
    life.store.changeMachine(name, state, change, "test");
  }

  beforeEach(() => {
    life = startLife();
  });
  afterEach(() => {
    assert.equal(life.gate.open, 0, "a run of the gate was left open");
    assert.equal(life.ssh.open, 0, "an SSH connection was left open");
    life.store.close();
  });

  it("is not looked at again when nobody knows it or it is destroyed", async () => {
    name = "claw-test-none" as MachineName;
    assert.equal((await look()).againInMs, Number.POSITIVE_INFINITY);
  });

  it("planned: spends nothing, and gives the creation its deadline", async () => {
    put("planned");
    assert.deepEqual(await look(), { againInMs: 0 });
    assert.equal(row().state, "creating");
    assert.equal(row().deadline, life.clock.now() + life.config.deadlines.creatingMs);
    assert.deepEqual(life.terraform.calls, []);
  });

  describe("creating", () => {
    it("applies the stack under a permit that can only create, then moves on with the server's facts", async () => {
      put("creating");
      life.terraform.onApply = ({ name: server }) =>
        life.terraform.states.set(server, stateOf(life.cloud.put(server).id));
      assert.deepEqual(await look(), { againInMs: 0 });
      assert.equal(row().state, "creating");
      assert.deepEqual(life.gate.permits, [
        {
          kind: "machine",
          machine: name,
          actor: "daemon",
          create: true,
          update: false,
          destroy: false,
          priority: "refill",
        },
      ]);
      const [{ input, guard } = assert.fail()] = life.terraform.applied;
      assert.equal(guard, null);
      assert.equal(input.labels["clawpool-machine"], name);
      assert.ok(!input.userData.includes(secrets.controllerKey));
      await look();
      const { state, serverId, ipv4, deadline } = row();
      assert.deepEqual({ state, ipv4 }, { state: "booting", ipv4: "192.0.2.7" });
      assert.ok(serverId && life.cloud.list.has(serverId));
      assert.equal(deadline, life.clock.now() + life.config.deadlines.bootingMs);
      assert.equal(life.terraform.applied.length, 1);
    });

    it("never applies over a server that a failed poll left tainted: it takes the taint away", async () => {
      put("creating");
      const { id } = life.cloud.put(name, { status: "starting" });
      life.terraform.states.set(name, stateOf(id, { tainted: true }));
      assert.deepEqual(await look(), { againInMs: 2_000 });
      assert.deepEqual(life.terraform.calls, [], "a server that starts is waited for");
      life.cloud.list.set(id, { ...(life.cloud.list.get(id) ?? assert.fail()), status: "running" });
      await look();
      await look();
      assert.deepEqual(life.terraform.calls, [`untaint ${name}`]);
      assert.equal(row().state, "booting");
      assert.equal(row().serverId, id);
    });

    it("knows by a server that it adopts whether Hetzner still refuses us", async () => {
      for (const [later, frozen] of [
        [-1, 1],
        [1, 0],
      ] as const) {
        put("creating", {}, `claw-test-${frozen}`);
        life.store.freeze("cloud", { kind: "quota", reason: "limit", text: "Hetzner lets us have no more" });
        const [{ at } = assert.fail()] = life.store.frozen();
        const { id } = life.cloud.put(name, { createdAt: at + later });
        life.terraform.states.set(name, stateOf(id));
        await look();
        assert.deepEqual([row().state, life.store.frozen().length], ["booting", frozen]);
      }
      assert.deepEqual(life.store.flags(), []);
    });

    it("goes to the pool's next offer when one is sold out, and fails at nobody's cost when all were tried", async () => {
      put("creating");
      const [{ locations } = assert.fail()] = life.config.pools;
      assert.ok(locations.length >= 3);
      for (const [index, location] of locations.entries()) {
        assert.equal(row().location, location);
        // A transient error in between must not count as a location that was tried.
        life.terraform.nextError = border("transient");
        await look();
        life.terraform.nextResult = failedRun("error during placement (resource_unavailable, abc)");
        await look();
        if (index < locations.length - 1) assert.equal(row().state, "creating");
      }
      assert.equal(row().state, "failed");
      assert.deepEqual(
        life.terraform.calls,
        locations.flatMap((location) => Array(2).fill(`apply ${name} ${location}`)),
      );
      assert.deepEqual([row().failure, life.store.flags()], ["capacity", []]);
      assert.deepEqual(
        life.store.stockOuts().map(({ location }) => location),
        [...locations].sort(),
      );
    });

    it("does not ask again for what was sold out a moment ago, and forgets it when it is sold", async () => {
      const [pool = assert.fail()] = life.config.pools;
      life.config = { ...life.config, pools: [{ ...pool, otherServerTypes: ["cpx22"] }] };
      const until = life.clock.now() + 600_000;
      const [first = "", ...others] = pool.locations;
      for (const location of others) {
        life.store.recordStockOut({ serverType: "cx23", location, until }, "test");
      }
      put("creating");
      life.terraform.nextResult = failedRun("error during placement (resource_unavailable, abc)");
      await look();
      assert.deepEqual([row().state, row().location, row().serverType], ["creating", first, "cpx22"]);
      life.store.recordStockOut({ serverType: "cpx22", location: first, until }, "another build");
      await look();
      assert.deepEqual(life.terraform.calls, [`apply ${name} ${first}`, `apply ${name} ${first}`]);
      assert.ok(!life.store.stockOuts().some(({ serverType }) => serverType === "cpx22"));
    });

    it("waits for the placement group that a raised max_total needs", async () => {
      put("planned");
      life.store.changeMachine(name, "planned", { state: "creating" }, "test");
      const second = life.store.planMachine(
        newMachine("claw-test-two", { placementGroup: 1, secrets }),
        caps,
      );
      name = second?.name ?? assert.fail();
      life.store.changeMachine(name, "planned", { state: "creating", deadline: null }, "test");
      assert.deepEqual(await look(), { againInMs: 5_000 });
      assert.deepEqual(life.terraform.calls, []);
      assert.equal(row().state, "creating");
    });
  });

  describe("an error", () => {
    it("that may pass is tried again, with growing pauses, at least as long as the other side asked", async () => {
      put("creating");
      const pauses: number[] = [];
      for (let tries = 0; tries < 4; tries++) {
        life.terraform.nextError = border("transient", tries === 3 ? 90_000 : undefined);
        pauses.push((await look()).againInMs);
        assert.equal(row().nextLookAt, life.clock.now() + (pauses.at(-1) ?? 0));
      }
      assert.equal(row().state, "creating");
      assert.equal(row().attempts, 4);
      assert.ok(
        pauses.slice(0, 3).every((pause, index) => pause >= 0.8 * 2_000 * 2 ** index),
        String(pauses),
      );
      assert.ok((pauses[3] ?? 0) >= 90_000);
      assert.deepEqual(life.store.flags(), []);
    });

    for (const kind of ["quota", "auth"] as const) {
      it(`of kind ${kind} freezes the refill and calls a person, once`, async () => {
        for (const each of ["claw-test-one", "claw-test-two"]) {
          await life.clock.advance(1);
          put("creating", {}, each);
          life.terraform.nextError = border(kind);
          await look();
          assert.deepEqual([row().state, row().failure], ["failed", kind]);
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
        put("proving", { serverId: 101 });
        life.tailnet.nextError = new BorderError("no", { border: "tailnet", kind });
        const { deadline } = row();
        const { againInMs } = await look();
        assert.deepEqual([row().state, row().nextLookAt], ["proving", life.clock.now() + againInMs]);
        assert.ok((row().deadline ?? 0) > againInMs && row().deadline !== deadline);
        assert.equal(life.store.frozen()[0]?.border, "tailnet");
        await look();
        assert.deepEqual([row().state, life.store.frozen(), life.store.flags()], ["ready", [], []]);
      });
    }

    it("that would come again fails the machine, and nobody is called", async () => {
      put("preparing");
      life.ansible.nextError = border("permanent");
      await look();
      assert.equal(row().state, "failed");
      assert.deepEqual(life.store.flags(), []);
    });

    it("of our own making fails the machine and calls a person", async () => {
      put("preparing");
      life.ansible.nextError = new TypeError("x is not a function");
      await look();
      assert.equal(row().state, "failed");
      assert.equal(life.store.flags().length, 1);
    });

    it("that comes while the daemon stops changes nothing", async () => {
      put("preparing");
      const stop = new AbortController();
      stop.abort();
      life.ansible.nextError = border("permanent");
      assert.deepEqual(await look(stop.signal), { againInMs: 0 });
      assert.equal(row().state, "preparing");
      assert.equal(row().attempts, 0);
    });
  });

  for (const state of path) {
    it(`${state}: fails at its deadline, without another try`, async () => {
      put(state, { deadline: life.clock.now() });
      assert.deepEqual(await look(), { againInMs: 0 });
      assert.equal(row().state, "failed");
      assert.match(row().reason ?? "", new RegExp(`still ${state} at its deadline`));
      assert.deepEqual(life.terraform.calls, []);
      assert.deepEqual(life.armed.dropped, [name]);
      await look();
      assert.equal(row().state, "retiring");
    });
  }

  describe("booting", () => {
    it("logs in with the pinned key and pins the key that was born on the machine", async () => {
      put("booting");
      life.ssh.nextExec = { code: 0, stdout: `${bornKey.publicKey} root@x\n`, stderr: "" };
      await look();
      const [target] = life.ssh.targets;
      assert.equal(target?.hostKey, bootKey.publicKey);
      assert.equal(target?.username, "clawpool");
      assert.equal(target?.port, life.config.ssh.port);
      assert.equal(target?.privateKey.expose(), secrets.controllerKey);
      assert.equal(row().state, "preparing");
      assert.equal(row().hostKey, bornKey.publicKey.trim());
      assert.equal(row().nextHostKey, null);
    });

    it("has the new key on record before the machine shows it, and believes the machine after a crash there", async () => {
      put("booting");
      life.ssh.hostKey = bootKey.publicKey;
      life.ssh.nextExec = { code: 0, stdout: bornKey.publicKey, stderr: "" };
      life.ssh.onExec = (command) => {
        if (command !== firstBoot.install) return;
        assert.equal(row().nextHostKey, bornKey.publicKey);
        life.ssh.hostKey = bornKey.publicKey;
        life.ssh.onExec = () => {};
        throw new BorderError("cut", { border: "ssh", kind: "transient", code: "closed" });
      };
      await look();
      assert.equal(row().state, "booting");
      assert.equal(row().hostKey, bootKey.publicKey);
      await life.clock.advance(60_000);
      await look();
      assert.equal(row().state, "preparing");
      assert.equal(row().hostKey, bornKey.publicKey);
    });

    it("believes no third key", async () => {
      put("booting");
      life.store.changeMachine(name, "booting", { nextHostKey: bornKey.publicKey }, "");
      life.ssh.hostKey = generateKeyPair().publicKey;
      await look();
      assert.equal(row().state, "failed");
      assert.deepEqual(life.ssh.commands, []);
    });

    for (const [what, exec] of [
      ["fails", { code: 1, stdout: bornKey.publicKey, stderr: "no" }],
      ["prints no key", { code: 0, stdout: "hello", stderr: "" }],
      ["prints a key of another kind", { code: 0, stdout: "ssh-rsa AAAAB3Nza", stderr: "" }],
    ] as const) {
      it(`gives up a machine whose first boot ${what}`, async () => {
        put("booting");
        life.ssh.nextExec = exec;
        await look();
        assert.equal(row().state, "failed");
        assert.equal(row().hostKey, bootKey.publicKey);
      });
    }
  });

  describe("preparing", () => {
    it("runs the playbook with the pool's token as a secret, and records what is installed", async () => {
      put("preparing");
      await look();
      const [run] = life.ansible.runs;
      assert.equal(run?.machine, name);
      assert.equal(run?.secretVars.clawpool_pool_token?.expose(), secrets.poolToken);
      assert.ok(!JSON.stringify(run?.vars).includes(secrets.poolToken));
      assert.equal(run?.timeoutMs, 600_000, "the rest of the state's time");
      assert.equal(row().state, "proving");
      assert.deepEqual(row().installed, { openclaw: "1.2.3" });
    });

    it("tries a failed download again, and fails for a failed task", async () => {
      put("preparing");
      const failure = { task: "fetch", message: "timed out", kind: "transient" } as const;
      life.ansible.nextResult = { ok: false, failure };
      await look();
      assert.equal(row().state, "preparing");
      life.ansible.nextResult = { ok: false, failure: { ...failure, kind: "permanent" } };
      await look();
      assert.equal(row().state, "failed");
      assert.match(row().reason ?? "", /"fetch": timed out/);
    });
  });

  describe("proving", () => {
    it("rehearses with a throw-away identity, keeps the new token and revokes the key", async () => {
      put("proving");
      await look();
      const [document] = life.armed.documents;
      assert.ok(document?.rehearsal && !document.dropAdmin);
      assert.equal(document.currentToken, secrets.poolToken);
      assert.equal(document.tailnet?.logout, true);
      assert.equal(life.tailnet.minted[0]?.ephemeral, true);
      assert.deepEqual(life.tailnet.minted[0]?.tags, life.config.tailnet?.rehearsalTags);
      assert.deepEqual(life.tailnet.revoked, ["key-1"]);
      assert.deepEqual(life.armed.dropped, [name]);
      assert.equal(row().state, "ready");
      assert.equal(row().deadline, null);
      assert.equal(row().readyAt, life.clock.now());
      assert.equal(life.store.machineSecrets(name).poolToken, document.gatewayToken);
    });

    it("rehearses anew, not the same again, when the first rehearsal's end was not heard", async () => {
      put("proving");
      life.armed.runErrors = [border("transient")];
      await look();
      await life.clock.advance(60_000);
      await look();
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
        put("proving");
        life.armed.nextAttestation = attestation;
        await look();
        assert.equal(row().state, "failed");
        assert.equal(row().reason, missing);
        assert.deepEqual(life.tailnet.revoked, ["key-1"]);
        assert.equal(life.store.machineSecrets(name).poolToken, secrets.poolToken);
      });
    }
  });

  describe("ready", () => {
    const putReady = (text: string) => {
      name = makeReady(life.store, text, { secrets });
      life.store.changeMachine(name, "ready", { deadline: null }, "test");
    };
    beforeEach(() => putReady("claw-test-one"));

    it("keeps the connection armed", async () => {
      assert.deepEqual(await look(), { againInMs: 60_000 });
      assert.equal(life.armed.ensured[0]?.target.username, "root");
      assert.equal(row().state, "ready");
    });

    it("forgets a miss when the machine is armed again", async () => {
      life.armed.nextError = border("transient");
      const { againInMs } = await look();
      assert.ok(againInMs >= 1_600 && againInMs <= 2_400, String(againInMs));
      assert.equal(row().attempts, 1);
      await look();
      assert.equal(row().attempts, 0);
      assert.equal(row().state, "ready");
    });

    it("counts half a minute without being armed as one miss, and retires at the second, not sooner", async () => {
      const waitForMiss = async (misses: number) => {
        let waited = 0;
        for (let tries = 0; row().misses < misses; tries++) {
          assert.ok(tries < 10, "it is never counted");
          life.armed.nextError = border("transient");
          waited += (await look()).againInMs;
        }
        return waited;
      };
      const waited = await waitForMiss(1);
      assert.ok(waited >= 48_000 && waited <= 72_000, `with the pause behind it, ${waited}`);
      assert.equal(row().state, "ready");
      await waitForMiss(2);
      assert.equal(row().state, "retiring");
      assert.match(row().reason ?? "", /missed two proofs, the second: a transient error/);
    });

    it("retires a machine whose pool is gone", async () => {
      life.config = { ...life.config, pools: [] };
      await look();
      assert.equal(row().state, "retiring");
    });

    it("takes over what the machine itself has on record as installed", async () => {
      life.armed.installed = { recipe: "recipe-0" };
      await look();
      assert.deepEqual(row().installed, { recipe: "recipe-0" });
      const rows = life.store.auditRows({ subject: name }).length;
      await look();
      assert.equal(life.store.auditRows({ subject: name }).length, rows);
    });

    describe("is proved again", () => {
      const everyMs = () => life.config.pools[0]?.proof.everyMs ?? assert.fail();
      const due = async () => {
        await life.clock.advance(everyMs() * 1.2);
        assert.deepEqual(await look(), { againInMs: 0 });
        assert.equal(row().state, "proving");
      };

      it("by the same rehearsal, at its own time, and keeps its age", async () => {
        const before = row();
        await life.clock.advance(everyMs() * 0.8 - 1);
        await look();
        assert.equal(row().state, "ready", "not before 80 %");
        await life.clock.advance(everyMs() * 0.4 + 1);
        await look();
        await look();
        const [document] = life.armed.documents;
        assert.equal(document?.rehearsal, true);
        assert.equal(document?.currentToken, secrets.poolToken);
        const { state, readyAt, provedAt, stateSince, misses } = row();
        assert.deepEqual({ state, readyAt, misses }, { state: "ready", readyAt: before.readyAt, misses: 0 });
        assert.equal(provedAt, life.clock.now());
        assert.equal(stateSince, life.clock.now());
        assert.equal(life.store.machineSecrets(name).poolToken, document?.gatewayToken);
        assert.equal(life.store.builds("small").length, 1, "it is no second build");
      });

      it("one at a time", async () => {
        const first = name;
        putReady("claw-test-two");
        await due();
        name = first;
        assert.deepEqual(await look(), { againInMs: 1_000 });
        assert.equal(row().state, "ready");
      });

      it("soon after a miss, claimed last meanwhile, and retired at the second in a row only", async () => {
        await due();
        life.armed.runErrors = [border("permanent")];
        await look();
        assert.equal(row().state, "ready");
        assert.equal(row().misses, 1);
        await life.clock.advance(72_000);
        await look();
        await look();
        assert.equal(row().misses, 0, "a proof that does well forgets the miss");
        for (const wanted of ["ready", "retiring"]) {
          if (wanted === "ready") await due();
          else {
            await life.clock.advance(72_000);
            await look();
          }
          life.armed.runErrors = [border("permanent")];
          await look();
          assert.equal(row().state, wanted);
        }
        assert.match(row().reason ?? "", /missed two proofs/);
        assert.equal(life.store.builds("small").filter(({ ok }) => !ok).length, 0);
        assert.deepEqual(life.store.flags(), []);
      });

      it("and a proof that hangs until its deadline is a miss", async () => {
        await due();
        await life.clock.advance(life.config.deadlines.provingMs);
        await look();
        assert.deepEqual([row().state, row().misses], ["ready", 1]);
      });

      it("and Tailscale's API that is away is no miss", async () => {
        for (let tries = 0; tries < 3; tries++) {
          if (row().state === "ready") await due();
          life.tailnet.nextError = new BorderError("503", { border: "tailnet", kind: "transient" });
          await look();
          assert.deepEqual([row().state, row().misses], ["ready", 0]);
        }
      });

      it("at once when its program has lost the gateway", async () => {
        life.armed.gateway = false;
        await life.clock.advance(72_000);
        await look();
        assert.equal(row().state, "proving");
      });

      it("and when most machines cannot be reached at once, none is retired, and a person is told once", async () => {
        const names = [name];
        for (const text of ["claw-test-two", "claw-test-three"]) {
          putReady(text);
          names.push(name);
        }
        const cut = new BorderError("timed out", { border: "ssh", kind: "transient", code: "timeout" });
        const missAll = async () => {
          for (const each of names) {
            name = each;
            life.store.changeMachine(name, "ready", { state: "proving", deadline: null }, "test");
            life.armed.nextError = cut;
            await look();
          }
        };
        await missAll();
        await missAll();
        const states = () => names.map((each) => life.store.machine(each)?.state);
        assert.deepEqual(states(), ["ready", "ready", "ready"]);
        assert.deepEqual(
          life.store.flags().map(({ kind }) => kind),
          ["ready-unreachable"],
        );
        for (const each of names.slice(0, 2)) {
          name = each;
          life.store.changeMachine(name, "ready", { state: "proving", deadline: null }, "test");
          await look();
        }
        assert.deepEqual(life.store.flags(), []);
        name = names[2] ?? assert.fail();
        life.store.changeMachine(name, "ready", { state: "proving", deadline: null }, "test");
        life.armed.nextError = cut;
        await look();
        assert.equal(row().state, "retiring", "one alone is its own fault");
      });
    });
  });
});
