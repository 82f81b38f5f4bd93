/** The resolved configuration: what the rest of the code sees. Durations are milliseconds. */
import type { SuspensionTerms } from "../order/entitlement.ts";
import type { Secret } from "../secrets/secret.ts";

export interface PoolConfig {
  readonly name: string;
  readonly plan: string;
  /** Tried in this order when building; the claim prefers the order's own region. */
  readonly locations: readonly string[];
  readonly serverType: string;
  /** Taken in this order where the first one is sold out. */
  readonly otherServerTypes: readonly string[];
  readonly image: string;
  readonly minReady: number;
  /** Over every policy; null: `maxTotal`. */
  readonly maxReady: number | null;
  readonly maxTotal: number;
  /** Null: as many as there are slots for. */
  readonly maxBuildsPerMinute: number | null;
  readonly sizing: SizingConfig;
  readonly maxAgeMs: number;
  /** Share (0–0.9) of `maxAgeMs` over which the machines' own limits are spread. */
  readonly maxAgeJitter: number;
  readonly proof: {
    readonly everyMs: number;
    /** After a miss. */
    readonly againMs: number;
  };
  readonly rollout: RolloutPolicy;
  readonly failureBudget: FailureBudget;
}

/** How many warm machines a pool wants. `createPolicy` (pool/sizing/policy/create.ts) makes a policy of it. */
export type SizingConfig = {
  /** IANA name: of windows and floors, and of the week that is learned. */
  readonly timeZone: string;
  readonly campaigns: readonly Campaign[];
  /** At least so many while a window is open. */
  readonly floors: readonly SizingWindow[];
} & (
  | {
      readonly policy: "static";
      /** Null: `minReady`. */
      readonly ready: number | null;
    }
  | { readonly policy: "schedule"; readonly windows: readonly SizingWindow[] }
  | {
      readonly policy: "factor";
      /** Machines for each claim of the last `overMs`. */
      readonly scale: number;
      readonly overMs: number;
      readonly atMost: number | null;
    }
  | {
      readonly policy: "adaptive";
      /** What a warm claim is worth in EUR, or the share (0–1) of claims that is to be warm. */
      readonly goal: { readonly valueEur: number } | { readonly hitShare: number };
      /** How long a surplus is kept. */
      readonly holdMs: number;
    }
);

export interface SizingWindow {
  /** When it opens: five fields of cron, in the time zone of the pool; daylight saving is the library's care. */
  readonly cron: string;
  readonly lengthMs: number;
  readonly ready: number;
}

/** Machines on top of what the policy wants, for a while. */
export interface Campaign {
  readonly name: string;
  /** Epoch ms. */
  readonly from: number;
  readonly until: number;
  readonly add: number;
}

/** How ready machines are replaced by others. */
export interface RolloutPolicy {
  /** The first machine of another content lasts so long before the others follow. */
  readonly soakMs: number;
  /** Machines above `minReady` meanwhile. */
  readonly surge: number;
  /** So many failures one after another stop it. */
  readonly failures: number;
}

/** What failed builds may cost before a person is asked. */
export interface FailureBudget {
  /** So many failures one after another stop the refill. */
  readonly run: number;
  /** More than this share (0–1) of at least `atLeast` builds that ended within `windowMs` stops it, too. */
  readonly share: number;
  readonly atLeast: number;
  readonly windowMs: number;
  /** Behind the first failure; doubles with each further, up to the longest. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  /** Up to this one before a build that a queued order waits for. */
  readonly longestOrderPauseMs: number;
  /** Machines that one order may use up, before a person is asked. */
  readonly buildsPerOrder: number;
  /** 0 keeps no specimen. */
  readonly keepSpecimenMs: number;
  /** More than this share of at least `alertAtLeast` builds of an hour is told to a person. */
  readonly alertShare: number;
  readonly alertAtLeast: number;
}

export interface PlanConfig {
  readonly name: string;
  /** Stripe price id that a checkout of this plan sells. */
  readonly price: string;
}

/** Friendly region names (eu-central, us-east …) → Hetzner locations, tried in order. */
export type Regions = Readonly<Record<string, readonly string[]>>;

export interface Deadlines {
  readonly creatingMs: number;
  readonly bootingMs: number;
  readonly preparingMs: number;
  readonly provingMs: number;
  readonly handingOverMs: number;
  /** Until a machine that was asked to shut down is switched off. */
  readonly suspendingMs: number;
  /** Until a person is told that a resumed machine does not serve. */
  readonly resumingMs: number;
}

/** How what others have is compared with what the store knows. */
export interface SweepsConfig {
  readonly everyMs: number;
  /** From when something that no row knows was first seen. */
  readonly orphanGraceMs: number;
  readonly deletesPerHour: number;
  /** A list that lacks more than this share (0–1) of our servers is not believed. */
  readonly vanishShare: number;
}

/** An address that messages are posted to. */
export interface CallbackConfig {
  readonly url: string;
  /** `whsec_…`; each signs, so that one can be exchanged for another. */
  readonly secrets: readonly Secret[];
}

/** Who is told of what; with nobody there are only the flags. */
export interface NotifyConfig {
  readonly operators: {
    readonly callback: CallbackConfig | null;
    readonly mail: { readonly to: readonly string[] } | null;
  };
  readonly product: { readonly callback: CallbackConfig | null };
  readonly smtp: {
    readonly host: string;
    readonly port: number;
    readonly tls: "starttls" | "implicit" | "none";
    readonly user: string | null;
    readonly password: Secret | null;
    readonly from: string;
  } | null;
  /** Between two messages of alerts to the same people. */
  readonly digestMs: number;
}

export interface Config {
  /** Names this installation in labels and machine names: several may share one Hetzner project. */
  readonly instance: string;
  readonly stateDir: string;
  readonly plans: readonly PlanConfig[];
  readonly pools: readonly PoolConfig[];
  readonly regions: Regions;
  readonly maxTotal: number;
  /** EUR, net, of all machines, by UTC's day; null: no bound. */
  readonly maxSpendPerDay: number | null;
  readonly maxParallelBuilds: number;
  readonly deadlines: Deadlines;
  readonly sweeps: SweepsConfig;
  readonly serving: {
    readonly heartbeatMs: number;
    /** Heartbeats at once. */
    readonly parallel: number;
    readonly repairsPerHour: number;
    /** Null: the customer is never told. */
    readonly tellCustomerAfterMs: number | null;
  };
  readonly notify: NotifyConfig;
  readonly releaseGraceMs: number;
  readonly suspension: SuspensionTerms;
  /** How long a type that a location had none of is not asked for again there. */
  readonly stockMemoryMs: number;
  readonly api: {
    readonly listen: { host: string; port: number };
    readonly publicUrl: string;
    /** Of the web app. */
    readonly tokens: readonly Secret[];
    /** Of people: they may operate. */
    readonly operators: readonly { readonly name: string; readonly token: Secret }[];
    readonly trustedProxies: readonly string[];
  };
  readonly stripe: {
    readonly key: Secret;
    readonly webhookSecrets: readonly Secret[];
    /** Only for a stand-in; Stripe's own when absent. */
    readonly apiUrl: string | null;
    readonly successUrl: string;
    readonly cancelUrl: string;
  };
  readonly hetzner: { readonly endpoint: string; readonly token: Secret; readonly requestsPerHour: number };
  readonly terraform: { readonly bin: string; readonly cliConfig: string | null };
  readonly network: { readonly sshFrom: readonly string[]; readonly cidr: string; readonly zone: string };
  readonly ssh: { readonly port: number };
  readonly tailnet: {
    readonly apiUrl: string;
    /** Absent: Tailscale's own. */
    readonly controlUrl: string | null;
    readonly clientId: string;
    readonly clientSecret: Secret;
    readonly tags: readonly string[];
    readonly rehearsalTags: readonly string[];
    readonly keyStock: number;
  } | null;
  readonly prepare: {
    readonly playbook: string;
    /** Where the `openclaw.installer` collection is found; null: installed from ansible/requirements.yml. */
    readonly collectionsPath: string | null;
    /** Extra variables for the playbook, as the operator wrote them. */
    readonly vars: Readonly<Record<string, unknown>>;
  };
  /** Variables that every agent gets unless the order says otherwise; the pool's default model. */
  readonly agent: { readonly model: string; readonly gatewayPort: number };
  /** 32 bytes that seal secrets in the store, and older ones that still open them. */
  readonly sealingKeys: readonly Secret[];
  readonly backup: {
    /** Null: `backups` in the state folder. */
    readonly directory: string | null;
    /** 0: none but by hand. */
    readonly everyMs: number;
    /** How many of the newest are kept. */
    readonly keep: number;
  };
  readonly log: { readonly level: string };
}
