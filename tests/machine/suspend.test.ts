/** serving → suspended → serving: switched off while the order may not be served, and what comes in between. */
import { strict as assert } from "node:assert";
import { BorderError } from "../../pool/errors.ts";
import { reconcile } from "../../pool/machine/lifecycle.ts";
import type { MachineName, OrderId } from "../../pool/machine/machine.ts";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { event, makeReady, newOrder, pay } from "../store/rows.ts";
import { type Life, startLife, stateOf } from "./fakes.ts";

const minute = 60_000;
const day = 24 * 60 * minute;
const secrets = {
  controllerKey: generateKeyPair().privateKey.expose(),
  bootHostKey: generateKeyPair().privateKey.expose(),
  poolToken: "pool-token-of-the-machine",
};
const order = "o-1" as OrderId;
const isShutdown = ({ action }: { action: string }) => action === "machine.shutdown";
const away = () => new BorderError("no answer", { border: "cloud", kind: "transient" });

describe("a suspended machine", () => {
  let life: Life;
  let name: MachineName;
  let server: number;
  const row = () => life.store.machine(name) ?? assert.fail();
  const bought = () => life.store.order(order) ?? assert.fail();
  const look = () => reconcile(name, life.context, new AbortController().signal);
  const states = () => [row().state, bought().state];
  const status = (text: string) => {
    const shown = life.cloud.list.get(server) ?? assert.fail();
    life.cloud.list.set(server, { ...shown, status: text });
  };
  const suspend = () =>
    life.store.recordStanding(
      order,
      { suspension: { reason: "paused", text: "the subscription is paused" }, overdueSince: null },
      "test",
    );
  const allow = () => life.store.recordStanding(order, { suspension: null, overdueSince: null }, "test");
  const end = (releaseAt = life.clock.now()) =>
    life.store.endSubscription(event("evt_end"), {
      subscription: `sub_${order}`,
      releaseAt,
      reason: "cancelled",
    });
  /** Until it is off. */
  async function off(): Promise<void> {
    suspend();
    await look();
    await look();
    status("off");
    await look();
    assert.deepEqual(states(), ["suspended", "suspended"]);
  }

  beforeEach(async () => {
    life = startLife();
    name = makeReady(life.store, "claw-test-one", { secrets });
    server = life.cloud.put(name).id;
    life.store.changeMachine(name, "ready", { deadline: null, serverId: server }, "test");
    life.terraform.states.set(name, stateOf(server));
    life.store.createOrder(newOrder(order));
    pay(life.store, order);
    await look();
    await look();
    life.store.changeMachine(name, "serving", { enrolled: true, labelled: true }, "test");
    const nodeId = row().tailnetNode ?? assert.fail();
    const here = {
      hostname: name,
      name,
      addresses: [],
      tags: [],
      authorized: true,
      connectedToControl: true,
      createdAt: 0,
    };
    life.tailnet.known.set(nodeId, { nodeId, ...here });
    assert.deepEqual(states(), ["serving", "running"]);
  });
  afterEach(() => {
    assert.equal(life.gate.open, 0, "a run of the gate was left open");
    life.store.close();
  });

  it("is asked to shut down once, under a permit for its power alone, and is off when the cloud says so", async () => {
    suspend();
    await look();
    assert.deepEqual(states(), ["suspending", "suspended"]);
    assert.equal(bought().reason, "the subscription is paused");
    assert.deepEqual(life.gate.powered, [], "the intent is written first");
    for (let looks = 0; looks < 5; looks++) await look();
    assert.deepEqual(life.gate.powered, [`shutdown ${server}`]);
    const { create, update, destroy, power } = life.gate.permits.at(-1) as unknown as Record<string, boolean>;
    assert.deepEqual(
      { create, update, destroy, power },
      { create: false, update: false, destroy: false, power: true },
    );
    assert.equal(row().state, "suspending");
    const node = row().tailnetNode;
    status("off");
    await look();
    assert.deepEqual(states(), ["suspended", "suspended"]);
    assert.deepEqual([row().serverId, row().tailnetNode, row().deadline], [server, node, null]);
    assert.deepEqual([life.tailnet.deleted, life.terraform.calls], [[], []]);
  });

  it("is asked again when another action runs on the server, and has its time only then", async () => {
    suspend();
    await look();
    const locked = new BorderError("locked", { border: "cloud", kind: "transient", code: "locked" });
    life.gate.onPower = () => {
      throw locked;
    };
    await look();
    assert.deepEqual([row().state, row().deadline, row().attempts], ["suspending", null, 1]);
    assert.deepEqual(life.store.auditRows({ subject: name }).filter(isShutdown), []);
    life.gate.onPower = () => {};
    await look();
    assert.deepEqual(life.gate.powered, [`shutdown ${server}`, `shutdown ${server}`]);
    assert.equal(row().deadline, life.clock.now() + life.config.deadlines.suspendingMs);
    assert.equal(life.store.auditRows({ subject: name }).filter(isShutdown).length, 1);
  });

  it("loses its plug when it does not obey, as often as it takes", async () => {
    suspend();
    await look();
    await look();
    await life.clock.advance(life.config.deadlines.suspendingMs);
    await look();
    await look();
    assert.deepEqual(life.gate.powered.slice(1), [`poweroff ${server}`, `poweroff ${server}`]);
    assert.equal(row().state, "suspending");
  });

  it("is shown to a person when it runs on without its plug, until it is off", async () => {
    suspend();
    await look();
    await look();
    await life.clock.advance(2 * life.config.deadlines.suspendingMs - 1);
    await look();
    assert.deepEqual(life.store.flags(), []);
    await life.clock.advance(1);
    assert.equal((await look()).againInMs, minute);
    assert.match(life.store.flags()[0]?.text ?? "", /still runs though the subscription is paused/);
    status("off");
    await look();
    assert.deepEqual([states(), life.store.flags()], [["suspended", "suspended"], []]);
  });

  it("goes on after each error, behind its deadline too, and tells a person in the end", async () => {
    suspend();
    await look();
    await life.clock.advance(life.config.deadlines.suspendingMs);
    const aborted = AbortSignal.abort();
    for (let tries = 1; tries <= 10; tries++) {
      life.cloud.nextError = away();
      const { againInMs } = await reconcile(name, life.context, aborted);
      assert.ok(againInMs >= 1_000, `looked at again in ${againInMs} ms`);
    }
    assert.deepEqual(
      life.store.flags().map(({ kind, subject }) => [kind, subject]),
      [["stuck", name]],
    );
    assert.equal(row().state, "suspending");
    await reconcile(name, life.context, aborted);
    assert.deepEqual([life.store.flags(), row().attempts], [[], 0], "a later try did well");
  });

  it("is seen off before it resumes: a shutdown under way cannot be called off", async () => {
    suspend();
    await look();
    await look();
    allow();
    await look();
    assert.equal(row().state, "suspending");
    assert.deepEqual(life.gate.powered, [`shutdown ${server}`]);
    status("off");
    await look();
    await look();
    assert.deepEqual(states(), ["resuming", "suspended"]);
  });

  it("resumes: switched on, and running when unit, gateway and tailnet are proved", async () => {
    await off();
    allow();
    await look();
    assert.deepEqual(states(), ["resuming", "suspended"]);
    life.gate.onPower = () => status("starting");
    await look();
    assert.equal(life.gate.powered.at(-1), `poweron ${server}`);
    await look();
    assert.deepEqual(life.armed.inspected, [], "nobody asks a machine that starts");
    status("running");
    for (const lacks of [{ unit: "activating" }, { gateway: false }, { tailnet: "NeedsLogin" }]) {
      life.armed.nextHealth = lacks;
      await look();
      assert.deepEqual(states(), ["resuming", "suspended"], JSON.stringify(lacks));
    }
    life.armed.nextHealth = {};
    life.armed.nextError = new BorderError("refused", {
      border: "ssh",
      kind: "transient",
      code: "ECONNREFUSED",
    });
    await look();
    assert.equal(row().attempts, 0, "a machine that boots is no error");
    await look();
    assert.deepEqual(states(), ["serving", "running"]);
    assert.equal(bought().reason, null);
    assert.equal(life.armed.dropped.at(-1), name);
  });

  it("tells a person when it does not come back, restarts the gateway, and takes that back", async () => {
    await off();
    allow();
    await look();
    status("running");
    life.armed.nextHealth = { gateway: false };
    await life.clock.advance(life.config.deadlines.resumingMs);
    await look();
    assert.deepEqual(life.armed.inspected, ["repair"]);
    assert.deepEqual(
      life.store.flags().map(({ kind }) => kind),
      ["not-resumed"],
    );
    assert.equal(row().state, "resuming");
    life.armed.nextHealth = {};
    await look();
    assert.deepEqual([states(), life.store.flags()], [["serving", "running"], []]);
  });

  it("serves unproved, in the end, when it lets nobody in any more", async () => {
    await off();
    allow();
    await look();
    status("running");
    const stranger = () =>
      new BorderError("host-key", { border: "ssh", kind: "permanent", code: "host-key" });
    life.armed.nextError = stranger();
    await look();
    assert.deepEqual(states(), ["resuming", "suspended"], "it may be in the middle of its boot");
    await life.clock.advance(life.config.deadlines.resumingMs);
    life.armed.nextError = stranger();
    await look();
    assert.deepEqual([states(), row().serverId], [["serving", "running"], server]);
    const [moved] = life.store
      .auditRows({ subject: name })
      .filter(({ action }) => action === "machine.serving")
      .slice(-1);
    assert.match(moved?.why ?? "", /cannot be asked: host-key/);
  });

  it("is switched off again when it is suspended while it resumes", async () => {
    await off();
    allow();
    await look();
    status("running");
    suspend();
    await look();
    assert.deepEqual(states(), ["suspending", "suspended"]);
  });

  it("is switched off again when somebody else switched it on", async () => {
    await off();
    assert.equal((await look()).againInMs, 30 * minute);
    status("running");
    await look();
    await look();
    assert.deepEqual(life.gate.powered, [`shutdown ${server}`, `shutdown ${server}`]);
    assert.equal(row().state, "suspending");
  });

  it("is kept for as long as the terms say, then a person is asked and nothing is destroyed", async () => {
    await off();
    await life.clock.advance(30 * day - 1_000);
    assert.equal((await look()).againInMs <= 1_000, true);
    assert.deepEqual(life.store.flags(), []);
    await life.clock.advance(365 * day);
    await look();
    const [flag] = life.store.flags();
    assert.equal(flag?.kind, "suspended-long");
    assert.match(flag?.text ?? "", /its server still costs: cancel subscription sub_o-1 in Stripe/);
    assert.deepEqual([row().state, life.terraform.calls], ["suspended", []]);
  });

  it("has its subscription cancelled then, if the operator says so; not for ever, not what a person holds or keeps", async () => {
    const cancelled: string[] = [];
    life.cancelSuspended = async (id) => void cancelled.push(id);
    const { suspension } = life.config;
    life.config = { ...life.config, suspension: { ...suspension, afterwards: "cancel", keepMs: null } };
    await off();
    await life.clock.advance(365 * day);
    await look();
    assert.deepEqual(cancelled, []);
    life.config = { ...life.config, suspension: { ...suspension, afterwards: "cancel" } };
    life.store.holdOrder(order, { kept: true }, "asked for", { actor: "person:ann" });
    await look();
    assert.deepEqual(cancelled, []);
    life.store.holdOrder(order, { kept: false }, "not any more", { actor: "person:ann" });
    await look();
    assert.deepEqual([cancelled, life.store.flags()], [[order], []]);
    life.store.holdOrder(order, { held: "suspend" }, "abuse", { actor: "person:ann" });
    await look();
    assert.deepEqual(cancelled, [order]);
    assert.equal(life.store.flags()[0]?.kind, "suspended-long");
  });

  for (const state of ["serving", "suspending", "suspended", "resuming"] as const) {
    describe(`that is ${state} when its order ends`, () => {
      beforeEach(async () => {
        if (state === "suspending") {
          suspend();
          await look();
        }
        if (state === "suspended" || state === "resuming") await off();
        if (state === "resuming") {
          allow();
          await look();
        }
        assert.equal(row().state, state);
      });

      it("goes after the grace, when Stripe, asked again, agrees", async () => {
        end(life.clock.now() + 10 * minute);
        await look();
        assert.equal(row().state, state);
        await life.clock.advance(10 * minute);
        life.store.changeMachine(name, state, { nextLookAt: 0 }, "test");
        await look();
        assert.deepEqual(states(), ["releasing", "releasing"]);
      });

      it("is not destroyed while Stripe cannot be asked", async () => {
        end();
        life.hasEnded = async () => {
          throw new BorderError("503", { border: "stripe", kind: "transient" });
        };
        for (let tries = 0; tries < 12; tries++) {
          await look();
          await life.clock.advance(10 * minute);
        }
        assert.deepEqual(states(), [state, "releasing"]);
        assert.equal(life.store.flags()[0]?.kind, "stuck");
      });

      it("goes on when Stripe, asked again, says that the subscription lives", async () => {
        end();
        life.hasEnded = async () => false;
        await look();
        assert.equal(row().state, state);
        assert.equal(bought().state, state === "serving" ? "running" : "suspended");
        assert.deepEqual([bought().endedAt, bought().releaseAt], [null, null]);
        assert.equal(life.store.flags()[0]?.kind, "end-withdrawn");
      });

      it("is kept while a person says so, and goes when nobody does any more", async () => {
        life.store.holdOrder(order, { kept: true }, "evidence for the bank", { actor: "person:ann" });
        end();
        await life.clock.advance(365 * day);
        await look();
        assert.equal(row().state, state);
        life.store.holdOrder(order, { kept: false }, "it is over", { actor: "person:ann" });
        await look();
        assert.deepEqual(states(), ["releasing", "releasing"]);
      });

      it("is kept by a person who says so while Stripe is asked", async () => {
        end();
        life.hasEnded = async () => {
          life.store.holdOrder(order, { kept: true }, "wait", { actor: "person:ann" });
          return true;
        };
        await look();
        assert.equal(row().state, state);
      });
    });
  }
});
