/**
 * What exists outside of the daemon and goes on without it: Hetzner's servers, terraform's folders and processes, the
 * tailnet, Stripe's objects. Whatever breaks a promise while it happens is noted as a violation.
 */

import type { DiskUse } from "../../pool/observe/disk.ts";
import type { Channel } from "../../pool/store/store.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { Chance } from "./chance.ts";
import type { SimResource } from "./leftovers.ts";
import type { Refusal } from "./refusals.ts";

/** A VM's inside, as far as the controller sees it over SSH. */
export interface SimMachine {
  hostKey: string;
  bornKey: string | null;
  /** The controller's user still exists. */
  admin: boolean;
  prepared: boolean;
  gatewayToken: string | null;
  /** The order and generation of the last document that took effect. */
  done: { order: string; generation: number } | null;
  /** What the program wrote down before it changed anything: of an order it keeps it for good. */
  noted?: { order: string; generation: number; rehearsal: boolean; content: string };
  /** Base64 of the key that its user_data lets in. */
  authorizedKey?: string | undefined;
  /** The order whose document it has seen, if only in part. */
  customer: string | null;
  tailnetNode: string | null;
  installed: Readonly<Record<string, string>> | null;
  /** What went bad while it waited or served; it stays so. */
  rot: Rot | null;
}

/** What a machine is like that nobody has been on. */
export const untouched = {
  bornKey: null,
  prepared: false,
  gatewayToken: null,
  done: null,
  customer: null,
  tailnetNode: null,
  installed: null,
  rot: null,
} as const;

export const rots = ["gateway", "disk", "tailnet", "host-key"] as const;
/** A gateway or a tailscaled that crashed comes back by a restart; the others stay. */
export const crashes = ["crash", "tailscaled"] as const;
export type Rot = (typeof rots)[number] | (typeof crashes)[number];

/** What machines are prepared by. */
export interface SimRecipe {
  readonly text: string;
  /** With it every build fails, or every machine goes bad some minutes after it is ready. */
  readonly fault: "fails" | "rots" | null;
}

export interface SimServer {
  readonly id: number;
  readonly name: string;
  labels: Record<string, string>;
  readonly location: string;
  readonly serverType: string;
  readonly ipv4: string;
  readonly createdAt: number;
  /** sshd answers from then on. */
  bootedAt: number;
  off: boolean;
  /** An action runs on it until then (epoch ms): Hetzner refuses others meanwhile. */
  lockedUntil: number;
  deleting: boolean;
  readonly machine: SimMachine;
}

/** What terraform saved in a folder; a file without content is one that a run made and did not live to fill. */
export interface SimState {
  readonly lineage: string;
  readonly serial: number;
  readonly serverId: number | null;
  readonly tainted: boolean;
  /** What the platform was applied with last; null of a machine, and before anything was made. */
  readonly shared: string | null;
}
export const emptyFile: SimState = { lineage: "", serial: 0, serverId: null, tainted: false, shared: null };

/** A node of the tailnet. */
export interface SimDevice {
  readonly hostname: string;
  /** The host name, with a number where another had it. */
  readonly name: string;
  readonly addresses: readonly string[];
  readonly tags: readonly string[];
  readonly ephemeral: boolean;
  online: boolean;
  readonly createdAt: number;
}

export interface SimAuthKey {
  readonly id: string;
  used: boolean;
  revoked: boolean;
  readonly tags: readonly string[];
  readonly ephemeral: boolean;
  readonly description: string;
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface SimSession {
  readonly id: string;
  readonly createdAt: number;
  readonly order: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly price: string;
  status: "open" | "complete" | "expired";
  paymentStatus: "unpaid" | "paid";
  /** The first payment did not clear; its invoice was paid later, which the session itself never shows. */
  collected?: boolean;
  subscription: string | null;
}

export interface SimSubscription {
  readonly id: string;
  readonly session: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Epoch ms. */
  endedAt?: number;
  status: "active" | "past_due" | "unpaid" | "paused" | "canceled";
  /** Of the one payment that was made for it. */
  dispute: "needs_response" | "won" | "lost" | null;
  refunded: boolean;
}

export const hasPaid = ({ paymentStatus, collected = false }: SimSession): boolean =>
  paymentStatus === "paid" || collected;

/** What can befall a message on its way. */
export type CourierFault = "refused" | "credentials" | "lost answer" | "silent";

/** A message that arrived. */
export interface Told {
  readonly channel: Channel;
  readonly id: string;
  readonly json: string;
}

/** As the real one: whole milliseconds. */
class WholeClock extends VirtualClock {
  override delay(ms: number, signal?: AbortSignal): Promise<void> {
    return super.delay(Math.ceil(ms), signal);
  }

  /** Nothing in this world does I/O: it is enough that all promises have their turn, a round of the event loop costs more. */
  protected override async settle(): Promise<void> {
    // Ticks have their turn when no promise is left, but only those that a promise asked for.
    await null;
    await new Promise<void>((resolve) => process.nextTick(resolve));
  }
}

export class World {
  readonly clock = new WholeClock();
  readonly chance: Chance;
  readonly servers = new Map<number, SimServer>();
  /** Volumes, addresses, keys and snapshots, without the platform's. */
  readonly resources = new Map<number, SimResource>();
  /** What turned up with our labels and without a row, as `server 1004`, and when (epoch ms). */
  readonly strays = new Map<string, number>();
  /** What is somebody else's, as it was at the beginning. */
  neighbours: readonly string[] = [];
  /** Whether a live row has this name and looks for its server by it; who knows an id looks for that one. */
  isRemembered: (name: string) => boolean = () => true;
  /** Whether the daemon has begun to compare the cloud with its rows. */
  isComparing: () => boolean = () => false;
  readonly states = new Map<string, SimState>();
  /** What was saved before, oldest first: what a backup of somebody's would bring back. */
  readonly oldStates = new Map<string, SimState[]>();
  /** How often terraform made what all machines share. */
  platforms = 0;
  /** Terraform processes that run, by folder. */
  readonly processes = new Map<string, Promise<void>>();
  readonly devices = new Map<string, SimDevice>();
  /** Files beside the database, by name. */
  readonly records = new Map<string, string>();
  /** Until then (epoch ms) no file beside the database can be written. */
  diskFullUntil = 0;
  readonly authKeys = new Map<string, SimAuthKey>();
  /** Stripe's idempotency keys, what each came with and what it made. */
  readonly idempotent = new Map<string, { readonly request: string; readonly session: string }>();
  readonly sessions = new Map<string, SimSession>();
  readonly subscriptions = new Map<string, SimSubscription>();
  /** Whether all fail; when servers were bought, and when a person let the refill go on. */
  readonly builds = {
    broken: false,
    hangs: false,
    bought: [] as number[],
    resumed: [] as number[],
    retried: [] as number[],
  };
  /** Everything that somebody outside was told, as it arrived: also twice. */
  readonly told: Told[] = [];
  /** What the next messages meet, whoever they are for. */
  readonly courierFaults: CourierFault[] = [];
  /** Whether nobody can be told anything. */
  isUnreachable = false;
  /** Of the disk that the daemon's folder is on. */
  disk: DiskUse = { freeBytes: 2 ** 40, logBytes: 0 };
  /** Who refuses us now, whatever we ask for. */
  refused: Refusal["what"] | null = null;
  /** Who takes calls and answers none. */
  silent: "tailscale" | "stripe" | null = null;
  /** What a list of servers shows of those that there are. */
  listing: (servers: readonly SimServer[]) => readonly SimServer[] = (servers) => servers;
  /** By how much Hetzner's clock is ahead of ours, in ms. */
  skewMs = 0;
  /** Every server that was ever bought; epoch ms. */
  readonly bill: { id: number; name: string; from: number; until: number | null }[] = [];
  recipe: SimRecipe = { text: "recipe-1", fault: null };
  /** When a subscription that was paid for began or ceased to entitle its order. */
  readonly turns: { readonly order: string; readonly at: number; readonly entitled: boolean }[] = [];
  readonly violations: string[] = [];
  readonly trace: string[] = [];
  /** Requests to the daemon, terraform runs, and what the daemon itself did: calls of borders, transactions. */
  events = 0;
  /** Daemons take the store's lease before they begin; terms whose holder lives; how many were fenced. */
  leased = false;
  readonly terms = new Set<number>();
  fenced = 0;
  /** When a store came back, or was lost; null while it is the first. */
  restoredAt: number | null = null;
  /** Machines that a person let go by name, and whose order nothing told of that could still be asked. */
  readonly retired = new Set<string>();
  /** From then on nothing fails any more. */
  calm = false;
  /** Texts that nobody may be told: keys, tokens, what a customer keeps in the environment. */
  readonly secrets = new Set<string>();
  /** Told of each server that is bought, */
  onMade: (server: SimServer, askedAt: number) => void = () => {};
  /** and of each that is being deleted. */
  onDelete: (server: SimServer) => void = () => {};
  /** The order that each machine came to serve, by its name: no store that is lost or comes back older makes it undone. */
  readonly served = new Map<string, string>();
  /** How many servers the configuration allows. */
  maxTotal = Number.POSITIVE_INFINITY;
  /** For how long the configuration keeps a machine behind the end of its subscription, in ms. */
  graceMs = 0;
  #ids = 1000;

  readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
    this.chance = new Chance(seed);
  }

  id(): number {
    return ++this.#ids;
  }

  note(text: string): void {
    const seconds = ((this.clock.now() - start) / 1000).toFixed(3);
    this.trace.push(`${seconds.padStart(10)} s  ${text}`);
  }

  violate(invariant: string, text: string): void {
    this.note(`VIOLATION ${invariant}: ${text}`);
    this.violations.push(`${invariant}: ${text}`);
  }

  /** The daemon asked for something that the simulation does not have: never to be taken for a fault of the world. */
  unknown(text: string): Error {
    this.violate("simulation", text);
    return new Error(text);
  }

  /** Whether a fault of this probability strikes now. */
  strikes(probability: number): boolean {
    return !this.calm && this.chance.happens(probability);
  }

  /** Some time passes, in ms; now and then much more. */
  async takes(low: number, high: number): Promise<void> {
    const slow = this.strikes(0.01) ? 20 : 1;
    await this.clock.delay(this.chance.between(low, high) * slow);
  }

  server(ipv4: string): SimServer | null {
    for (const server of this.servers.values()) if (server.ipv4 === ipv4) return server;
    return null;
  }

  /** The lowest free one: an address that was given back is used again at once. */
  freeAddress(): string {
    for (let host = 1; ; host++) {
      const ipv4 = `192.0.2.${host}`;
      if (!this.server(ipv4)) return ipv4;
    }
  }

  /** Whether Stripe's objects say that the order is to be served. */
  isEntitled(order: string): boolean {
    return [...this.sessions.values()].some(
      (session) =>
        session.order === order &&
        hasPaid(session) &&
        this.standsWell(this.subscriptions.get(session.subscription ?? "") ?? null),
    );
  }

  /** Why a machine that served the order may not go, by Stripe's objects; null when it may. */
  keeps(order: string): "is paid for" | "has not ended" | "is in its grace" | null {
    if (this.isEntitled(order)) return "is paid for";
    for (const session of this.sessions.values()) {
      const subscription = this.subscriptions.get(session.subscription ?? "");
      if (session.order !== order || !hasPaid(session) || !subscription) continue;
      if (subscription.status !== "canceled") return "has not ended";
      if ((subscription.endedAt ?? 0) + this.graceMs > this.clock.now()) return "is in its grace";
    }
    return null;
  }

  /** By the configuration's default policy. */
  standsWell(subscription: SimSubscription | null): boolean {
    return subscription?.status === "active" && [null, "won"].includes(subscription.dispute);
  }
}

const start = new VirtualClock().now();
