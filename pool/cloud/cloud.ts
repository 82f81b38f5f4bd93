/** Hetzner Cloud as the daemon uses it: what the terraform runs do not do themselves. Errors are BorderErrors. */
import type { PriceList } from "./prices.ts";
import type { CloudResource, OwnedKind, ResourceKind } from "./resources.ts";

export interface CloudServer {
  readonly id: number;
  readonly name: string;
  readonly status: string;
  readonly ipv4: string | null;
  /** The primary IP that holds the address; it is billed beside the server. */
  readonly ipv4Id: number | null;
  readonly location: string;
  readonly serverType: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: number;
  /** Somebody has forbidden to delete it. */
  readonly isProtected: boolean;
}

export interface CloudServerType {
  readonly name: string;
  /** Locations that list the type and say it is available now (only a hint: the order may be refused all the same). */
  readonly availableIn: readonly string[];
}

export interface Cloud {
  server(id: number): Promise<CloudServer | null>;
  serverByName(name: string): Promise<CloudServer | null>;
  servers(labelSelector: string): Promise<CloudServer[]>;
  resource(kind: ResourceKind, id: number): Promise<CloudResource | null>;
  resources(kind: ResourceKind, labelSelector: string): Promise<CloudResource[]>;
  serverTypes(): Promise<CloudServerType[]>;
  locations(): Promise<string[]>;
  prices(): Promise<PriceList>;
}

/** What one terraform run may do on the wire. The gate holds it against every request of the run. */
export type RunPermit =
  | {
      readonly kind: "machine";
      readonly machine: string;
      readonly actor: string;
      readonly create: boolean;
      readonly update: boolean;
      readonly destroy: boolean;
      /** Switches the server off and on; nothing else of a machine with a live order may. */
      readonly power?: boolean;
      /** Order in which the API budget is given out. */
      readonly priority: "hand-over" | "destroy" | "refill" | "person";
    }
  /** The platform stack: keys, firewalls, networks, placement groups; never servers. */
  | {
      readonly kind: "platform";
      readonly actor: string;
      readonly destroy: boolean;
      readonly priority: "person" | "refill";
    }
  /** One command of a person: the machines (and the platform) that it named. It never creates a server. */
  | {
      readonly kind: "people";
      readonly machines: readonly string[];
      readonly platform: boolean;
      readonly actor: string;
      /** False for a command that only looks. */
      readonly update: boolean;
      readonly destroy: boolean;
      readonly priority: "person";
    };

/** A token for one run: 64 characters, dead when the run is closed or the daemon ends. */
export interface GateRun {
  readonly endpoint: string;
  readonly token: import("../secrets/secret.ts").Secret;
  /** Calls that this run sent on to Hetzner, and calls it made to the gate. */
  counts(): { upstream: number; asked: number };
  close(): void;
}

/** What the gate asks of the store, so that what a plan says is checked and what is sent is enforced. */
export interface GateLedger {
  /** False once another daemon has taken over: then nothing that changes anything is sent any more. */
  leads(): boolean;
  /** The row that a server of this name must have before it may be created; null forbids it. */
  machine(name: string): {
    readonly state: string;
    readonly serverId: number | null;
    readonly order: string | null;
    /** True only when the order has ended (or there is none) and the row says releasing or retiring. */
    readonly mayDestroy: boolean;
  } | null;
  machineByServerId(id: number): { readonly name: string } | null;
  /** Called with the id before terraform sees the answer to `POST /servers`; durable when it returns. */
  recordServerId(name: string, id: number): void;
  /** A request was refused; one audit row. */
  recordRefusal(run: RunPermit, request: string, reason: string): void;
  /** What the gate did beyond handing requests on: took a lost order over, ordered again. One audit row. */
  recordRepair?(run: RunPermit, what: string): void;
}

/** Something with our labels that no row knows. */
export interface Orphan {
  readonly kind: OwnedKind;
  readonly id: number;
  readonly name: string;
  /** What it must still carry when it is looked at once more before it is deleted. */
  readonly labels: Readonly<Record<string, string>>;
}

/** `poweroff` pulls the plug, `shutdown` only sends the system a signal. */
export type PowerAction = "shutdown" | "poweroff" | "poweron";

export interface Gate {
  /** `http://127.0.0.1:<port>/v1` */
  readonly endpoint: string;
  openRun(permit: RunPermit): GateRun;
  /**
   * The one delete that is not terraform's: of a server that no state file knows any more. The same permits hold.
   * @throws BorderError `permanent` when the gate or Hetzner refuses, `transient` when there was no answer
   */
  deleteServer(run: GateRun, serverId: number): Promise<void>;
  /**
   * Deletes what no row knows. Looks at it once more first: name and labels must be what they were, nothing may be
   * attached to a server, nobody may have protected it, and no row may have come to know it.
   *
   * @returns `gone` when it was no longer there, `asked` when Hetzner took the order
   * @throws BorderError `permanent` (code `not-orphan`) when the second look says otherwise, else Hetzner's
   */
  deleteOrphan(orphan: Orphan): Promise<"asked" | "gone">;
  /**
   * Switches a server on or off, or asks its system to shut down. Done when Hetzner took the request; whether the server is
   * off is for the caller to see.
   * @throws BorderError as `deleteServer`; `transient` also when another action runs on the server
   */
  power(run: GateRun, serverId: number, action: PowerAction): Promise<void>;
  close(): Promise<void>;
}
