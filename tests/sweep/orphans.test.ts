/** What carries our labels and no row knows: found, told, left alone for a while, deleted; and what never is. */
import { strict as assert } from "node:assert";
import type { CloudServer } from "../../pool/cloud/cloud.ts";
import { BorderError } from "../../pool/errors.ts";
import { ownLabels } from "../../pool/machine/labels.ts";
import { resourceOf } from "../machine/fake-cloud.ts";
import { caps, makeReady, newMachine, newOrder } from "../store/rows.ts";
import { makeSweepRig, minute, openCloudSweep, type SweepRig } from "./rig.ts";

describe("orphans in the cloud", () => {
  let rig: SweepRig;
  let cloud: SweepRig["life"]["cloud"];
  let gate: SweepRig["life"]["gate"];
  let store: SweepRig["life"]["store"];

  /** Ids of what the gate was asked to delete. */
  const asked = () => gate.orphans.map(({ kind, id }) => `${kind} ${id}`);
  const stray = (change: Partial<CloudServer> = {}) => cloud.put("claw-test-stray", change);

  beforeEach(() => {
    rig = makeSweepRig(openCloudSweep);
    ({ cloud, gate, store } = rig.life);
    gate.onOrphan = ({ kind, id }) => {
      if (kind === "server") cloud.list.delete(id);
      const index = cloud.others.findIndex((other) => other.kind === kind && other.id === id);
      if (index >= 0) cloud.others.splice(index, 1);
      return "asked";
    };
  });
  afterEach(() => rig.close());

  it("is told at the second look, deleted after the grace, and taken back when it is gone", async () => {
    const { id } = stray();
    const first = await rig.look();
    assert.deepEqual(rig.found(first), [
      `orphan server ${id}: deleted if still there at 2026-01-01T00:15:00.000Z`,
    ]);
    assert.deepEqual(rig.flags(), []);
    await rig.look();
    assert.deepEqual(rig.flags(), [`orphan server ${id}`]);
    await rig.lookFor(13);
    assert.deepEqual(asked(), []);
    const last = await rig.look();
    assert.deepEqual(rig.found(last), [`orphan server ${id}: being deleted`]);
    assert.deepEqual(asked(), [`server ${id}`]);
    await rig.look();
    assert.deepEqual([rig.flags(), asked().length], [[], 1]);
    const row = store.auditRows().find(({ action }) => action === "sweep.delete");
    assert.deepEqual(
      [row?.actor, row?.subject, row?.why, row?.detail.answer],
      ["person:ada", `server ${id}`, "no row knows it; first seen 2026-01-01T00:00:00.000Z", "asked"],
    );
    const found = row?.detail.found as CloudServer;
    assert.deepEqual([found.name, found.labels], ["claw-test-stray", ownLabels("test")]);
  });

  it("tells the gate every label that it must still have", async () => {
    const labels = { ...ownLabels("test"), "clawpool-machine": "claw-test-stray", "clawpool-pool": "small" };
    stray({ labels });
    await rig.lookFor(17);
    assert.deepEqual(gate.orphans[0]?.labels, labels);
  });

  it("counts the grace on through a list that lacks it, as long as Hetzner has it", async () => {
    const { id } = stray();
    const all = cloud.servers.bind(cloud);
    let looks = 0;
    cloud.servers = async (selector) => (looks++ % 3 === 2 ? [] : all(selector));
    await rig.lookFor(16);
    assert.deepEqual(asked(), [`server ${id}`]);
  });

  it("begins anew with what was gone in between", async () => {
    const server = stray();
    await rig.lookFor(10);
    cloud.list.delete(server.id);
    await rig.look();
    assert.deepEqual(rig.flags(), []);
    cloud.list.set(server.id, server);
    await rig.lookFor(15);
    assert.deepEqual(asked(), []);
  });

  for (const kind of ["primary_ip", "ssh_key", "volume", "snapshot"] as const) {
    it(`goes too when it is a ${kind}`, async () => {
      cloud.others.push(resourceOf(kind, 77, "left"));
      await rig.lookFor(17);
      assert.deepEqual(asked(), [`${kind} 77`]);
      assert.deepEqual(rig.flags(), []);
    });
  }

  it("is not what belongs to a server, or to a machine that lives", async () => {
    const name = makeReady(store, "claw-test-one");
    store.changeMachine(name, "ready", { serverId: cloud.put(name).id }, "test");
    const labels = { ...ownLabels("test"), "clawpool-machine": name };
    cloud.others.push(
      resourceOf("volume", 77, "data", { server: 5 }),
      resourceOf("snapshot", 78, "", { labels }),
    );
    const { findings } = await rig.look();
    assert.deepEqual(findings, []);
  });

  it("is not what is being made: by its name, before its id is known, and by its id", async () => {
    const { name } = store.planMachine(newMachine("claw-test-one"), caps) ?? assert.fail();
    const { id } = cloud.put(name);
    assert.deepEqual((await rig.look()).findings, []);
    store.changeMachine(name, "planned", { state: "creating", serverId: id }, "test");
    assert.deepEqual((await rig.look()).findings, []);
  });

  it("is what a destroyed row once knew", async () => {
    const name = makeReady(store, "claw-test-one");
    const { id } = cloud.put(name);
    store.changeMachine(name, "ready", { serverId: id }, "test");
    store.changeMachine(name, "ready", { state: "retiring" }, "test");
    store.recordDestroyed(name);
    await rig.lookFor(17);
    assert.deepEqual(asked(), [`server ${id}`]);
  });

  describe("never", () => {
    for (const [what, change] of [
      ["without our labels", { labels: {} }],
      ["with our name and no label", { name: "claw-test-aaaaaaaaaa", labels: {} }],
      ["of another installation", { labels: ownLabels("test-b") }],
      ["of another program", { labels: { "managed-by": "terraform", "clawpool-instance": "test" } }],
    ] as const) {
      it(`is something ${what}, even when the API gives it for our selector`, async () => {
        stray(change);
        assert.deepEqual((await rig.look()).findings, []);
        await rig.lookFor(20);
        assert.deepEqual([asked(), rig.flags()], [[], []]);
      });
    }

    for (const [what, change, why] of [
      ["what somebody protects", { isProtected: true }, /somebody has protected it/],
      ["what is older than the database", { createdAt: 0 }, /it is older than this database/],
      [
        "a customer's of whom the database knows nothing",
        { labels: { ...ownLabels("test"), "clawpool-order": "o-9" } },
        /serves order o-9, which this database does not know/,
      ],
      [
        "a customer's whose order goes on",
        { labels: { ...ownLabels("test"), "clawpool-order": "o-1" } },
        /serves order o-1, which goes on/,
      ],
    ] as const) {
      it(`is deleted ${what}; a person is told`, async () => {
        store.createOrder(newOrder("o-1"));
        const { id } = stray(change);
        await rig.lookFor(30);
        assert.deepEqual([asked(), rig.flags()], [[], [`orphan server ${id}`]]);
        assert.match(store.flags()[0]?.text ?? "", why);
      });
    }

    it("is deleted more than the hour's budget, restarts or not; the next hour goes on", async () => {
      rig.life.config = { ...rig.life.config, sweeps: { ...rig.life.config.sweeps, deletesPerHour: 2 } };
      for (const letter of ["a", "b", "c", "d", "e"]) cloud.put(`claw-test-${letter}`);
      await rig.lookFor(20);
      assert.equal(asked().length, 2);
      assert.match(store.flags()[0]?.text ?? "", /deleted when the hour's deletions are not used up/);
      await rig.lookFor(60);
      assert.equal(asked().length, 4);
      await rig.lookFor(60);
      assert.deepEqual([asked().length, rig.flags()], [5, []]);
    });

    it("is anything deleted with a budget of 0", async () => {
      rig.life.config = { ...rig.life.config, sweeps: { ...rig.life.config.sweeps, deletesPerHour: 0 } };
      stray();
      await rig.lookFor(30);
      assert.deepEqual(asked(), []);
      assert.match(store.flags()[0]?.text ?? "", /deletes_per_hour is 0/);
    });

    it("is anything deleted while the list lacks what must exist", async () => {
      const names = ["a", "b", "c"].map((letter) => makeReady(store, `claw-test-${letter}`));
      for (const name of names)
        store.changeMachine(name, "ready", { serverId: cloud.put(name).id, deadline: null }, "test");
      const { id } = stray();
      const all = cloud.servers.bind(cloud);
      cloud.servers = async (selector) => (await all(selector)).filter((server) => server.id === id);
      await rig.lookFor(30);
      assert.deepEqual(asked(), []);
      assert.ok(rig.flags().includes("list-not-believed cloud"));
      cloud.servers = all;
      await rig.look();
      assert.deepEqual(asked(), [`server ${id}`]);
    });

    it("is anything deleted, told or remembered in a dry run", async () => {
      const { id } = stray();
      await rig.lookFor(16);
      gate.orphans.length = 0;
      cloud.put("claw-test-stray2", {});
      const before = JSON.stringify([store.auditRows(), store.flags(), store.setting("sweep/cloud")]);
      await rig.life.clock.advance(30 * minute);
      const report = await rig.look({ dryRun: true });
      assert.equal(report.findings.length, 1);
      assert.deepEqual(asked(), []);
      assert.equal(JSON.stringify([store.auditRows(), store.flags(), store.setting("sweep/cloud")]), before);
      assert.equal(cloud.list.has(id), false);
    });
  });

  it("is tried again after five minutes when it could not be deleted, and a person sees why", async () => {
    const { id } = stray();
    gate.onOrphan = () => {
      throw new BorderError("the label is gone now", {
        border: "cloud",
        kind: "permanent",
        code: "not-orphan",
      });
    };
    await rig.lookFor(16);
    assert.match(store.flags()[0]?.text ?? "", /could not be deleted: the label is gone now/);
    await rig.lookFor(4);
    assert.equal(asked().length, 1);
    gate.onOrphan = () => {
      cloud.list.delete(id);
      return "asked";
    };
    await rig.lookFor(3);
    assert.deepEqual([asked().length, rig.flags()], [2, []]);
  });
});
