import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { machineContract } from "./contract.ts";
import { answers, until } from "./probe.ts";
import { createProcessBackend } from "./process/backend.ts";

machineContract("process", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "clawpool-process-"));
  const backend = createProcessBackend({ stateDir, sshPort: 22_122 });
  const created: string[] = [];
  const { create } = backend;
  const watched = {
    ...backend,
    async create(...spec: Parameters<typeof create>) {
      const made = await create(...spec);
      created.push(made.ipv4);
      return made;
    },
  };
  const leftovers = async () => {
    const found = (await readdir(stateDir)).map((name) => `folder ${name}`);
    for (const address of created)
      if (await answers(address, 22_122)) found.push(`an answer from ${address}`);
    await rm(stateDir, { recursive: true, force: true });
    return found;
  };
  return { backend: watched, sshPort: 22_122, leftovers };
});

describe("machines that are folders", function () {
  this.timeout(30_000);

  it("leave nothing behind for long when the local cloud is killed", async () => {
    const stateDir = await mkdtemp(join(tmpdir(), "clawpool-process-"));
    const doomed = spawn(
      process.execPath,
      [fileURLToPath(new URL("process/doomed-owner.ts", import.meta.url)), stateDir],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    const [said] = (await once(doomed.stdout, "data")) as [Buffer];
    const { address, gateway, sockets } = JSON.parse(String(said)) as Record<string, string>;
    assert.equal(await answers(address ?? "", 22_122), true);
    assert.equal(await answers(address ?? "", Number(gateway)), true);
    doomed.kill("SIGKILL");
    await once(doomed, "exit");
    await until(async () => !(await answers(address ?? "", Number(gateway))));

    const next = createProcessBackend({ stateDir: `${stateDir}-next`, sshPort: 22_122 });
    await next.start();
    try {
      assert.deepEqual(await readdir(stateDir), []);
      await assert.rejects(readdir(sockets ?? ""), { code: "ENOENT" });
    } finally {
      await next.stop();
      await rm(stateDir, { recursive: true });
      await rm(`${stateDir}-next`, { recursive: true });
    }
  });
});
