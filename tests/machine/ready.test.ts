/** A machine that waits: armed, proved again and again, retired when it misses. */
import { strict as assert } from "node:assert";
import { BorderError } from "../../pool/errors.ts";
import { makeReady } from "../store/rows.ts";
import { border, building, secrets } from "./building.ts";
import type { Life } from "./fakes.ts";

describe("a machine that is ready", () => {
  const machine = building();
  let life: Life;
  beforeEach(() => {
    life = machine.life;
    putReady("claw-test-one");
  });
  const putReady = (text: string) => {
    machine.name = makeReady(life.store, text, { secrets });
    life.store.changeMachine(machine.name, "ready", { deadline: null }, "test");
  };

  it("keeps the connection armed", async () => {
    assert.deepEqual(await machine.look(), { againInMs: 60_000 });
    assert.equal(life.armed.ensured[0]?.target.username, "root");
    assert.equal(machine.row().state, "ready");
  });

  it("forgets a miss when the machine is armed again", async () => {
    life.armed.nextError = border("transient");
    const { againInMs } = await machine.look();
    assert.ok(againInMs >= 1_600 && againInMs <= 2_400, String(againInMs));
    assert.equal(machine.row().attempts, 1);
    await machine.look();
    assert.equal(machine.row().attempts, 0);
    assert.equal(machine.row().state, "ready");
  });

  it("counts half a minute without being armed as one miss, and retires at the second, not sooner", async () => {
    const waitForMiss = async (misses: number) => {
      let waited = 0;
      for (let tries = 0; machine.row().misses < misses; tries++) {
        assert.ok(tries < 10, "it is never counted");
        life.armed.nextError = border("transient");
        waited += (await machine.look()).againInMs;
      }
      return waited;
    };
    const waited = await waitForMiss(1);
    assert.ok(waited >= 48_000 && waited <= 72_000, `with the pause behind it, ${waited}`);
    assert.equal(machine.row().state, "ready");
    await waitForMiss(2);
    assert.equal(machine.row().state, "retiring");
    assert.match(machine.row().reason ?? "", /missed two proofs, the second: a transient error/);
  });

  it("retires a machine whose pool is gone", async () => {
    life.config = { ...life.config, pools: [] };
    await machine.look();
    assert.equal(machine.row().state, "retiring");
  });

  it("takes over what the machine itself has on record as installed", async () => {
    life.armed.installed = { recipe: "recipe-0" };
    await machine.look();
    assert.deepEqual(machine.row().installed, { recipe: "recipe-0" });
    const rows = life.store.auditRows({ subject: machine.name }).length;
    await machine.look();
    assert.equal(life.store.auditRows({ subject: machine.name }).length, rows);
  });

  describe("is proved again", () => {
    const everyMs = () => life.config.pools[0]?.proof.everyMs ?? assert.fail();
    const due = async () => {
      await life.clock.advance(everyMs() * 1.2);
      assert.deepEqual(await machine.look(), { againInMs: 0 });
      assert.equal(machine.row().state, "proving");
    };

    it("by the same rehearsal, at its own time, and keeps its age", async () => {
      const before = machine.row();
      await life.clock.advance(everyMs() * 0.8 - 1);
      await machine.look();
      assert.equal(machine.row().state, "ready", "not before 80 %");
      await life.clock.advance(everyMs() * 0.4 + 1);
      await machine.look();
      await machine.look();
      const [document] = life.armed.documents;
      assert.equal(document?.rehearsal, true);
      assert.equal(document?.currentToken, secrets.poolToken);
      const { state, readyAt, provedAt, stateSince, misses } = machine.row();
      assert.deepEqual({ state, readyAt, misses }, { state: "ready", readyAt: before.readyAt, misses: 0 });
      assert.equal(provedAt, life.clock.now());
      assert.equal(stateSince, life.clock.now());
      assert.equal(life.store.machineSecrets(machine.name).poolToken, document?.gatewayToken);
      assert.equal(life.store.builds("small").length, 1, "it is no second build");
    });

    it("one at a time", async () => {
      const first = machine.name;
      putReady("claw-test-two");
      await due();
      machine.name = first;
      assert.deepEqual(await machine.look(), { againInMs: 1_000 });
      assert.equal(machine.row().state, "ready");
    });

    it("soon after a miss, claimed last meanwhile, and retired at the second in a row only", async () => {
      await due();
      life.armed.runErrors = [border("permanent")];
      await machine.look();
      assert.equal(machine.row().state, "ready");
      assert.equal(machine.row().misses, 1);
      await life.clock.advance(72_000);
      await machine.look();
      await machine.look();
      assert.equal(machine.row().misses, 0, "a proof that does well forgets the miss");
      for (const wanted of ["ready", "retiring"]) {
        if (wanted === "ready") await due();
        else {
          await life.clock.advance(72_000);
          await machine.look();
        }
        life.armed.runErrors = [border("permanent")];
        await machine.look();
        assert.equal(machine.row().state, wanted);
      }
      assert.match(machine.row().reason ?? "", /missed two proofs/);
      assert.equal(life.store.builds("small").filter(({ ok }) => !ok).length, 0);
      assert.deepEqual(life.store.flags(), []);
    });

    for (const [what, code] of [
      ["that it is another order's", "another-order"],
      ["by an older program that it will not", "order"],
    ]) {
      it(`and says ${what}: it is held for a person, never retired, and the others are proved on`, async () => {
        const first = machine.name;
        await due();
        life.armed.runErrors = [new BorderError("no", { border: "machine", kind: "permanent", code })];
        assert.deepEqual(await machine.look(), { againInMs: 0 });
        const { state, misses, deadline, held } = machine.row();
        assert.deepEqual([state, misses, deadline], ["proving", 0, null]);
        assert.match(held ?? "", /has an order of which its row does not know/);
        const [flag, ...more] = life.store.flags();
        assert.deepEqual([flag?.kind, flag?.subject, more], ["another-order", first, []]);
        assert.match(flag?.text ?? "", /recover release --machine claw-test-one.* has it proved again/);
        putReady("claw-test-two");
        await due();
      });
    }

    it("and a proof that hangs until its deadline is a miss", async () => {
      await due();
      await life.clock.advance(life.config.deadlines.provingMs);
      await machine.look();
      assert.deepEqual([machine.row().state, machine.row().misses], ["ready", 1]);
    });

    it("and Tailscale's API that is away is no miss", async () => {
      for (let tries = 0; tries < 3; tries++) {
        if (machine.row().state === "ready") await due();
        life.tailnet.nextError = new BorderError("503", { border: "tailnet", kind: "transient" });
        await machine.look();
        assert.deepEqual([machine.row().state, machine.row().misses], ["ready", 0]);
      }
    });

    it("at once when its program has lost the gateway", async () => {
      life.armed.gateway = false;
      await life.clock.advance(72_000);
      await machine.look();
      assert.equal(machine.row().state, "proving");
    });

    it("and when most machines cannot be reached at once, none is retired, and a person is told once", async () => {
      const names = [machine.name];
      for (const text of ["claw-test-two", "claw-test-three"]) {
        putReady(text);
        names.push(machine.name);
      }
      const cut = new BorderError("timed out", { border: "ssh", kind: "transient", code: "timeout" });
      const missAll = async () => {
        for (const each of names) {
          machine.name = each;
          life.store.changeMachine(machine.name, "ready", { state: "proving", deadline: null }, "test");
          life.armed.nextError = cut;
          await machine.look();
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
        machine.name = each;
        life.store.changeMachine(machine.name, "ready", { state: "proving", deadline: null }, "test");
        await machine.look();
      }
      assert.deepEqual(life.store.flags(), []);
      machine.name = names[2] ?? assert.fail();
      life.store.changeMachine(machine.name, "ready", { state: "proving", deadline: null }, "test");
      life.armed.nextError = cut;
      await machine.look();
      assert.equal(machine.row().state, "retiring", "one alone is its own fault");
    });
  });
});
