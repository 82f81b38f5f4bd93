import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { machineContract } from "./contract.ts";
import { answers } from "./probe.ts";
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
