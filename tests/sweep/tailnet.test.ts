/** Devices and keys that outlived their machines, and machines that lost their device. */
import { strict as assert } from "node:assert";
import { BorderError } from "../../pool/errors.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { createTailnetSweep } from "../../pool/sweep/tailnet.ts";
import type { TailnetDevice } from "../../pool/tailnet/tailnet.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";
import { makeSweepRig, minute, type SweepRig } from "./rig.ts";

const after = Date.parse("2026-01-01T00:00:01Z");
const hour = 60 * minute;

describe("the sweep of the tailnet", () => {
  let rig: SweepRig;
  let tailnet: SweepRig["life"]["tailnet"];
  let store: SweepRig["life"]["store"];
  let open: (rig: SweepRig) => ReturnType<typeof createTailnetSweep>;

  const device = (nodeId: string, hostname: string, change: Partial<TailnetDevice> = {}) =>
    tailnet.known.set(nodeId, {
      nodeId,
      hostname,
      name: `${hostname}.ts.net`,
      addresses: [],
      tags: ["tag:claw-vm"],
      authorized: true,
      connectedToControl: true,
      createdAt: after,
      ...change,
    });
  function serving(name: string): MachineName {
    const machine = makeReady(store, name);
    store.createOrder(newOrder("o-1"));
    pay(store, "o-1");
    store.changeMachine(machine, "claimed", { state: "handing-over" }, "test");
    store.recordServing(machine, { tailnetNode: "node-1", tailnetAddress: "100.64.0.1" });
    return machine;
  }

  beforeEach(() => {
    const make = ({ life, deletions, log }: SweepRig) =>
      createTailnetSweep({ ...life, config: () => life.config, deletions, log });
    let sweep: ReturnType<typeof make> | undefined;
    open = (one) => {
      sweep ??= make(one);
      return sweep;
    };
    rig = makeSweepRig((one) => open(one));
    ({ tailnet, store } = rig.life);
  });
  afterEach(() => rig.close());

  it("finds nothing wrong with the devices of machines that live", async () => {
    device("node-1", serving("claw-test-aaaaaaaaaa"));
    device("node-2", makeReady(store, "claw-test-bbbbbbbbbb"), { tags: ["tag:claw-pool"] });
    const { findings, gaps, looked } = await rig.look();
    assert.deepEqual([findings, gaps], [[], []]);
    assert.equal(looked, "2 devices with our tags, 0 auth keys; 1 machines that serve with one");
  });

  it("deletes a device whose machine is gone, after two looks and its grace", async () => {
    device("node-9", "claw-test-aaaaaaaaaa");
    await rig.look();
    assert.deepEqual(rig.flags(), []);
    await rig.lookFor(14);
    assert.deepEqual([rig.flags(), tailnet.deleted], [["tailnet-orphan device node-9"], []]);
    await rig.look();
    assert.deepEqual(tailnet.deleted, ["node-9"]);
    await rig.look();
    assert.deepEqual(rig.flags(), []);
  });

  for (const [what, hostname, change] of [
    ["without our tag", "claw-test-aaaaaaaaaa", { tags: ["tag:server"] }],
    ["with our tag and somebody's name", "database", {}],
    ["of another installation", "claw-other-aaaaaaaaaa", {}],
    ["of an installation whose name begins like ours", "claw-test-b-aaaaaaaaaa", {}],
  ] as const) {
    it(`never touches a device ${what}, even when it is given for our tag`, async () => {
      device("node-9", hostname, change);
      await rig.lookFor(30);
      assert.deepEqual([tailnet.deleted, rig.flags()], [[], []]);
    });
  }

  it("does not delete what is older than the database, or of which nobody knows how old it is", async () => {
    device("node-8", "claw-test-aaaaaaaaaa", { createdAt: 0 });
    device("node-9", "claw-test-bbbbbbbbbb", { createdAt: null });
    await rig.lookFor(30);
    assert.deepEqual([tailnet.deleted, rig.flags().length], [[], 2]);
    assert.match(store.flags()[0]?.text ?? "", /older than this database/);
  });

  it("looks once more before it deletes", async () => {
    device("node-9", "claw-test-aaaaaaaaaa");
    await rig.lookFor(14);
    tailnet.device = async () => null;
    await rig.lookFor(3);
    assert.deepEqual(tailnet.deleted, []);
  });

  it("keeps to the hour's budget of deletions", async () => {
    for (const letter of "abcdefg") device(`node-${letter}`, `claw-test-${letter.repeat(10)}`);
    await rig.lookFor(20);
    assert.equal(tailnet.deleted.length, 5);
  });

  it("concludes nothing from a list that failed, and deletes nothing by one that lacks what exists", async () => {
    const name = serving("claw-test-aaaaaaaaaa");
    device("node-1", name);
    device("node-9", "claw-test-bbbbbbbbbb");
    tailnet.nextError = new BorderError("504", { border: "tailnet", kind: "transient" });
    await assert.rejects(rig.look(), /504/);
    tailnet.devices = async () => [...tailnet.known.values()].filter(({ nodeId }) => nodeId === "node-9");
    await rig.lookFor(20);
    assert.deepEqual(tailnet.deleted, []);
    assert.deepEqual(rig.flags().sort(), [
      "tailnet-list-not-believed tailnet",
      "tailnet-orphan device node-9",
    ]);
  });

  it("tells of a machine that serves and lost its device, and takes it back", async () => {
    const name = serving("claw-test-aaaaaaaaaa");
    await rig.look();
    assert.deepEqual(rig.flags(), []);
    await rig.look();
    assert.deepEqual(rig.flags(), [`tailnet-missing ${name}`]);
    device("node-1", name);
    await rig.look();
    assert.deepEqual(rig.flags(), []);
  });

  it("revokes the hand-over keys that an earlier daemon left, and no others", async () => {
    const now = rig.life.clock.now();
    for (const [id, description, createdAt] of [
      ["old", "clawpool test hand-over", now - hour],
      ["held", "clawpool test hand-over", now - minute],
      ["other", "clawpool other hand-over", now - hour],
      ["foreign", "laptops", now - hour],
    ] as const)
      tailnet.listedKeys.push({ id, description, createdAt });
    await rig.look();
    assert.deepEqual(tailnet.revoked, []);
    const report = await rig.look({ dryRun: true });
    assert.deepEqual(rig.found(report), ["key old: would be revoked"]);
    await rig.look();
    assert.deepEqual(tailnet.revoked, ["old"]);
  });
});
