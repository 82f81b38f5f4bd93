/** The cloud's sweep through the daemon's own client and gate, on the emulated Hetzner. */
import { strict as assert } from "node:assert";
import { ownLabels } from "../../pool/machine/labels.ts";
import { createCloudSweep } from "../../pool/sweep/cloud.ts";
import type { Sweep, SweepReport } from "../../pool/sweep/sweep.ts";
import { serverOrder } from "../cloud/hetzner/rig.ts";
import { makeReady } from "../store/rows.ts";
import { type LocalCloud, startLocalHetzner } from "./local-cloud.ts";

const second = 1_000;
const minute = 60 * second;

describe("the sweep of the cloud on the local cloud", function () {
  this.timeout(60_000);
  let local: LocalCloud;
  let sweep: Sweep;
  const labels = ownLabels("test");

  beforeEach(async () => {
    local = await startLocalHetzner();
    sweep = createCloudSweep({ ...local, ...local.parts });
  });
  afterEach(() => local.close());

  const look = (): Promise<SweepReport> =>
    sweep.run({ dryRun: false, actor: "daemon" }, new AbortController().signal);
  /** As the daemon does it: a look, 30 s, a look. Ends when `done` says so. @returns after how many ms */
  async function lookUntil(done: () => Promise<boolean> | boolean): Promise<number> {
    const began = local.parts.clock.now();
    while (!(await done())) {
      assert.ok(local.parts.clock.now() - began < 60 * minute, "an hour is over");
      await local.parts.clock.advance(30 * second);
      await look();
    }
    return local.parts.clock.now() - began;
  }
  const names = async () =>
    (await local.hetzner.must("GET", "/servers")).servers.map(({ name }) => name).sort();
  const flags = () => local.store.flags().map(({ kind, subject }) => `${kind} ${subject}`);

  it("finds an orphan within two minutes of its creation and deletes it after its grace, with what is others'", async () => {
    const { hetzner, store, parts } = local;
    await look();
    const own = makeReady(store, "claw-test-own");
    const kept = await hetzner.runningServer(own, { labels, location: "fsn1" });
    store.changeMachine(own, "ready", { serverId: kept.id, deadline: null }, "test");
    for (const [name, theirs] of [
      ["database", {}],
      ["claw-test-aaaaaaaaaa", {}],
      ["claw-other-aaaaaaaaaa", ownLabels("other")],
      ["web-1", { "managed-by": "terraform" }],
    ] as const)
      await hetzner.must("POST", "/servers", { ...serverOrder(name), labels: theirs });
    await look();
    assert.deepEqual(flags(), []);

    await hetzner.must("POST", "/servers", { ...serverOrder("claw-test-orphan"), labels });
    const toldAfter = await lookUntil(() => flags().length > 0);
    const deletedAfter =
      toldAfter + (await lookUntil(async () => !(await names()).includes("claw-test-orphan")));
    assert.ok(toldAfter <= 2 * minute, `${toldAfter / second} s`);
    const { everyMs, orphanGraceMs } = parts.config().sweeps;
    assert.ok(deletedAfter >= orphanGraceMs, `${deletedAfter / second} s`);
    assert.ok(deletedAfter <= orphanGraceMs + 3 * everyMs, `${deletedAfter / second} s`);
    await lookUntil(() => flags().length === 0);

    assert.deepEqual(await names(), [
      "claw-other-aaaaaaaaaa",
      "claw-test-aaaaaaaaaa",
      "claw-test-own",
      "database",
      "web-1",
    ]);
    const deletes = store.auditRows().filter(({ action }) => action === "sweep.delete");
    assert.deepEqual(
      deletes.map(({ actor, detail }) => [actor, detail.ok, detail.answer]),
      [["daemon", true, "asked"]],
    );
  });

  it("deletes an address, a volume, a key and a snapshot, and nothing that is attached, protected or the platform's", async () => {
    const { hetzner, store } = local;
    await look();
    const { must, runningServer, clock } = hetzner;
    const location = "fsn1";
    const own = makeReady(store, "claw-test-own");
    const server = await runningServer(own, { labels, location });
    store.changeMachine(own, "ready", { serverId: server.id, deadline: null }, "test");
    const volume = { size: 10, location, labels };
    await must("POST", "/volumes", { ...volume, name: "attached", server: server.id });
    await must("POST", "/volumes", { ...volume, name: "left" });
    const protectedOne = (await must("POST", "/volumes", { ...volume, name: "protected" })).volume.id;
    await clock.advance(minute);
    await must("POST", `/volumes/${protectedOne}/actions/change_protection`, { delete: true });
    await must("POST", "/volumes", { ...volume, name: "others", labels: {} });
    await must("POST", "/primary_ips", { name: "left", type: "ipv4", location, labels });
    const blob = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB a@test";
    await must("POST", "/ssh_keys", { name: "left", public_key: blob, labels });
    const { image } = await must("POST", `/servers/${server.id}/actions/create_image`, {
      type: "snapshot",
      description: "left",
      labels,
    });
    await clock.advance(5 * minute);

    const { platform } = local.parts;
    const isOwn = (id: number) => id === platform().sshKey;
    const left = async () =>
      [
        ...(await must("GET", "/volumes")).volumes.map(({ name }) => `volume ${name}`),
        ...(await must("GET", "/primary_ips")).primary_ips
          .filter(({ name }) => name === "left")
          .map(({ name }) => `address ${name}`),
        ...(await must("GET", "/ssh_keys")).ssh_keys
          .filter(({ id }) => !isOwn(id))
          .map(({ name }) => `key ${name}`),
        ...(await must("GET", "/images?type=snapshot")).images.map(({ id }) => `snapshot ${id}`),
      ].sort();
    assert.deepEqual(await left(), [
      "address left",
      "key left",
      `snapshot ${image.id}`,
      "volume attached",
      "volume left",
      "volume others",
      "volume protected",
    ]);
    await lookUntil(async () => (await left()).length === 3);
    assert.deepEqual(await left(), ["volume attached", "volume others", "volume protected"]);
    assert.ok(await must("GET", `/ssh_keys/${platform().sshKey}`));
    await lookUntil(() => flags().length === 1);
    assert.deepEqual(flags(), [`orphan volume ${protectedOne}`]);
  });
});
