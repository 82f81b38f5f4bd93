/** The contract on the emulated API, through the production wire and client. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startHetzner } from "../cloud/hetzner/hetzner.ts";
import { nullBackend } from "../cloud/machines/null.ts";
import { cloudOf, wireOf } from "./cloud-of.ts";
import { hetznerContract } from "./contract.ts";

hetznerContract("the emulated API", async ({ slow }) => {
  const dir = await mkdtemp(join(tmpdir(), "clawpool-hetzner-"));
  const hetzner = await startHetzner({
    stateDir: dir,
    backend: nullBackend(),
    speed: slow ? 1 : 10_000,
    requestsPerHour: 1_000_000,
  });
  return {
    wire: wireOf(hetzner),
    cloud: cloudOf(hetzner),
    async close() {
      await hetzner.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
});
