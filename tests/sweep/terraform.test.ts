/** Folders without a machine, and machines without a state. */
import { strict as assert } from "node:assert";
import { createTerraformSweep } from "../../pool/sweep/terraform.ts";
import type { StackFolder } from "../../pool/terraform/terraform.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";
import { makeSweepRig, type SweepRig } from "./rig.ts";

const after = Date.parse("2026-01-01T00:00:01Z");

describe("the sweep of terraform's folders", () => {
  let rig: SweepRig;
  let terraform: SweepRig["life"]["terraform"];
  let store: SweepRig["life"]["store"];

  const folder = (name: string, change: Partial<StackFolder> = {}) =>
    terraform.folderList.push({
      name,
      content: "resources",
      resources: 1,
      isRunning: false,
      changedAt: after,
      ...change,
    });

  beforeEach(() => {
    rig = makeSweepRig(({ life, log }) => createTerraformSweep({ ...life, config: () => life.config, log }));
    ({ terraform, store } = rig.life);
  });
  afterEach(() => rig.close());

  it("finds nothing wrong where every machine has its folder", async () => {
    folder(makeReady(store, "claw-test-one"));
    const { findings, looked } = await rig.look();
    assert.deepEqual([findings, looked], [[], "1 folders, 1 machines"]);
  });

  for (const [content, call] of [
    ["resources", "archive"],
    ["cut-off", "archive"],
    ["unreadable", "archive"],
  ] as const) {
    it(`puts a folder without a machine away, and tells of it: ${content}`, async () => {
      folder("claw-test-old", { content });
      await rig.lookFor(15);
      assert.deepEqual([terraform.calls, rig.flags()], [[], ["terraform-orphan claw-test-old"]]);
      await rig.look();
      assert.deepEqual(terraform.calls, [`${call} claw-test-old`]);
      const row = store.auditRows().find(({ action }) => action === "sweep.folder");
      assert.deepEqual([row?.subject, row?.detail.to], ["claw-test-old", "/terraform/archive/claw-test-old"]);
    });
  }

  it("removes one that holds nothing, without a word to anybody", async () => {
    folder("claw-test-old", { content: "nothing", resources: 0 });
    await rig.lookFor(16);
    assert.deepEqual([terraform.calls, rig.flags()], [["forget claw-test-old"], []]);
  });

  it("touches none in which terraform runs, or that is older than the database", async () => {
    folder("claw-test-runs", { isRunning: true });
    folder("claw-test-old", { changedAt: 0 });
    await rig.lookFor(30);
    assert.deepEqual(terraform.calls, []);
    assert.match(
      store
        .flags()
        .map(({ text }) => text)
        .join(),
      /terraform runs in it.*older than this database/s,
    );
  });

  it("touches none in a dry run", async () => {
    folder("claw-test-old");
    await rig.lookFor(15);
    const report = await rig.look({ dryRun: true });
    assert.deepEqual(rig.found(report), ["leftover claw-test-old: would be moved to terraform's archive"]);
    assert.deepEqual(terraform.calls, []);
  });

  it("tells of a machine without a state, with what makes it whole, and takes it back", async () => {
    const name = makeReady(store, "claw-test-one");
    store.createOrder(newOrder("o-1"));
    pay(store, "o-1");
    folder(name, { content: "unreadable" });
    await rig.lookFor(2);
    assert.deepEqual(rig.flags(), [`terraform-missing ${name}`]);
    assert.match(
      store.flags()[0]?.text ?? "",
      /a state file that is none; clawpool state restore claw-test-one/,
    );
    terraform.folderList.length = 0;
    folder(name);
    await rig.look();
    assert.deepEqual(rig.flags(), []);
  });
});
