/** What the tests read of the API's answers. The whole shapes are held against Hetzner's API description. */
interface Named {
  readonly id: number;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ServerView extends Named {
  readonly status: string;
  readonly locked: boolean;
  readonly image: { readonly id: number; readonly name: string | null } | null;
  readonly server_type: { readonly name: string };
  /** GB */
  readonly primary_disk_size: number;
  readonly iso: { readonly id: number } | null;
  readonly rescue_enabled: boolean;
  readonly backup_window: string | null;
  readonly location: { readonly name: string };
  readonly protection: { readonly delete: boolean };
  readonly placement_group: { readonly id: number } | null;
  readonly volumes: readonly number[];
  readonly private_net: readonly {
    readonly network: number;
    readonly ip: string;
    readonly alias_ips: readonly string[];
  }[];
  readonly public_net: {
    readonly ipv4: { readonly id: number; readonly ip: string; readonly dns_ptr: string | null } | null;
    readonly ipv6: {
      readonly id: number;
      readonly ip: string;
      readonly dns_ptr: readonly DnsPtrView[];
    } | null;
    readonly floating_ips: readonly number[];
    readonly firewalls: readonly { readonly id: number; readonly status: string }[];
  };
}

export interface ImageView {
  readonly id: number;
  readonly name: string | null;
  readonly type: string;
  readonly status: string;
  readonly description: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly image_size: number | null;
  readonly disk_size: number;
  readonly created_from: { readonly id: number; readonly name: string } | null;
  readonly bound_to: number | null;
  readonly os_flavor: string;
  readonly architecture: string;
  readonly protection: { readonly delete: boolean };
}

export interface IsoView {
  readonly id: number;
  readonly name: string | null;
  readonly description: string;
  readonly architecture: string | null;
}

export interface ActionView {
  readonly id: number;
  readonly command: string;
  readonly status: string;
  readonly progress: number;
  readonly finished: string | null;
  readonly resources: readonly { readonly id: number; readonly type: string }[];
  readonly error: { readonly code: string; readonly message: string } | null;
}

export interface SshKeyView extends Named {
  readonly fingerprint: string;
  readonly public_key: string;
}

export interface FirewallView extends Named {
  readonly rules: readonly { readonly source_ips: readonly string[]; readonly port: string | null }[];
  readonly applied_to: readonly {
    readonly type: string;
    readonly applied_to_resources?: readonly { readonly server: { readonly id: number } }[];
  }[];
}

export interface NetworkView extends Named {
  readonly ip_range: string;
  readonly servers: readonly number[];
  readonly subnets: readonly { readonly ip_range: string; readonly gateway: string }[];
  readonly routes: readonly { readonly destination: string; readonly gateway: string }[];
  readonly protection: { readonly delete: boolean };
  readonly expose_routes_to_vswitch: boolean;
}

export interface DnsPtrView {
  readonly ip: string;
  readonly dns_ptr: string;
}

export interface PrimaryIpView extends Named {
  readonly ip: string;
  readonly assignee_id: number | null;
  readonly assignee_type: string;
  readonly auto_delete: boolean;
  readonly location: { readonly name: string };
  readonly dns_ptr: readonly DnsPtrView[];
  readonly protection: { readonly delete: boolean };
}

export interface FloatingIpView extends Named {
  readonly ip: string;
  readonly description: string | null;
  readonly server: number | null;
  readonly home_location: { readonly name: string };
  readonly dns_ptr: readonly DnsPtrView[];
}

export interface LoadBalancerView extends Named {
  readonly public_net: {
    readonly ipv4: { readonly ip: string; readonly dns_ptr: string | null };
    readonly ipv6: { readonly ip: string; readonly dns_ptr: string | null };
  };
  readonly location: { readonly name: string };
  readonly load_balancer_type: { readonly name: string };
  readonly algorithm: { readonly type: string };
}

export interface VolumeView extends Named {
  readonly server: number | null;
  readonly size: number;
  readonly status: string;
  readonly format: string | null;
  readonly linux_device: string;
  readonly location: { readonly name: string };
  readonly protection: { readonly delete: boolean };
}

/** Every key that some answer has; the operation decides which are really there. */
export interface Body {
  readonly server: ServerView;
  readonly servers: readonly ServerView[];
  readonly action: ActionView;
  readonly actions: readonly ActionView[];
  readonly next_actions: readonly ActionView[];
  readonly root_password: string | null;
  readonly ssh_key: SshKeyView;
  readonly ssh_keys: readonly SshKeyView[];
  readonly firewall: FirewallView;
  readonly network: NetworkView;
  readonly placement_group: Named & { readonly servers: readonly number[] };
  readonly primary_ip: PrimaryIpView;
  readonly primary_ips: readonly PrimaryIpView[];
  readonly floating_ip: FloatingIpView;
  readonly floating_ips: readonly FloatingIpView[];
  readonly volume: VolumeView;
  readonly volumes: readonly VolumeView[];
  readonly networks: readonly NetworkView[];
  readonly load_balancer: LoadBalancerView;
  readonly load_balancers: readonly LoadBalancerView[];
  readonly locations: readonly Named[];
  readonly datacenters: readonly Named[];
  readonly image: ImageView;
  readonly images: readonly ImageView[];
  readonly iso: IsoView;
  readonly isos: readonly IsoView[];
  readonly wss_url: string;
  readonly password: string;
  readonly metrics: {
    readonly start: string;
    readonly end: string;
    /** Seconds. */
    readonly step: number;
    readonly time_series: Readonly<
      Record<string, { readonly values: readonly (readonly [number, string])[] }>
    >;
  };
  readonly server_type: Named & { readonly deprecated: boolean };
  readonly server_types: readonly (Named & {
    readonly description: string;
    readonly locations: readonly {
      readonly name: string;
      readonly available: boolean;
      readonly deprecation: { readonly unavailable_after: string } | null;
    }[];
  })[];
  readonly pricing: { readonly floating_ips: readonly unknown[]; readonly primary_ips: readonly unknown[] };
  readonly meta: {
    readonly pagination: {
      readonly page: number;
      readonly per_page: number;
      readonly previous_page: number | null;
      readonly next_page: number | null;
      readonly last_page: number;
      readonly total_entries: number;
    };
  };
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly details: { readonly fields: readonly { readonly name: string }[] } | null;
  };
}
