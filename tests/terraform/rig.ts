/** Real terraform with the provider of the mirror, on the emulated Hetzner with machines that are only addresses. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "../../pool/secrets/secret.ts";
import { createTerraform } from "../../pool/terraform/create-terraform.ts";
import type {
  Access,
  MachineStackInput,
  PlatformIds,
  PlatformStackInput,
  Terraform,
} from "../../pool/terraform/terraform.ts";
import { type Hetzner, startHetzner } from "../cloud/hetzner/hetzner.ts";
import { type NullBackend, nullBackend } from "../cloud/machines/null.ts";
import { ensureProviderMirror } from "../cloud/provider/mirror.ts";

export interface Rig {
  readonly dir: string;
  /** Of the terraform folders. */
  readonly root: string;
  readonly cliConfig: string;
  readonly hetzner: Hetzner;
  readonly backend: NullBackend;
  readonly terraform: Terraform;
  readonly access: Access;
  close(): Promise<void>;
}

export async function startRig(): Promise<Rig> {
  const { cliConfigFile } = await ensureProviderMirror();
  const dir = await mkdtemp(join(tmpdir(), "clawpool-terraform-"));
  const backend = nullBackend();
  const hetzner = await startHetzner({ stateDir: join(dir, "hetzner"), backend, speed: 10_000 });
  const root = join(dir, "terraform");
  return {
    dir,
    root,
    cliConfig: cliConfigFile,
    hetzner,
    backend,
    terraform: createTerraform({ root, bin: "terraform", cliConfig: cliConfigFile }),
    access: { endpoint: hetzner.endpoint, token: new Secret(hetzner.token) },
    close: async () => {
      await hetzner.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export const platformInput: PlatformStackInput = {
  instance: "test",
  controllerPublicKey:
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDAC9VU7APDnCCvX5QiSQ9WLytTvRbUo/soPk0znodl controller",
  sshFrom: ["203.0.113.7/32"],
  networkCidr: "10.60.0.0/16",
  networkZone: "eu-central",
  placementGroups: 2,
};

export const machineInput = (platform: PlatformIds, name = "claw-test-a"): MachineStackInput => ({
  name,
  serverType: "cx23",
  image: "debian-12",
  location: "fsn1",
  userData: "#cloud-config\n{}\n",
  labels: { "managed-by": "clawpool", "clawpool-instance": "test" },
  platform,
  placementGroup: 1,
});
