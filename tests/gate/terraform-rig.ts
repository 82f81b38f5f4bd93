/** Real terraform and the hcloud provider, the gate, and the local cloud's Hetzner without machines behind it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../../pool/clock.ts";
import { createBudget } from "../../pool/cloud/budget.ts";
import type { Gate, GateLedger } from "../../pool/cloud/cloud.ts";
import { createGate, type GateTiming } from "../../pool/cloud/gate/gate.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { createTerraform } from "../../pool/terraform/create-terraform.ts";
import type { Access, MachineStackInput, PlatformIds, Terraform } from "../../pool/terraform/terraform.ts";
import { type Hetzner, startHetzner } from "../cloud/hetzner/hetzner.ts";
import { nullBackend } from "../cloud/machines/null.ts";
import { ensureProviderMirror } from "../cloud/provider/mirror.ts";
import { publicKey } from "./fixtures/public-key.ts";
import { type MemoryLedger, memoryLedger } from "./rig.ts";

export interface TerraformRig {
  readonly hetzner: Hetzner;
  readonly gate: Gate;
  readonly ledger: MemoryLedger;
  readonly terraform: Terraform;
  /** Folder of terraform's folders, and its CLI config file. */
  readonly root: string;
  readonly cliConfig: string;
  readonly bare: Access;
  readonly clock: Clock;
  readonly warnings: string[];
  /** True when the mirror holds Hetzner's own provider. */
  readonly realProvider: boolean;
  stack(name: string, labels?: Readonly<Record<string, string>>): MachineStackInput;
  close(): Promise<void>;
}

export interface TerraformRigOptions {
  readonly profile: "realistic" | "fast";
  readonly clock?: Clock;
  readonly timing?: Partial<GateTiming>;
  /** Instead of one in memory. */
  readonly ledger?: GateLedger;
}

export async function startTerraformRig(options: TerraformRigOptions): Promise<TerraformRig> {
  const { clock = systemClock } = options;
  const mirror = await ensureProviderMirror();
  const folder = await mkdtemp(join(tmpdir(), "clawpool-gate-"));
  const hetzner = await startHetzner({
    stateDir: join(folder, "hetzner"),
    backend: nullBackend(),
    profile: options.profile,
  });
  const ledger = memoryLedger();
  const warnings: string[] = [];
  const note = (_fields: unknown, message?: string) => void warnings.push(message ?? "");
  const bare = { endpoint: hetzner.endpoint, token: new Secret(hetzner.token) };
  const gate = await createGate({
    upstream: bare,
    ledger: options.ledger ?? ledger,
    budget: createBudget({ requestsPerHour: 3_600, clock }),
    clock,
    log: { info: () => {}, warn: note, error: note },
    timing: options.timing,
  });
  const terraform = createTerraform({
    root: join(folder, "terraform"),
    bin: "terraform",
    cliConfig: mirror.cliConfigFile,
  });
  const run = gate.openRun({ kind: "platform", actor: "test", destroy: false, priority: "person" });
  const platform: PlatformIds = (
    await terraform.applyPlatform(
      {
        instance: "test",
        controllerPublicKey: publicKey,
        sshFrom: ["0.0.0.0/0"],
        networkCidr: "10.0.0.0/16",
        networkZone: "eu-central",
        placementGroups: 4,
      },
      run,
    )
  ).ids;
  run.close();
  hetzner.clearCalls();
  // Hetzner puts at most ten servers into one spread group.
  const names: string[] = [];
  const groupOf = (name: string): number => {
    if (!names.includes(name)) names.push(name);
    return Math.floor(names.indexOf(name) / 10);
  };
  return {
    hetzner,
    gate,
    ledger,
    terraform,
    root: join(folder, "terraform"),
    cliConfig: mirror.cliConfigFile,
    bare,
    clock,
    warnings,
    realProvider: mirror.real,
    stack: (name, labels = {}) => ({
      name,
      serverType: "cx23",
      image: "debian-12",
      location: "fsn1",
      userData: "#cloud-config\n",
      labels: { "managed-by": "clawpool", machine: name, ...labels },
      platform,
      placementGroup: groupOf(name),
    }),
    async close() {
      await gate.close();
      await hetzner.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
