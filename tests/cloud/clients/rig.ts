import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Hetzner, type HetznerOptions, startHetzner } from "../hetzner/hetzner.ts";
import { type NullBackend, nullBackend } from "../machines/null.ts";

export interface ClientRig {
  readonly hetzner: Hetzner;
  readonly backend: NullBackend;
  close(): Promise<void>;
}

/** An emulator in real time for clients in other processes: actions take milliseconds, machines are only addresses. */
export async function startClientRig(options: Partial<HetznerOptions> = {}): Promise<ClientRig> {
  const stateDir = await mkdtemp(join(tmpdir(), "clawpool-clients-"));
  const backend = nullBackend();
  const hetzner = await startHetzner({
    stateDir,
    backend,
    speed: 2_000,
    requestsPerHour: 360_000,
    ...options,
  });
  return {
    hetzner,
    backend,
    close: async () => {
      await hetzner.close();
      await rm(stateDir, { recursive: true });
    },
  };
}
