/** What the tests read of the API's answers. The whole shapes are held against Hetzner's API description. */
interface Named {
  readonly id: number;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ServerView extends Named {
  readonly status: string;
  readonly locked: boolean;
  readonly image: { readonly id: number; readonly name: string };
  readonly location: { readonly name: string };
  readonly protection: { readonly delete: boolean };
  readonly placement_group: { readonly id: number } | null;
  readonly private_net: readonly { readonly network: number; readonly ip: string }[];
  readonly public_net: {
    readonly ipv4: { readonly id: number; readonly ip: string } | null;
    readonly ipv6: { readonly id: number; readonly ip: string } | null;
    readonly firewalls: readonly { readonly id: number; readonly status: string }[];
  };
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
  readonly servers: readonly number[];
  readonly subnets: readonly { readonly ip_range: string; readonly gateway: string }[];
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
  readonly primary_ips: readonly (Named & { readonly assignee_id: number; readonly ip: string })[];
  readonly locations: readonly Named[];
  readonly datacenters: readonly Named[];
  readonly images: readonly (Named & { readonly architecture: string })[];
  readonly server_type: Named & { readonly deprecated: boolean };
  readonly server_types: readonly (Named & {
    readonly description: string;
    readonly locations: readonly { readonly name: string; readonly available: boolean }[];
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
