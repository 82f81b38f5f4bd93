/** What is done about each terraform state that a look can find: adopt it, refuse it, or put it aside. */
import { strict as assert } from "node:assert";
import { BorderError } from "../../pool/errors.ts";
import { reconcile } from "../../pool/machine/lifecycle.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { caps, makeReady, newMachine, newOrder, pay } from "../store/rows.ts";
import { type Life, startLife, stateOf } from "./fakes.ts";

const secrets = {
  controllerKey: generateKeyPair().privateKey.expose(),
  bootHostKey: generateKeyPair().privateKey.expose(),
  poolToken: "pool-token-of-the-machine",
};

describe("the terraform state of a machine", () => {
  let life: Life;
  const name = "claw-test-one" as MachineName;
  const row = () => life.store.machine(name) ?? assert.fail();
  const look = () => reconcile(name, life.context, new AbortController().signal);
  const flags = () => life.store.flags().filter(({ kind }) => kind === "terraform-state");
  const runs = () => life.terraform.calls.filter((call) => !call.startsWith("forget"));
  const actions = () => life.store.auditRows().map(({ action }) => action);
  const remembered = (serverId: number | null, serial = 1) =>
    life.store.rememberState(name, {
      lineage: "l",
      serial,
      resources: serverId === null ? 0 : 1,
      serverId,
      document: JSON.stringify(stateOf(serverId, { serial })),
    });

  beforeEach(() => {
    life = startLife();
  });
  afterEach(() => {
    assert.equal(life.gate.open, 0, "a run of the gate was left open");
    life.store.close();
  });

  describe("while it is created", () => {
    const create = (serverId: number | null = null) => {
      life.store.planMachine(newMachine(name, { secrets }), caps);
      const change = { state: "creating", deadline: life.clock.now() + 600_000, serverId } as const;
      life.store.changeMachine(name, "planned", change, "test");
    };
    const buys = () => {
      life.terraform.onApply = (input) =>
        life.terraform.states.set(name, stateOf(life.cloud.put(input.name).id, { serial: 3 }));
    };

    it("waits, and says why, while what all machines share would have to change and cannot", async () => {
      create();
      buys();
      life.platformWaits = "the platform's state is refused";
      const { deadline } = row();
      await life.clock.advance(300_000);
      assert.deepEqual(await look(), { againInMs: 60_000 });
      assert.deepEqual([row().state, row().reason, runs()], ["creating", life.platformWaits, []]);
      assert.ok((row().deadline ?? 0) > (deadline ?? 0), "its time does not run out meanwhile");
      life.platformWaits = null;
      await look();
      assert.deepEqual([row().reason, runs().length], [null, 1]);
    });

    for (const [what, prepare] of [
      ["is none", () => {}],
      [
        "is empty, because a run did not live to fill it",
        () => life.terraform.states.set(name, stateOf(null, { empty: true })),
      ],
      ["has nothing, because the order was refused", () => life.terraform.states.set(name, stateOf(null))],
    ] as const) {
      it(`${what}: the server is bought, and what the run left is remembered`, async () => {
        create();
        prepare();
        buys();
        await look();
        assert.deepEqual(runs(), [`apply ${name} fsn1`]);
        const { serial, lineage, resources, serverId, document } =
          life.store.terraformState(name) ?? assert.fail();
        const [made] = life.cloud.list.values();
        assert.deepEqual(
          { serial, lineage, resources, serverId },
          { serial: 3, lineage: "l", resources: 1, serverId: made?.id },
        );
        assert.equal(JSON.parse(document).serverId, made?.id);
        await look();
        assert.equal(row().state, "booting");
        assert.deepEqual(flags(), []);
      });
    }

    for (const [what, prepare] of [
      ["none", () => {}],
      ["an empty one", () => life.terraform.states.set(name, stateOf(null, { empty: true }))],
      ["one without a server", () => life.terraform.states.set(name, stateOf(null))],
    ] as const) {
      it(`is ${what}, though the gate saw the server being made: it is imported when it runs, not bought again`, async () => {
        const server = life.cloud.put(name, { status: "starting" });
        create(server.id);
        prepare();
        assert.deepEqual(await look(), { againInMs: 2_000 });
        assert.deepEqual(runs(), []);
        life.cloud.list.set(server.id, { ...server, status: "running" });
        await look();
        assert.deepEqual(runs(), [`import ${name} ${server.id}`]);
        assert.ok(
          life.gate.permits.every((permit) => permit.kind === "machine" && !permit.create && !permit.destroy),
        );
        assert.equal(life.store.terraformState(name)?.serverId, server.id);
        await look();
        assert.deepEqual([row().state, row().serverId], ["booting", server.id]);
      });
    }

    it("has a tainted server: the taint is taken away when it runs, and nothing is applied over it", async () => {
      for (const known of [false, true]) {
        life.store.close();
        life = startLife();
        const server = life.cloud.put(name, { status: "starting" });
        create(known ? server.id : null);
        life.terraform.states.set(name, stateOf(server.id, { tainted: true }));
        assert.deepEqual(await look(), { againInMs: 2_000 });
        life.cloud.list.set(server.id, { ...server, status: "running" });
        await look();
        await look();
        assert.deepEqual(runs(), [`untaint ${name}`]);
        assert.deepEqual([row().state, row().serverId], ["booting", server.id]);
      }
    });

    for (const tainted of [false, true]) {
      it(`has a server${tainted ? ", tainted," : ""} that is gone: the machine fails, and nothing is run`, async () => {
        create();
        life.terraform.states.set(name, stateOf(101, { tainted }));
        await look();
        assert.equal(row().state, "failed");
        assert.deepEqual(runs(), []);
      });
    }

    it("has no server, and the one that the gate saw is gone or is not its own: the machine fails", async () => {
      for (const other of [null, life.cloud.put("claw-test-other").id]) {
        life.store.close();
        const { cloud } = life;
        life = startLife();
        for (const server of cloud.list.values()) life.cloud.list.set(server.id, server);
        create(other ?? 999);
        await look();
        assert.equal(row().state, "failed");
        assert.deepEqual(runs(), []);
      }
    });

    it("is another machine's: refused with a flag; its own server goes by its id, the other's is not touched", async () => {
      const [mine, other] = [life.cloud.put(name), life.cloud.put("claw-test-other")];
      create(mine.id);
      life.terraform.states.set(name, stateOf(other.id, { lineage: "other" }));
      await look();
      assert.equal(row().state, "failed");
      const [flag] = flags();
      assert.match(
        flag?.text ?? "",
        new RegExp(`terraform.tfstate: it is about server ${other.id}; expected server ${mine.id}`),
      );
      assert.match(flag?.text ?? "", new RegExp(`clawpool state import ${name}`));
      await look();
      const deleted: number[] = [];
      Object.assign(life.gate, {
        deleteServer: async (_run: unknown, id: number) => {
          deleted.push(id);
          life.cloud.list.delete(id);
        },
      });
      await look();
      assert.deepEqual(deleted, [mine.id]);
      assert.deepEqual(runs(), [`put aside ${name}`], "terraform was not run on it");
      await look();
      assert.equal(row().state, "destroyed");
      assert.ok(life.cloud.list.has(other.id));
      assert.ok(actions().includes("terraform.state-refused"));
    });

    it("names a server of another name, where none was known: refused", async () => {
      create();
      life.terraform.states.set(name, stateOf(life.cloud.put("claw-test-other").id));
      await look();
      assert.equal(row().state, "failed");
      assert.match(row().reason ?? "", /is named claw-test-other/);
      assert.deepEqual(runs(), []);
    });
  });

  describe("while it serves a customer", () => {
    let serverId: number;

    beforeEach(() => {
      life.terraform.onApply = () => {
        const state = life.terraform.states.get(name);
        if (state) life.terraform.states.set(name, { ...state, serial: state.serial + 1 });
      };
      makeReady(life.store, name, { secrets });
      serverId = life.cloud.put(name).id;
      life.store.changeMachine(name, "ready", { serverId, deadline: null }, "test");
      life.store.createOrder(newOrder("o-1"));
      pay(life.store, "o-1");
      life.store.changeMachine(name, "claimed", { state: "handing-over" }, "test");
      life.store.recordServing(name, { tailnetNode: null, tailnetAddress: null });
      life.store.changeMachine(name, "serving", { enrolled: true }, "test");
      remembered(serverId, 5);
      life.terraform.states.set(name, stateOf(serverId, { serial: 5 }));
    });

    it("is as the last run left it: labels are applied under guard, and the new serial is remembered", async () => {
      await look();
      assert.deepEqual(
        life.terraform.applied.map(({ guard }) => guard),
        [serverId],
      );
      assert.equal(row().labelled, true);
      assert.equal(life.store.terraformState(name)?.serial, 6);
    });

    it("is newer, and the cloud agrees: accepted with an audit row", async () => {
      life.terraform.states.set(name, stateOf(serverId, { serial: 9 }));
      await look();
      const accepted = life.store.auditRows().find(({ action }) => action === "terraform.state-accepted");
      assert.deepEqual([accepted?.before?.serial, accepted?.after?.serial], [5, 9]);
      assert.equal(row().labelled, true);
    });

    it("was tainted by somebody: the taint is taken away before anything is applied", async () => {
      life.terraform.states.set(name, stateOf(serverId, { serial: 6, tainted: true }));
      await look();
      assert.deepEqual(runs(), [`untaint ${name}`, `apply ${name} fsn1`]);
    });

    it("never was there: the server is imported", async () => {
      life.store.rememberState(name, null);
      life.terraform.states.delete(name);
      await look();
      assert.deepEqual(runs(), [`import ${name} ${serverId}`, `apply ${name} fsn1`]);
    });

    const broken: [string, () => void, RegExp][] = [
      ["is gone", () => life.terraform.states.delete(name), /the file is missing/],
      [
        "was emptied",
        () => life.terraform.states.set(name, stateOf(null, { empty: true })),
        /the file is empty/,
      ],
      ["is damaged", () => life.terraform.unreadable.add(name), /not a terraform state/],
      [
        "is older",
        () => life.terraform.states.set(name, stateOf(serverId, { serial: 4 })),
        /its serial is 4/,
      ],
      [
        "is of another lineage",
        () => life.terraform.states.set(name, stateOf(serverId, { serial: 9, lineage: "m" })),
        /lineage is m/,
      ],
      [
        "has fewer resources",
        () => life.terraform.states.set(name, stateOf(null, { serial: 5 })),
        /it has 0 resources/,
      ],
      [
        "has dropped a server that exists",
        () => life.terraform.states.set(name, stateOf(null, { serial: 6 })),
        /does not know server \d+, which exists/,
      ],
      [
        "is another machine's",
        () => life.terraform.states.set(name, stateOf(8, { serial: 9, lineage: "m" })),
        /it is about server 8/,
      ],
    ];
    for (const [what, breakIt, why] of broken) {
      it(`${what}: nothing is applied, and a person is told of file, expectation and remedy`, async () => {
        breakIt();
        for (let looks = 0; looks < 3; looks++) await look();
        assert.deepEqual(runs(), []);
        const [flag, ...more] = flags();
        assert.deepEqual(more, []);
        const text = flag?.text ?? "";
        assert.match(text, why);
        assert.match(text, /^\/terraform\/machines\/claw-test-one\/terraform\.tfstate: /);
        assert.match(
          text,
          new RegExp(`expected lineage l, serial 5 or later, 1 resources, server ${serverId}`),
        );
        assert.match(text, /clawpool state restore claw-test-one.*clawpool state import claw-test-one/);
        assert.deepEqual([row().state, row().labelled], ["serving", false]);
      });
    }

    it("is looked at again when the cloud does not say whether a newer one is right", async () => {
      life.terraform.states.set(name, stateOf(serverId, { serial: 9 }));
      life.cloud.nextError = new BorderError("503", { border: "cloud", kind: "transient" });
      assert.ok((await look()).againInMs > 0);
      assert.deepEqual([runs(), flags()], [[], []]);
    });
  });
});
