import { strict as assert } from "node:assert";
import { pino } from "pino";
import { BorderError } from "../../pool/errors.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { type CloudSweep, createCloudSweep } from "../../pool/sweep/cloud.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { caps, makeReady, newMachine, newOrder, pay } from "../store/rows.ts";

const unavailable = () => new BorderError("503", { border: "cloud", kind: "transient" });

describe("the sweep of the cloud", () => {
  let life: Life;
  let sweep: CloudSweep;
  let poked: string[];
  const state = (name: MachineName) => life.store.machine(name)?.state;

  function warm(text: string): MachineName {
    const name = makeReady(life.store, text);
    life.store.changeMachine(name, "ready", { serverId: life.cloud.put(text).id, deadline: null }, "test");
    return name;
  }
  const lose = (name: MachineName) => {
    const { serverId } = life.store.machine(name) ?? assert.fail();
    const server = life.cloud.list.get(serverId ?? 0) ?? assert.fail();
    life.cloud.list.delete(server.id);
    return () => void life.cloud.list.set(server.id, server);
  };

  beforeEach(() => {
    life = startLife();
    poked = [];
    sweep = createCloudSweep({
      store: life.store,
      cloud: life.cloud,
      instance: () => "test",
      log: pino({ level: "silent" }),
      poke: (name) => poked.push(name),
    });
  });
  afterEach(() => life.store.close());

  it("asks for this installation's servers alone, and finds nothing wrong when all agree", async () => {
    const name = warm("claw-test-one");
    await sweep.run();
    await sweep.run();
    assert.deepEqual(life.cloud.calls, Array(2).fill("servers managed-by=clawpool,clawpool-instance=test"));
    assert.equal(state(name), "ready");
    assert.deepEqual(life.store.flags(), []);
  });

  it("retires a warm machine whose server is missing twice, not once", async () => {
    const [gone, stays] = [warm("claw-test-gone"), warm("claw-test-stays")];
    lose(gone);
    await sweep.run();
    assert.equal(state(gone), "ready");
    await sweep.run();
    assert.equal(state(gone), "retiring");
    assert.equal(state(stays), "ready");
    assert.deepEqual(poked, [gone]);
  });

  it("begins again after a server came back", async () => {
    const name = warm("claw-test-one");
    const comeBack = lose(name);
    await sweep.run();
    comeBack();
    await sweep.run();
    lose(name);
    await sweep.run();
    assert.equal(state(name), "ready");
    await sweep.run();
    assert.equal(state(name), "retiring");
  });

  it("fails a machine that was being built", async () => {
    const { name } = life.store.planMachine(newMachine("claw-test-one"), caps) ?? assert.fail();
    life.store.changeMachine(name, "planned", { state: "creating" }, "test");
    life.store.changeMachine(name, "creating", { state: "booting", serverId: 9 }, "test");
    await sweep.run();
    await sweep.run();
    assert.equal(state(name), "failed");
  });

  it("concludes nothing from a listing that failed, and does not count it as a look", async () => {
    const name = warm("claw-test-one");
    lose(name);
    await sweep.run();
    life.cloud.nextError = unavailable();
    await sweep.run();
    assert.equal(state(name), "ready");
    await sweep.run();
    assert.equal(state(name), "retiring");
  });

  it("concludes nothing from an empty listing: each server is asked for by its id", async () => {
    const names = ["claw-test-one", "claw-test-two"].map(warm);
    const all = new Map(life.cloud.list);
    life.cloud.servers = async () => [];
    for (let looks = 0; looks < 3; looks++) await sweep.run();
    assert.deepEqual(names.map(state), ["ready", "ready"]);
    assert.ok([...all.keys()].every((id) => life.cloud.calls.includes(`server ${id}`)));
    assert.deepEqual(life.store.flags(), []);
  });

  it("concludes nothing when the server cannot be asked for by its id", async () => {
    const name = warm("claw-test-one");
    life.cloud.servers = async () => [];
    await sweep.run();
    life.cloud.nextError = unavailable();
    await sweep.run();
    assert.equal(state(name), "ready");
  });

  it("leaves a customer's machine to a person, and says so once", async () => {
    const name = warm("claw-test-one");
    life.store.createOrder(newOrder("o-1"));
    pay(life.store, "o-1");
    lose(name);
    for (let looks = 0; looks < 4; looks++) await sweep.run();
    assert.equal(state(name), "claimed");
    const flags = life.store.flags();
    assert.deepEqual(
      flags.map((flag) => [flag.kind, flag.subject]),
      [["server-vanished", name]],
    );
    assert.match(flags[0]?.text ?? "", /of order o-1/);
  });

  it("tells a person of an unknown server at the second look, once, and deletes nothing", async () => {
    const { id } = life.cloud.put("claw-test-stray");
    await sweep.run();
    assert.deepEqual(life.store.flags(), []);
    for (let looks = 0; looks < 3; looks++) await sweep.run();
    assert.deepEqual(
      life.store.flags().map((flag) => [flag.kind, flag.subject]),
      [["unknown-server", "claw-test-stray"]],
    );
    assert.ok(life.cloud.list.has(id));
  });

  it("does not call a server unknown whose row got its id in between", async () => {
    const { name } = life.store.planMachine(newMachine("claw-test-one"), caps) ?? assert.fail();
    const { id } = life.cloud.put(name);
    await sweep.run();
    life.store.changeMachine(name, "planned", { state: "creating", serverId: id }, "test");
    await sweep.run();
    assert.deepEqual(life.store.flags(), []);
  });
});
