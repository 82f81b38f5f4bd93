import { strict as assert } from "node:assert";
import { pino } from "pino";
import { BorderError } from "../../pool/errors.ts";
import { createLedger } from "../../pool/ledger.ts";
import type { Loop } from "../../pool/loop.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { BusyError, createPeople, type People } from "../../pool/people/people.ts";
import { createPlatform, type Platform } from "../../pool/platform/platform.ts";
import { systemRandom } from "../../pool/random.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";
import { settled } from "../virtual-clock.ts";

const keys = {
  controllerKey: generateKeyPair().privateKey.expose(),
  bootHostKey: generateKeyPair().privateKey.expose(),
  poolToken: "pool-token-of-the-machine",
};

/** The loop's holds alone: `flying` are the machines that the daemon works on. */
class FakeLoop implements Pick<Loop, "hold" | "poke"> {
  readonly flying = new Set<string>();
  readonly held = new Set<string>();
  readonly poked: (string | undefined)[] = [];
  poke(name?: MachineName): void {
    this.poked.push(name);
  }
  hold(name: MachineName) {
    if (this.flying.has(name) || this.held.has(name)) return null;
    this.held.add(name);
    return () => {
      this.held.delete(name);
      this.poke(name);
    };
  }
}

describe("people's commands", () => {
  let life: Life;
  let loop: FakeLoop;
  let platform: Platform;
  let people: People;
  let newPeople: () => People;
  let [one, two]: MachineName[] = [];
  const begin = (command: string, stacks: readonly string[], actor = "person:ada") =>
    people.begin({ command, stacks, actor });
  const state = (name = one) => life.store.machine(name as MachineName)?.state;

  function warm(text: string): MachineName {
    const name = makeReady(life.store, text, { secrets: keys });
    life.store.changeMachine(name, "ready", { serverId: life.cloud.put(text).id, deadline: null }, "test");
    return name;
  }

  beforeEach(async () => {
    life = startLife();
    loop = new FakeLoop();
    const log = pino({ level: "silent" });
    const sealer = createSealer([newSealingKey()]);
    const { store, terraform, gate, cloud } = life;
    platform = createPlatform({
      store,
      sealer,
      terraform,
      gate,
      cloud,
      config: () => life.config,
      clock: life.clock,
      random: systemRandom,
      log,
    });
    newPeople = () =>
      createPeople({
        context: life.context,
        gate,
        loop: loop as unknown as Loop,
        platform,
        terraformRoot: "/var/lib/clawpool/terraform",
      });
    people = newPeople();
    one = warm("claw-test-one");
    two = warm("claw-test-two");
  });
  afterEach(() => {
    people.close();
    assert.equal(life.gate.open, 0, "a run of the gate was left open");
    assert.equal(loop.held.size, 0, "a lock was left");
    life.store.close();
  });

  it("get all live machines with a server, a permit for the named ones alone, and an audit row", () => {
    const grant = begin("destroy", [one as string]);
    assert.deepEqual(
      grant.stacks.machines.map(({ name }) => name),
      [one, two],
    );
    assert.equal(grant.stacks.stateDir, "/var/lib/clawpool/terraform");
    assert.deepEqual(life.gate.permits, [
      {
        kind: "people",
        actor: "person:ada",
        machines: [one],
        platform: false,
        update: true,
        destroy: true,
        priority: "person",
      },
    ]);
    assert.deepEqual([...loop.held], [one]);
    const [row] = life.store.auditRows().filter(({ action }) => action === "people.destroy");
    assert.equal(row?.actor, "person:ada");
    assert.ok(!JSON.stringify(row).includes(grant.token));
  });

  it("cannot take the platform away from under machines", () => {
    for (const stacks of [["platform"], [one as string, two as string, "platform"]])
      assert.throws(
        () => begin("destroy", stacks),
        /2 machines live on what the platform holds; destroy them/,
      );
    assert.equal(life.gate.permits.length, 0);
    begin("apply", ["platform"]);
    for (const name of [one, two]) {
      life.store.changeMachine(name as MachineName, "ready", { state: "retiring" }, "test");
      life.store.recordDestroyed(name as MachineName);
    }
    begin("destroy", ["platform"]);
    assert.deepEqual(
      life.gate.permits.map((permit) => permit.kind === "people" && permit.platform && permit.destroy),
      [false, true],
    );
  });

  for (const command of ["list", "diff", "plan", "output"]) {
    it(`lock nothing and may write nothing for ${command}`, () => {
      loop.flying.add(one as string);
      begin(command, command === "list" ? [] : [one as string]);
      const [permit] = life.gate.permits;
      assert.ok(permit?.kind === "people" && !permit.update && !permit.destroy);
      assert.equal(loop.held.size, 0);
    });
  }

  for (const command of ["deploy", "apply"]) {
    it(`may update but not destroy for ${command}`, () => {
      begin(command, [one as string]);
      const [permit] = life.gate.permits;
      assert.ok(permit?.kind === "people" && permit.update && !permit.destroy && !permit.platform);
    });
  }

  it("are refused by name when a stack does not live", () => {
    assert.throws(() => begin("diff", ["claw-test-none"]), /no live machine is named claw-test-none/);
    assert.deepEqual(life.gate.permits, []);
  });

  it("are told who works on the machine, and keep no lock of the others", () => {
    loop.flying.add(two as string);
    assert.throws(() => begin("destroy", [one as string, two as string]), {
      name: "BusyError",
      message: `the daemon works on ${two} now (ready); try again when it has finished`,
    });
    assert.equal(loop.held.size, 0);
    assert.equal(people.holds(one as string), false);
    assert.deepEqual(life.gate.permits, []);
    const row = life.store.auditRows().at(-1);
    assert.deepEqual(
      [row?.actor, row?.action, row?.subject],
      ["person:ada", "people.refused", `${one} ${two}`],
    );
    assert.match(row?.why ?? "", /the daemon works on/);
  });

  it("name the person and the command in the rows of what they hold", () => {
    const { id } = begin("deploy", [one as string]);
    const row = life.store.auditRows({ subject: one as string }).findLast(({ after }) => after?.withheld);
    assert.deepEqual([row?.actor, row?.run, row?.after], ["person:ada", id, { withheld: true }]);
    people.end(id, 0);
  });

  it("leave a row of what the gate refused them or mended", () => {
    const ledger = createLedger(life.store, life.clock, () => false);
    begin("deploy", [one as string]);
    const [permit] = life.gate.permits;
    ledger.recordRefusal(permit ?? assert.fail(), "DELETE /servers/1", "the order is live");
    ledger.recordRepair?.(permit ?? assert.fail(), "DELETE /servers/1 lost; the server is gone");
    const rows = life.store.auditRows({ subject: "people" });
    assert.deepEqual(
      rows.map(({ actor, action, why, detail }) => [actor, action, why, detail.request]),
      [
        ["person:ada", "gate.refused", "the order is live", "DELETE /servers/1"],
        ["person:ada", "gate.repaired", "DELETE /servers/1 lost; the server is gone", undefined],
      ],
    );
  });

  it("of one person do not lift each other's lock", () => {
    const first = begin("deploy", [one as string]);
    assert.throws(
      () => begin("destroy", [one as string]),
      (error: unknown) => {
        assert.ok(error instanceof BusyError);
        assert.match(error.message, /^person:ada works on/);
        return true;
      },
    );
    assert.ok(people.holds(one as string), "the first command still holds it");
    const second = begin("deploy", [two as string]);
    people.end(second.id, 0);
    assert.ok(people.holds(one as string));
    people.end(first.id, 0);
    assert.equal(people.holds(one as string), false);
  });

  it("may destroy a machine without an order only while they hold it, and never one with an order", () => {
    const ledger = createLedger(life.store, life.clock, (name) => people.holds(name));
    const may = (name = one) => ledger.machine(name as string)?.mayDestroy;
    assert.equal(may(), false);
    const grant = begin("destroy", [one as string]);
    assert.equal(may(), true);
    assert.equal(may(two), false);
    life.store.createOrder(newOrder("o-1"));
    pay(life.store, "o-1");
    const sold = life.store.order("o-1" as never)?.machine ?? assert.fail();
    assert.equal(sold, two, "a payment gets no machine that a person holds");
    people.end(grant.id, 0);
    const held = begin("destroy", [sold]);
    assert.equal(may(sold), false);
    people.end(held.id, 1);
  });

  it("give a machine back to the pool when they end, and when the daemon is started anew", async () => {
    const withheld = () => life.store.machine(one as MachineName)?.withheld;
    const grant = begin("deploy", [one as string]);
    assert.equal(withheld(), true);
    assert.throws(() => begin("deploy", [two as string, one as string]), BusyError);
    assert.equal(life.store.machine(two as MachineName)?.withheld, false, "of the refused command");
    people.end(grant.id, 0);
    await settled();
    assert.equal(withheld(), false);
    life.store.changeMachine(one as MachineName, "ready", { withheld: true }, "held when the daemon died");
    newPeople();
    assert.equal(withheld(), false);
  });

  describe("at their end", () => {
    it("close the row of a machine whose server is gone, at once", async () => {
      const grant = begin("destroy", [one as string]);
      life.cloud.list.delete(life.store.machine(one as MachineName)?.serverId ?? 0);
      people.end(grant.id, 0);
      await settled();
      assert.equal(state(), "retiring");
      assert.equal(life.store.machine(one as MachineName)?.reason, "destroyed by person:ada");
      assert.ok(loop.poked.includes(one));
      const [row] = life.store.auditRows().filter(({ action }) => action === "people.end");
      assert.deepEqual(row?.detail.calls, { upstream: 1, asked: 2 });
    });

    it("leave a machine whose server is still there as it was", async () => {
      people.end(begin("destroy", [one as string]).id, 1);
      await settled();
      assert.equal(state(), "ready");
    });

    it("leave everything to the sweep when the cloud does not answer", async () => {
      const grant = begin("destroy", [one as string]);
      life.cloud.list.clear();
      life.cloud.nextError = new BorderError("503", { border: "cloud", kind: "transient" });
      people.end(grant.id, 0);
      await settled();
      assert.equal(state(), "ready");
      assert.equal(loop.held.size, 0);
    });

    it("have a customer's stack applied again when the command failed, not when it went well", async () => {
      life.store.createOrder(newOrder("o-1"));
      pay(life.store, "o-1");
      const sold = life.store.order("o-1" as never)?.machine ?? assert.fail();
      life.store.changeMachine(sold, "claimed", { state: "handing-over" }, "test");
      life.store.recordServing(sold, { tailnetNode: null, tailnetAddress: null });
      life.store.changeMachine(sold, "serving", { labelled: true, enrolled: true }, "test");
      for (const [exitCode, labelled] of [
        [0, true],
        [1, false],
      ] as const) {
        people.end(begin("destroy", [sold]).id, exitCode);
        await settled();
        assert.equal(life.store.machine(sold)?.labelled, labelled);
        assert.equal(state(sold), "serving");
      }
    });

    it("ask the cloud nothing after a command that only looked", async () => {
      people.end(begin("diff", [one as string]).id, 0);
      people.end("an id of an earlier daemon", 0);
      await settled();
      assert.deepEqual(life.cloud.calls, []);
    });
  });
});
