/** The stored form of each resource. What the API shows is computed from it by the resource's own module. */
export type Labels = Readonly<Record<string, string>>;

/** Milliseconds since the Unix epoch. */
type Millis = number;

export type ServerStatus =
  | "initializing"
  | "starting"
  | "running"
  | "stopping"
  | "off"
  | "deleting"
  | "rebuilding"
  | "migrating"
  | "unknown";

export interface PrivateNet {
  readonly network: number;
  readonly ip: string;
  readonly alias_ips: readonly string[];
  readonly mac_address: string;
}

export interface ServerDocument {
  readonly name: string;
  readonly labels: Labels;
  readonly created: Millis;
  readonly status: ServerStatus;
  readonly serverType: string;
  readonly location: string;
  readonly image: number;
  readonly ipv4: number | null;
  readonly ipv6: number | null;
  readonly privateNet: readonly PrivateNet[];
  readonly placementGroup: number | null;
  readonly protection: { readonly delete: boolean; readonly rebuild: boolean };
  /** GB */
  readonly primaryDiskSize: number;
  /** The name is taken but the machine behind it is not there yet: no list and no GET shows it. */
  readonly reserved: boolean;
}

export interface SshKeyDocument {
  readonly name: string;
  readonly labels: Labels;
  readonly created: Millis;
  readonly publicKey: string;
  readonly fingerprint: string;
}

export interface FirewallRule {
  readonly direction: "in" | "out";
  readonly protocol: "tcp" | "udp" | "icmp" | "esp" | "gre";
  readonly port: string | null;
  readonly source_ips: readonly string[];
  readonly destination_ips: readonly string[];
  readonly description: string | null;
}

export type FirewallTarget =
  | { readonly type: "server"; readonly server: number }
  | { readonly type: "label_selector"; readonly selector: string };

export interface FirewallDocument {
  readonly name: string;
  readonly labels: Labels;
  readonly created: Millis;
  readonly rules: readonly FirewallRule[];
  readonly appliedTo: readonly FirewallTarget[];
}

export interface PlacementGroupDocument {
  readonly name: string;
  readonly labels: Labels;
  readonly created: Millis;
  readonly type: "spread";
}

export interface Subnet {
  readonly type: "cloud" | "server";
  readonly ip_range: string;
  readonly network_zone: string;
  readonly gateway: string;
}

export interface NetworkDocument {
  readonly name: string;
  readonly labels: Labels;
  readonly created: Millis;
  readonly ipRange: string;
  readonly subnets: readonly Subnet[];
  readonly routes: readonly { readonly destination: string; readonly gateway: string }[];
  readonly exposeRoutesToVswitch: boolean;
}

export interface PrimaryIpDocument {
  readonly name: string;
  readonly labels: Labels;
  readonly created: Millis;
  readonly type: "ipv4" | "ipv6";
  /** An address, or for ipv6 a /64 in the form `2001:db8:1:2::/64`. */
  readonly ip: string;
  readonly location: string;
  readonly autoDelete: boolean;
  readonly assignee: number | null;
}

export interface Documents {
  server: ServerDocument;
  ssh_key: SshKeyDocument;
  firewall: FirewallDocument;
  placement_group: PlacementGroupDocument;
  network: NetworkDocument;
  primary_ip: PrimaryIpDocument;
}

export type Kind = keyof Documents;

export type Stored<K extends Kind> = Documents[K] & { readonly id: number; readonly project: number };
