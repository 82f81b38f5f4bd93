/**
 * One machine: a Hetzner server and nothing else. Everything shared (key, firewall, placement groups) belongs to the
 * platform stack and comes in as plain numbers, so that no machine's run can touch another's.
 *
 * References are written as plain strings. The library keeps every token (`server.ipv4Address` …) in a global map
 * for the life of the process, 10-17 kB a synthesized stack, which a daemon cannot afford.
 */
import type { App } from "./cdk.ts";
import { HcloudProvider, LocalBackend, Server, TerraformOutput, TerraformStack } from "./cdk.ts";
import { stackFolder, stateFileOf } from "./folders.ts";
import { literal, literals, reference } from "./template.ts";
import type { MachineStackInput } from "./terraform.ts";

/** terraform's address of the server in every machine's stack. */
export const serverAddress = "hcloud_server.server";

export class MachineStack extends TerraformStack {
  /** @param root the folder below which the state files are (absolute) */
  constructor(app: App, input: MachineStackInput, root: string) {
    super(app, input.name);
    new LocalBackend(this, { path: stateFileOf(stackFolder(root, input.name)) });
    configureProvider(this);
    const group = input.platform.placementGroups[input.placementGroup];
    if (group === undefined) {
      throw new Error(
        `machine ${input.name}: placement group ${input.placementGroup} of ${input.platform.placementGroups.length}`,
      );
    }
    new Server(this, "server", {
      name: input.name,
      serverType: literal(input.serverType),
      image: literal(input.image),
      location: literal(input.location),
      userData: literal(input.userData),
      labels: literals(input.labels),
      sshKeys: [String(input.platform.sshKey)],
      firewallIds: [input.platform.firewall],
      placementGroupId: group,
      publicNet: [{ ipv4Enabled: true, ipv6Enabled: true }],
      // The provider replaces a server for a change of the first three, and a pool's new image or key must never do
      // that to a machine that lives. Old machines are retired by age instead. An imported state does not have them,
      // nor `public_net`, for a change of which the provider switches the server off.
      lifecycle: { ignoreChanges: ["image", "ssh_keys", "user_data", "public_net"] },
    });
    new TerraformOutput(this, "server_id", { value: reference(`${serverAddress}.id`) });
    new TerraformOutput(this, "ipv4", { value: reference(`${serverAddress}.ipv4_address`) });
  }
}

/**
 * Token and endpoint come from the environment only (HCLOUD_TOKEN, HCLOUD_ENDPOINT), so that neither is in the
 * configuration, the plan or the state. Polls are quick and regular: the gate answers them from one batched call,
 * and the provider's default back-off overshoots a 45 s creation by 18 s.
 */
export function configureProvider(stack: TerraformStack): void {
  new HcloudProvider(stack, "hcloud", { pollFunction: "constant", pollInterval: "200ms" });
}
