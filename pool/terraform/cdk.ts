/**
 * The one place that imports the CDK library and the generated bindings. The package name `cdktf` stands for cdktn,
 * the maintained continuation of CDKTF (docs/decisions/0001-cdk-continuation.md).
 */
export { App, LocalBackend, TerraformOutput, TerraformStack } from "cdktf";
export { Firewall } from "../../.gen/providers/hcloud/firewall/index.ts";
export { Network } from "../../.gen/providers/hcloud/network/index.ts";
export { NetworkSubnet } from "../../.gen/providers/hcloud/network-subnet/index.ts";
export { PlacementGroup } from "../../.gen/providers/hcloud/placement-group/index.ts";
export { HcloudProvider } from "../../.gen/providers/hcloud/provider/index.ts";
export { Server } from "../../.gen/providers/hcloud/server/index.ts";
export { SshKey } from "../../.gen/providers/hcloud/ssh-key/index.ts";
