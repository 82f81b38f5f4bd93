/** A store that comes back twice: nothing of the first quarantine counts in the second. */
import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MachineName } from "../../pool/machine/machine.ts";
import { noteFindings, readFindings, recoveryStatus } from "../../pool/recovery/findings.ts";
import { quarantineOlderStore } from "../../pool/recovery/open-store.ts";
import { ReleaseError, release } from "../../pool/recovery/release.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { noteWitness } from "../../pool/store/witness.ts";
import { exampleConfig } from "../machine/fakes.ts";
import { makeReady } from "../store/rows.ts";
import { VirtualClock } from "../virtual-clock.ts";

describe("a quarantine behind another one", () => {
  const sealer = createSealer([newSealingKey()]);
  let clock: VirtualClock;
  let store: Store;
  let one: MachineName;
  let two: MachineName;

  beforeEach(() => {
    clock = new VirtualClock();
    store = openSqliteStore({ file: ":memory:", sealer, clock });
    one = makeReady(store, "m-1");
    two = makeReady(store, "m-2");
    store.enterQuarantine("a backup was restored");
    look();
  });
  afterEach(() => store.close());

  /** As inspect.ts leaves it behind a look that was sure of everything. */
  function look(): void {
    const machines = [one, two].map((name) => ({
      machine: name,
      sure: true,
      text: store.machine(name)?.held ?? "",
    }));
    noteFindings(store, machines, clock.now());
  }
  const letGo = (machine: MachineName | null) =>
    release(
      { store, config: exampleConfig, clock },
      { machine, retire: false, serves: false, actor: "person:ada" },
    );
  const held = () =>
    store
      .machines({ live: true })
      .filter((machine) => machine.held !== null)
      .map(({ name }) => name);

  it("has looked at nothing yet, and releases nothing before it has", () => {
    letGo(null);
    store.enterQuarantine("another was restored");
    assert.equal(store.setting("quarantine/findings"), null);
    const { inspectedAt, machines } = recoveryStatus(store);
    assert.equal(inspectedAt, null);
    assert.deepEqual(
      machines.map(({ sure }) => sure),
      [false, false],
    );
    for (const which of [null, one]) assert.throws(() => letGo(which), ReleaseError);
    look();
    assert.deepEqual(letGo(null).held, []);
  });

  it("takes no findings for its own that say of which earlier one they are, whatever the clocks were", async () => {
    const older = store.setting("quarantine/findings") ?? assert.fail();
    await clock.advance(1);
    store.enterQuarantine("another was restored");
    store.putSetting("quarantine/findings", older);
    assert.equal(readFindings(store), null);
    store.putSetting("quarantine/findings", JSON.stringify({ ...JSON.parse(older), at: clock.now() + 1 }));
    assert.equal(readFindings(store), null);
  });

  it("holds what a person released in the first one, which lasts, and says since when and why", async () => {
    letGo(one);
    assert.deepEqual(held(), [two]);
    await clock.advance(60_000);
    store.enterQuarantine("another was restored");
    assert.deepEqual(held(), [one, two]);
    assert.deepEqual(store.quarantine(), { since: clock.now(), why: "another was restored" });
    const entered = store
      .auditRows({ subject: "store" })
      .filter(({ action }) => action === "quarantine.entered");
    assert.deepEqual(
      entered.map(({ why }) => why),
      ["a backup was restored", "another was restored"],
    );
  });

  it("is not entered by a start that follows, so that what was released goes on", async () => {
    const dir = mkdtempSync(join(tmpdir(), "clawpool-quarantine-"));
    try {
      await noteWitness(dir, { auditHead: () => ({ seq: 9_000, hash: "0".repeat(64) }) });
      await quarantineOlderStore(dir, store);
      assert.match(store.quarantine()?.why ?? "", /older than the last that ran here/);
      look();
      letGo(one);
      await quarantineOlderStore(dir, store);
      assert.deepEqual(held(), [two]);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it("is over for all that a look was sure of; what is held for another reason waits to be named", () => {
    letGo(one);
    store.holdMachine(one, "proving", "it says that it has an order");
    assert.deepEqual(letGo(null), { machines: [{ name: two, state: "proving" }], held: [one], ended: true });
    assert.deepEqual(
      recoveryStatus(store).machines.map(({ name, sure }) => [name, sure]),
      [[one, false]],
    );
    assert.deepEqual(letGo(null), { machines: [], held: [one], ended: false });
    assert.equal(letGo(one).machines[0]?.state, "proving");
  });
});
