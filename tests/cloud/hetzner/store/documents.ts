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
  /** The system image at the root of `image`, which may be a snapshot that is gone by now. */
  readonly baseImage: number;
  /** It was ordered with SSH keys: then no root password is made, neither now nor by a rebuild. */
  readonly keyLogin: boolean;
  /** What root's password becomes with the next boot from its own disk; null: it stays. */
  readonly nextPassword: string | null;
  /** When it was last switched on; null while it never was. */
  readonly bootedAt: Millis | null;
  readonly iso: number | null;
  /** Until when the next boot is one into the rescue system. */
  readonly rescueUntil: Millis | null;
  /** Two hours of the day in UTC, as `22-02`; null without backups. */
  readonly backupWindow: string | null;
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

/** A snapshot or backup; system images are in the catalogue. */
export interface ImageDocument {
  /** Made up, for no two have the same; the API shows images of users without a name. */
  readonly name: string;
  readonly labels: Labels;
  readonly created: Millis;
  readonly type: "snapshot" | "backup";
  readonly status: "creating" | "available" | "unavailable";
  readonly description: string;
  readonly createdFrom: { readonly id: number; readonly name: string };
  readonly location: string;
  /** Of a backup: its server. */
  readonly boundTo: number | null;
  /** The system image at its root. */
  readonly base: number;
  /** What the machines' backend calls it; null until it is there. */
  readonly handle: string | null;
  /** GB; null until it is known. */
  readonly size: number | null;
  /** GB */
  readonly diskSize: number;
  readonly protection: DeleteProtection;
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

export interface NetworkRoute {
  readonly destination: string;
  readonly gateway: string;
}

/** Protection of everything but servers. */
export interface DeleteProtection {
  readonly delete: boolean;
}

/** Reverse names that were set, by address in canonical form; an IPv4 address that is not here has the default. */
export type DnsPtrs = Readonly<Record<string, string>>;

export interface NetworkDocument {
  readonly name: string;
  readonly labels: Labels;
  readonly created: Millis;
  readonly ipRange: string;
  readonly subnets: readonly Subnet[];
  readonly routes: readonly NetworkRoute[];
  readonly exposeRoutesToVswitch: boolean;
  readonly protection: DeleteProtection;
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
  readonly dnsPtrs: DnsPtrs;
  readonly protection: DeleteProtection;
}

export interface FloatingIpDocument {
  readonly name: string;
  readonly labels: Labels;
  readonly created: Millis;
  readonly description: string | null;
  readonly type: "ipv4" | "ipv6";
  /** As with primary IPs. */
  readonly ip: string;
  readonly homeLocation: string;
  readonly server: number | null;
  readonly dnsPtrs: DnsPtrs;
  readonly protection: DeleteProtection;
}

export interface LoadBalancerDocument {
  readonly name: string;
  readonly labels: Labels;
  readonly created: Millis;
  /** Name of a load balancer type. */
  readonly type: string;
  readonly location: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly algorithm: "round_robin" | "least_connections";
  readonly dnsPtrs: DnsPtrs;
  readonly protection: DeleteProtection;
}

export interface VolumeDocument {
  readonly name: string;
  readonly labels: Labels;
  readonly created: Millis;
  /** GB */
  readonly size: number;
  readonly location: string;
  readonly server: number | null;
  readonly format: "ext4" | "xfs" | null;
  readonly status: "creating" | "available";
  readonly protection: DeleteProtection;
}

export interface Documents {
  server: ServerDocument;
  image: ImageDocument;
  ssh_key: SshKeyDocument;
  firewall: FirewallDocument;
  placement_group: PlacementGroupDocument;
  network: NetworkDocument;
  primary_ip: PrimaryIpDocument;
  floating_ip: FloatingIpDocument;
  volume: VolumeDocument;
  load_balancer: LoadBalancerDocument;
}

export type Kind = keyof Documents;

export type Stored<K extends Kind> = Documents[K] & { readonly id: number; readonly project: number };
