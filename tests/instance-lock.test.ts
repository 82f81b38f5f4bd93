import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { lockInstance } from "../pool/store/instance-lock.ts";

const child = fileURLToPath(new URL("instance-lock-child.ts", import.meta.url));

describe("the instance lock", () => {
  let dir: string;
  let file: string;
  const children: ChildProcess[] = [];

  /** Another process that asks for the lock. */
  async function other(): Promise<{ answer: string; kill(): Promise<void> }> {
    const started = spawn(process.execPath, [child, file], { stdio: ["pipe", "pipe", "inherit"] });
    children.push(started);
    const exited = once(started, "exit");
    const [said] = await once(started.stdout, "data");
    return {
      answer: String(said).trim(),
      async kill() {
        started.kill("SIGKILL");
        await exited;
      },
    };
  }

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-lock-"));
    file = join(dir, "daemon.lock");
  });
  afterEach(() => {
    for (const each of children.splice(0)) each.kill("SIGKILL");
    rmSync(dir, { recursive: true });
  });

  it("is held by one, in this process or another, until it is given back", async () => {
    const unlock = lockInstance(file);
    assert.ok(unlock);
    assert.equal(lockInstance(file), null);
    assert.equal((await other()).answer, "refused");
    unlock();
    const again = lockInstance(file);
    assert.ok(again);
    again();
  });

  it("is freed by the kernel when its holder is killed", async () => {
    const holder = await other();
    assert.equal(holder.answer, "held");
    assert.equal(lockInstance(file), null);
    await holder.kill();
    const unlock = lockInstance(file);
    assert.ok(unlock);
    unlock();
  });

  it("says what is wrong when the file cannot be made", () => {
    assert.throws(() => lockInstance(join(dir, "none", "daemon.lock")), /directory does not exist/);
  });
});
