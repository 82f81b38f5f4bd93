/** Rows whose server is gone or another, lists that lie, and what is wrong with the platform's own. */
import { strict as assert } from "node:assert";
import type { CloudServer } from "../../pool/cloud/cloud.ts";
import { BorderError } from "../../pool/errors.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { platformIds, resourceOf } from "../machine/fake-cloud.ts";
import { caps, makeReady, newMachine, newOrder, pay } from "../store/rows.ts";
import { makeSweepRig, openCloudSweep, type SweepRig } from "./rig.ts";

const unavailable = () => new BorderError("503", { border: "cloud", kind: "transient" });

describe("the sweep of the cloud", () => {
  let rig: SweepRig;
  let cloud: SweepRig["life"]["cloud"];
  let store: SweepRig["life"]["store"];
  const state = (name: MachineName) => store.machine(name)?.state;

  function warm(text: string): MachineName {
    const name = makeReady(store, text);
    store.changeMachine(name, "ready", { serverId: cloud.put(text).id, deadline: null }, "test");
    return name;
  }
  const serverOf = (name: MachineName): CloudServer =>
    cloud.list.get(store.machine(name)?.serverId ?? 0) ?? assert.fail();
  const lose = (name: MachineName) => {
    const server = serverOf(name);
    cloud.list.delete(server.id);
    return () => void cloud.list.set(server.id, server);
  };
  const alter = (name: MachineName, change: Partial<CloudServer>) => {
    const server = serverOf(name);
    cloud.list.set(server.id, { ...server, ...change });
  };
  const sell = (id: string) => {
    store.createOrder(newOrder(id));
    pay(store, id);
  };

  beforeEach(() => {
    rig = makeSweepRig(openCloudSweep);
    ({ cloud, store } = rig.life);
  });
  afterEach(() => rig.close());

  it("asks for this installation's things alone, and finds nothing wrong when all agree", async () => {
    const name = warm("claw-test-one");
    const { findings, gaps, looked } = await rig.look();
    await rig.look();
    const selector = "managed-by=clawpool,clawpool-instance=test";
    assert.ok(cloud.calls.every((call) => call.endsWith(selector)));
    assert.deepEqual([findings, gaps, state(name), rig.flags()], [[], [], "ready", []]);
    assert.match(looked, /^1 servers, 0 primary_ip, 1 ssh_key, .*; 1 machines that must have one$/);
  });

  it("asks for servers at each of its own looks, for the rest more rarely", async () => {
    const sweep = openCloudSweep(rig);
    for (let looks = 0; looks < 20; looks++)
      await sweep.run({ dryRun: false, actor: "daemon" }, new AbortController().signal);
    const count = (kind: string) => cloud.calls.filter((call) => call.startsWith(`${kind} `)).length;
    assert.deepEqual(["servers", "volume", "primary_ip", "firewall"].map(count), [20, 10, 10, 1]);
  });

  describe("a server that is gone", () => {
    it("retires a warm machine when it is missing twice, a minute apart, not once", async () => {
      const [gone, stays] = [warm("claw-test-gone"), warm("claw-test-stays")];
      lose(gone);
      const first = await rig.look();
      assert.deepEqual(rig.found(first), [
        `lost ${gone}: decided when it is seen again, at least a minute later`,
      ]);
      assert.equal(state(gone), "ready");
      const second = await rig.look();
      assert.deepEqual(rig.found(second), [`lost ${gone}: retired, to be replaced`]);
      assert.deepEqual([state(gone), state(stays)], ["retiring", "ready"]);
      assert.deepEqual(rig.poked, [gone]);
    });

    it("takes two looks within a minute for one", async () => {
      const name = warm("claw-test-one");
      lose(name);
      const sweep = openCloudSweep(rig);
      for (let looks = 0; looks < 5; looks++) {
        await sweep.run({ dryRun: false, actor: "daemon" }, new AbortController().signal);
        await rig.life.clock.advance(11_000);
      }
      assert.equal(state(name), "ready");
    });

    it("begins again after it came back", async () => {
      const name = warm("claw-test-one");
      const comeBack = lose(name);
      await rig.look();
      comeBack();
      await rig.look();
      lose(name);
      await rig.look();
      assert.equal(state(name), "ready");
      await rig.look();
      assert.equal(state(name), "retiring");
    });

    it("fails a machine that was being built", async () => {
      const { name } = store.planMachine(newMachine("claw-test-one"), caps) ?? assert.fail();
      store.changeMachine(name, "planned", { state: "creating" }, "test");
      store.changeMachine(name, "creating", { state: "booting", serverId: 9 }, "test");
      await rig.lookFor(2);
      assert.equal(state(name), "failed");
    });

    it("moves an order that is not served yet to another machine", async () => {
      const name = warm("claw-test-one");
      sell("o-1");
      lose(name);
      await rig.lookFor(2);
      assert.equal(state(name), "failed");
      const order = store.orders()[0];
      assert.deepEqual([order?.state, order?.machine], ["queued", null]);
      assert.ok(rig.audited("flag.server-vanished").includes(`daemon ${name}`));
      assert.deepEqual(rig.poked, [name]);
    });

    it("leaves a machine that serves to a person, says so once, and takes it back when it is over", async () => {
      const name = warm("claw-test-one");
      sell("o-1");
      store.changeMachine(name, "claimed", { state: "handing-over" }, "test");
      store.recordServing(name, { tailnetNode: null, tailnetAddress: null });
      const comeBack = lose(name);
      await rig.lookFor(4);
      assert.equal(state(name), "serving");
      assert.deepEqual(rig.flags(), [`server-vanished ${name}`]);
      assert.match(
        store.flags()[0]?.text ?? "",
        /\(serving, order o-1\) is gone .*: its customer is not served/,
      );
      assert.deepEqual(rig.audited("flag.server-vanished"), [`daemon ${name}`]);
      comeBack();
      await rig.look();
      assert.deepEqual(rig.flags(), []);
    });

    it("asks a person when three or more are gone at once, and believes the person", async () => {
      const names = ["a", "b", "c", "d", "e"].map((letter) => warm(`claw-test-${letter}`));
      for (const name of names.slice(0, 3)) lose(name);
      await rig.lookFor(4);
      assert.deepEqual(names.map(state), Array(5).fill("ready"));
      assert.deepEqual(rig.flags(), ["many-servers-vanished cloud"]);
      await rig.look({ confirmLosses: true });
      assert.deepEqual(names.map(state), ["retiring", "retiring", "retiring", "ready", "ready"]);
      await rig.look();
      assert.deepEqual(rig.flags(), []);
    });
  });

  describe("a list that lies", () => {
    it("concludes nothing from one that failed, and does not count it as a look", async () => {
      const name = warm("claw-test-one");
      lose(name);
      await rig.look();
      cloud.nextError = unavailable();
      await assert.rejects(rig.look(), /503/);
      assert.equal(state(name), "ready");
      await rig.look();
      assert.equal(state(name), "retiring");
    });

    it("concludes nothing from an empty one: each server is asked for by its id", async () => {
      const names = ["claw-test-one", "claw-test-two"].map(warm);
      const ids = [...cloud.list.keys()];
      cloud.servers = async () => [];
      await rig.lookFor(3);
      assert.deepEqual(names.map(state), ["ready", "ready"]);
      assert.ok(ids.every((id) => cloud.calls.includes(`server ${id}`)));
      assert.deepEqual(rig.flags(), ["list-not-believed cloud"]);
      assert.match(store.flags()[0]?.text ?? "", /lacks 2 of the 2 .*it is empty; .*nothing is deleted/);
    });

    it("concludes nothing while a server cannot be asked for by its id", async () => {
      const name = warm("claw-test-one");
      cloud.servers = async () => [];
      await rig.look();
      cloud.resource = async () => {
        throw unavailable();
      };
      const { gaps } = await rig.look();
      assert.match(gaps.join(), /servers that the list lacks: 503/);
      assert.equal(state(name), "ready");
    });

    it("concludes nothing with a token of another project, where nothing of ours is found at all", async () => {
      const name = warm("claw-test-one");
      lose(name);
      cloud.resource = async () => null;
      const { gaps } = await rig.look();
      await rig.lookFor(3);
      assert.match(gaps.join(), /is the token another project's\?/);
      assert.equal(state(name), "ready");
    });
  });

  describe("a server that is not what its row says", () => {
    for (const [what, kind, change] of [
      ["of another type", "server-mismatch", { serverType: "cx53" }],
      ["in another location", "server-mismatch", { location: "hel1" }],
      ["with another name", "server-mismatch", { name: "renamed" }],
      ["switched off", "server-off", { status: "off" }],
    ] as const) {
      it(`is retired and replaced when nobody has it: ${what}`, async () => {
        const name = warm("claw-test-one");
        alter(name, change);
        const first = await rig.look();
        assert.deepEqual([first.findings[0]?.kind, state(name)], [kind, "ready"]);
        await rig.look();
        assert.equal(state(name), "retiring");
      });

      it(`is told to a person, and let be, when a customer has it: ${what}`, async () => {
        const name = warm("claw-test-one");
        sell("o-1");
        alter(name, change);
        await rig.lookFor(3);
        assert.equal(state(name), "claimed");
        assert.deepEqual(rig.flags(), [`${kind} ${name}`]);
      });
    }

    it("changes nothing in a dry run", async () => {
      const name = warm("claw-test-one");
      alter(name, { status: "off" });
      await rig.look();
      const before = store.auditRows().length;
      const report = await rig.look({ dryRun: true });
      assert.deepEqual(rig.found(report), [`server-off ${name}: would be: retired, to be replaced`]);
      assert.deepEqual([state(name), store.auditRows().length], ["ready", before]);
    });
  });

  describe("the platform's own", () => {
    it("tells when something of it is gone, and when something that is not of it carries our labels", async () => {
      const all = cloud.resources.bind(cloud);
      cloud.resources = async (kind, selector) =>
        (await all(kind, selector)).filter(({ id }) => id !== platformIds.firewall);
      const byId = cloud.resource.bind(cloud);
      cloud.resource = async (kind, id) => (id === platformIds.firewall ? null : byId(kind, id));
      cloud.others.push(resourceOf("network", 77, "old-network"));
      await rig.look();
      assert.deepEqual(rig.flags(), []);
      await rig.look();
      assert.deepEqual(rig.flags().sort(), [
        `platform-missing firewall ${platformIds.firewall}`,
        "unknown-resource network 77",
      ]);
      assert.deepEqual(rig.life.gate.orphans, []);
    });
  });
});
