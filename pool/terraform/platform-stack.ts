/** What all machines of an installation share. Changed rarely, and by its own runs, which never touch a server. */
import type { App } from "./cdk.ts";
import {
  Firewall,
  LocalBackend,
  Network,
  NetworkSubnet,
  PlacementGroup,
  SshKey,
  TerraformOutput,
  TerraformStack,
} from "./cdk.ts";
import { platformName, sharedName, stackFolder, stateFileOf } from "./folders.ts";
import { configureProvider } from "./machine-stack.ts";
import { literal, reference } from "./template.ts";
import type { PlatformIds, PlatformStackInput } from "./terraform.ts";

const anywhere = ["0.0.0.0/0", "::/0"];

export class PlatformStack extends TerraformStack {
  /** @param root the folder below which the state files are (absolute) */
  constructor(app: App, input: PlatformStackInput, root: string) {
    super(app, platformName);
    new LocalBackend(this, { path: stateFileOf(stackFolder(root, platformName)) });
    configureProvider(this);
    const name = literal(sharedName(input.instance));
    const labels = { "managed-by": "clawpool", "clawpool-instance": literal(input.instance) };

    new SshKey(this, "key", { name, labels, publicKey: literal(input.controllerPublicKey) });
    new Firewall(this, "firewall", {
      name,
      labels,
      // What is not listed is dropped on the way in; everything may go out.
      rule: [
        { direction: "in", protocol: "tcp", port: "22", sourceIps: input.sshFrom.map(literal) },
        // Tailscale's direct connections; without it every packet goes through a relay.
        { direction: "in", protocol: "udp", port: "41641", sourceIps: anywhere },
        { direction: "in", protocol: "icmp", sourceIps: anywhere },
      ],
    });
    new Network(this, "network", { name, labels, ipRange: literal(input.networkCidr) });
    const subnet = new NetworkSubnet(this, "subnet", {
      networkId: 0,
      type: "cloud",
      networkZone: literal(input.networkZone),
      ipRange: literal(input.networkCidr),
    });
    // A plain-string reference where the class wants a number; terraform converts it.
    subnet.addOverride("network_id", reference("hcloud_network.network.id"));
    for (let index = 0; index < input.placementGroups; index++) {
      new PlacementGroup(this, `group-${index}`, { name: `${name}-${index}`, labels, type: "spread" });
    }

    const number = (resource: string) => reference(`tonumber(${resource}.id)`);
    new TerraformOutput(this, "ssh_key_id", { value: number("hcloud_ssh_key.key") });
    new TerraformOutput(this, "firewall_id", { value: number("hcloud_firewall.firewall") });
    new TerraformOutput(this, "network_id", { value: number("hcloud_network.network") });
    new TerraformOutput(this, "placement_group_ids", {
      value: Array.from({ length: input.placementGroups }, (_, index) =>
        number(`hcloud_placement_group.group-${index}`),
      ),
    });
  }
}

/** The stack's resources as `terraform import` wants them: address and id at Hetzner. */
export const platformAddresses = (
  { networkCidr }: Pick<PlatformStackInput, "networkCidr">,
  { sshKey, firewall, network, placementGroups }: PlatformIds,
): (readonly [address: string, id: string])[] => [
  ["hcloud_ssh_key.key", String(sshKey)],
  ["hcloud_firewall.firewall", String(firewall)],
  ["hcloud_network.network", String(network)],
  ["hcloud_network_subnet.subnet", `${network}-${networkCidr}`],
  ...placementGroups.map((id, index) => [`hcloud_placement_group.group-${index}`, String(id)] as const),
];
