/** D6 and D7: yesterday's database, and none at all, on the local cloud. */
import { strict as assert } from "node:assert";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { clawpoolArgs } from "../cloud/daemon-process.ts";
import { onLocalCloud } from "./fault.ts";
import { type FaultRig, startFaultRig } from "./rig.ts";

describe("faults: a database that is old or gone, on the local cloud", function () {
  this.timeout(300_000);
  let rig: FaultRig & { stop(): Promise<void> };

  before(async () => {
    rig = await startFaultRig({ minReady: 3, maxTotal: 3 });
    await rig.ready(3);
  });
  after(() => rig?.stop());

  const fault = onLocalCloud(() => rig);
  const clawpool = async (...args: string[]) => {
    const { exitCode, all } = await execa(
      process.execPath,
      clawpoolArgs(rig.rig.operator.configFile, ...args),
      {
        reject: false,
        all: true,
      },
    );
    assert.equal(exitCode, 0, `${args.join(" ")}: ${all}`);
    return all;
  };
  const deletes = () => rig.rig.cloud.hetzner.calls().filter(({ method }) => method === "DELETE").length;

  fault("D6", "a backup from before the last customer takes nobody's machine away", async () => {
    const early = await rig.serve("d6-early");
    const file = join(rig.rig.dir, "yesterday.backup");
    await clawpool("backup", "--to", file);
    const late = await rig.serve("d6-late");
    const machines = [early, late].map(({ id }) => rig.machineOf(id));
    assert.equal(await rig.rig.daemon.stop(), 0);
    await clawpool("restore", file, "--over-newer");
    rig.reopenStore();
    await rig.rig.restart();
    const before = deletes();
    await clawpool("recover", "status", "--look");
    await clawpool("recover", "release", "--all");
    for (const [index, { id }] of [early, late].entries()) {
      await rig.rig.until("it runs again", async () => rig.store.order(id)?.state === "running");
      assert.equal(rig.machineOf(id), machines[index]);
    }
    assert.equal(deletes(), before);
  });

  fault("D6", "nor does one of after that quarantine, whose findings it still has", async () => {
    await rig.ready(1);
    const file = join(rig.rig.dir, "between.backup");
    await clawpool("backup", "--to", file);
    const { id } = await rig.serve("d6-between");
    const machine = rig.machineOf(id);
    assert.equal(await rig.rig.daemon.stop(), 0);
    await clawpool("restore", file, "--over-newer");
    rig.reopenStore();
    await rig.rig.restart();
    const before = deletes();
    // Without a look of one's own: the daemon's at its start is what counts.
    await clawpool("recover", "release", "--all");
    await rig.rig.until("it runs again", async () => rig.store.order(id)?.state === "running");
    assert.equal(rig.machineOf(id), machine);
    assert.equal(deletes(), before);
  });

  fault("D7", "a store that is gone is rebuilt, and everybody keeps what they have", async () => {
    const running = rig.store.orders({ states: ["running"] });
    assert(running.length > 0);
    assert.equal(await rig.rig.daemon.stop(), 0);
    const { stateDir } = rig.rig.operator;
    for (const name of readdirSync(stateDir))
      if (name.startsWith("clawpool.sqlite")) rmSync(join(stateDir, name));
    await clawpool("recover");
    rig.reopenStore();
    await rig.rig.restart();
    await clawpool("recover", "status", "--look");
    await clawpool("recover", "release", "--all");
    for (const { id, machine } of running) {
      await rig.rig.until("it runs again", async () => rig.store.order(id)?.state === "running");
      assert.equal(rig.machineOf(id), machine);
    }
  });
});
