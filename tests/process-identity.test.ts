import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../pool/clock.ts";
import { findByEnvironment, identify, isAlive } from "../pool/process-identity.ts";
import { leftoverIn, runTerraform, untilGone } from "../pool/terraform/run.ts";

describe("a process that an earlier daemon left behind", () => {
  let run: string;
  let child: ChildProcess;
  let pid: number;
  let folder: string;

  beforeEach(async () => {
    run = randomUUID();
    folder = await mkdtemp(join(tmpdir(), "clawpool-process-"));
    // Ends when its standard input does; says that it has begun, so that its environment is there to be read.
    const program =
      "process.stdin.resume(); process.stdin.on('end', () => process.exit()); console.log('on')";
    child = spawn(process.execPath, ["-e", program], {
      env: { ...process.env, CLAWPOOL_RUN: run },
      stdio: ["pipe", "pipe", "ignore"],
    });
    pid = child.pid ?? 0;
    if (child.stdout) await once(child.stdout, "data");
  });
  afterEach(async () => {
    const ended = child.exitCode === null ? once(child, "exit") : null;
    child.stdin?.end();
    await ended;
    await rm(folder, { recursive: true, force: true });
  });

  const record = (value: unknown) => writeFile(join(folder, "run.json"), JSON.stringify(value));

  it("is known by number, start and boot, so that its number in other hands is not taken for it", async () => {
    const identity = await identify(pid);
    assert.ok(identity);
    assert.equal(await isAlive(identity), true);
    assert.equal(await isAlive({ ...identity, startTime: "1" }), false);
    assert.equal(await isAlive({ ...identity, bootId: "another boot" }), false);
  });

  it("is found by its record, and waited for until it is gone", async () => {
    await record({ run, command: "apply", process: await identify(pid) });
    const leftover = await leftoverIn(folder);
    assert.equal(leftover?.process.pid, pid);
    const gone = untilGone(folder, { run, process: leftover?.process ?? assert.fail() }, systemClock);
    const ended = once(child, "exit");
    child.stdin?.end();
    await ended;
    await gone;
    assert.equal(await leftoverIn(folder), null);
  });

  it("is found by the run's name when the daemon died before it could write the number down", async function () {
    // Only Linux shows the environment of a process.
    if (process.platform !== "linux") {
      console.log("*** NOT TESTED: finding a run by its name, which needs Linux's /proc ***");
      return this.skip();
    }
    assert.equal((await findByEnvironment("CLAWPOOL_RUN", run))?.pid, pid);
    await record({ run, command: "apply" });
    assert.equal((await leftoverIn(folder))?.process.pid, pid);
  });

  for (const [what, text] of [
    ["of a run that has ended", JSON.stringify({ run: "gone", command: "apply" })],
    ["that was cut off", '{"run":"x'],
  ] as const) {
    it(`is nobody when the record is one ${what}`, async () => {
      await writeFile(join(folder, "run.json"), text);
      assert.equal(await leftoverIn(folder), null);
      await assert.rejects(stat(join(folder, "run.json")), { code: "ENOENT" });
    });
  }

  it("is nobody when terraform could not be started", async () => {
    const invocation = { bin: "/nowhere/terraform", folder, run, access: null, cliConfig: null };
    await assert.rejects(
      runTerraform(invocation, ["version"]),
      /cannot start terraform as "\/nowhere\/terraform"/,
    );
    assert.equal(await leftoverIn(folder), null);
  });
});
