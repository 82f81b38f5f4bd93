/** What the store's verbs take and give. */

import type { Price, PriceList } from "../cloud/prices.ts";
import type { HealthState } from "../machine/diagnose.ts";
import type {
  Installed,
  Machine,
  MachineName,
  MachineSecrets,
  MachineState,
  OrderId,
} from "../machine/machine.ts";
import type { SuspensionReason } from "../order/entitlement.ts";
import type { AgentSecrets, Order } from "../order/order.ts";
import type { KnownState } from "../terraform/state-check.ts";

export interface NewMachine {
  readonly name: MachineName;
  readonly pool: string;
  readonly plan: string;
  readonly serverType: string;
  readonly location: string;
  readonly image: string;
  readonly placementGroup: number;
  readonly deadline: number;
  readonly hostKey: string;
  readonly secrets: MachineSecrets;
}

/** Hetzner's price list as it was read last. */
export interface RememberedPrices extends PriceList {
  /** Epoch ms: when it was first read so, and when it was last. */
  readonly since: number;
  readonly readAt: number;
}

export type BilledKind = "server" | "primary_ip";

/** A list of Hetzner's shows it. */
export interface SeenResource {
  readonly kind: BilledKind;
  readonly id: number;
  readonly name: string;
  /** Server type, or `ipv4`. */
  readonly type: string;
  readonly location: string;
  /** Epoch ms, as Hetzner says. */
  readonly createdAt: number;
  /** A server's own address, which comes and goes with it. */
  readonly hasIpv4: boolean;
}

export interface ListedSpan {
  readonly from: number;
  readonly until: number;
}

/** What was agreed when it was ordered: a later list changes nothing for what exists. Null where no list had a price. */
export interface AgreedPrice {
  readonly currency: string;
  readonly own: Price | null;
  /** Of the address that came with a server. */
  readonly address: Price | null;
}

/** Something that costs money: by our own count, and as Hetzner's lists showed it. Times are epoch ms. */
export interface BilledResource extends Omit<SeenResource, "createdAt"> {
  /** Null of what no row ever knew. */
  readonly machine: MachineName | null;
  readonly pool: string | null;
  /** Null until a price list was read. */
  readonly price: AgreedPrice | null;
  /** Since the store knew its id; null when it never did. */
  readonly countedFrom: number | null;
  /** When Hetzner said that it is gone; null while the row lives. */
  readonly countedUntil: number | null;
  /** When Hetzner says that it was made, and when a list last showed it; null when none did. */
  readonly seenFrom: number | null;
  readonly seenUntil: number | null;
}

/** What a stage may learn while it moves a machine on. */
export interface MachineChange {
  readonly state?: MachineState;
  readonly deadline?: number | null;
  readonly nextLookAt?: number;
  readonly attempts?: number;
  readonly serverId?: number | null;
  readonly ipv4?: string | null;
  readonly hostKey?: string;
  readonly nextHostKey?: string | null;
  readonly installed?: Installed;
  readonly location?: string;
  readonly serverType?: string;
  readonly generation?: number;
  readonly tailnetNode?: string | null;
  readonly tailnetAddress?: string | null;
  readonly enrolled?: boolean;
  readonly labelled?: boolean;
  readonly withheld?: boolean;
  readonly poolToken?: string;
  readonly reason?: string | null;
  readonly failure?: string | null;
  readonly specimenUntil?: number | null;
  readonly provedAt?: number;
  readonly misses?: number;
}

/** A build that has ended. */
export interface Build {
  readonly machine: MachineName;
  readonly location: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly ok: boolean;
  /** Kind of the error that ended it. */
  readonly failure: string | null;
}

/** Whether a pool may be refilled. */
export interface Refill {
  /** Builds that began before (epoch ms) say nothing of the pool any more: a person or another input changed something. */
  readonly countedFrom: number;
  readonly stop: {
    readonly at: number;
    readonly reason: string;
    /** What the pool's machines were built from then, as a digest. */
    readonly inputs: string;
    /** The machine that was kept to look at, even if it is gone by now. */
    readonly specimen: MachineName | null;
  } | null;
}

/**
 * Where a pool is on the way to another content (pool/refill/content.ts).
 *
 *   canary    the first machine of the new content is to be built and proved
 *   soaking   it is ready, and has to last
 *   rolling   the others follow
 *   done      nothing is left to replace
 *   stopped   it failed; nothing is replaced until a person resumes it or the content changes again
 */
export interface Rollout {
  readonly pool: string;
  readonly target: string;
  /** What claims prefer: the last content that a canary lasted with. */
  readonly proven: string;
  readonly phase: "canary" | "soaking" | "rolling" | "done" | "stopped";
  readonly phaseSince: number;
  /** A person holds it: nothing is replaced meanwhile, whatever the phase. */
  readonly paused: boolean;
  readonly begunAt: number;
  /** Builds that began before (epoch ms) say nothing of it. */
  readonly countedFrom: number;
  readonly canary: MachineName | null;
  /** Why it stopped. */
  readonly reason: string | null;
}

/** How a machine that serves was last seen (pool/machine/heartbeat.ts). */
export interface Health {
  readonly machine: MachineName;
  readonly state: HealthState;
  /** Since when it is healthy, stopped, or in trouble of whichever kind (epoch ms). */
  readonly since: number;
  /** Looks in a row that found trouble before that became its state. */
  readonly misses: number;
  readonly reason: string | null;
  /** Times of the repairs of the last hour. */
  readonly repairs: readonly number[];
  /** The customer knows of it. */
  readonly told: boolean;
}

export interface Specimen {
  readonly name: MachineName;
  /** Epoch ms. */
  readonly until: number;
}

export interface NewOrder {
  readonly id: OrderId;
  readonly customer: string;
  readonly plan: string;
  readonly region: string;
  readonly agentName: string;
  readonly secrets: AgentSecrets;
}

/** A verified webhook, as kept in the inbox. */
export interface InboxEvent {
  readonly id: string;
  readonly type: string;
  /** Stripe's id of the object the event is about. */
  readonly object: string;
  /** Epoch ms, from the event. */
  readonly createdAt: number;
  readonly body: string;
}

export interface Payment {
  readonly order: OrderId | null;
  readonly checkoutSession: string;
  readonly subscription: string | null;
  readonly stripeCustomer: string | null;
}

/** What an order's subscription entitles it to, as it is written down. */
export interface OrderStanding {
  readonly suspension: { readonly reason: SuspensionReason; readonly text: string } | null;
  readonly overdueSince: number | null;
}

export type PaymentOutcome =
  | { readonly kind: "claimed"; readonly order: Order; readonly machine: Machine }
  | { readonly kind: "queued"; readonly order: Order; readonly position: number }
  /** The same checkout session was accepted before; nothing changed. */
  | { readonly kind: "duplicate"; readonly order: Order }
  /** The subscription had already ended when the payment arrived (events come in any order). */
  | { readonly kind: "ended"; readonly order: Order }
  /** No order has this id or session: kept, flagged to the operator. */
  | { readonly kind: "unknown-order" };

/** A payment: somebody wanted a machine. */
export interface Demand {
  /** Grows by the order in which they were accepted. */
  readonly seq: number;
  /** Epoch ms. */
  readonly at: number;
  readonly plan: string;
  readonly region: string;
  /** Whose machine it got at once; null when none was ready. */
  readonly pool: string | null;
}

/** A customer who may pay, or did, or let it be. */
export interface Checkout {
  readonly plan: string;
  readonly region: string;
  /** Epoch ms. */
  readonly openedAt: number;
  readonly closedAt: number | null;
  readonly outcome: "paid" | "expired" | null;
}

/** A server type that a location had none of. */
export interface StockOut {
  readonly serverType: string;
  readonly location: string;
  /** Not tried again before (epoch ms), unless nothing else is left. */
  readonly until: number;
}

/** Somebody refuses our whole account; no machine is the cause, and no other machine will do better. */
export interface Freeze {
  readonly border: "cloud" | "tailnet";
  /** Since when, epoch ms. */
  readonly at: number;
  readonly kind: "quota" | "auth";
  readonly reason: string;
  /** Tries that were refused, and when the last was (epoch ms). */
  readonly probes: number;
  readonly probedAt: number;
}

/** Why a machine was lost, as an order's history tells it. No secret is in any of it: it is kept for ever. */
export interface Failure {
  /** What was being done: the machine's state. */
  readonly step: string;
  readonly reason: string;
  /** `BorderErrorKind`, when a border said it. */
  readonly failure?: string | null;
  /** Of terraform or ansible-playbook; names the log file. */
  readonly run?: string | null;
  /** The end of what it printed. */
  readonly log?: string | null;
}

/** A machine that an order used up. */
export interface Attempt extends Required<Failure> {
  /** 1 for the first. */
  readonly n: number;
  /** Grows when a person starts the order again; only those of the order's last round count. */
  readonly round: number;
  readonly machine: MachineName;
  readonly kind: "build" | "hand-over";
  /** Epoch ms. */
  readonly at: number;
}

/** Where the list of orders goes on. */
export interface OrderCursor {
  readonly createdAt: number;
  readonly id: string;
}

/** How many machines an order may use up, and where machines for it may be. */
export interface OrderLimits {
  readonly limit: number;
  readonly locationsOf: (region: string) => readonly string[];
}

type Facts = Readonly<Record<string, unknown>>;

/** Who caused a change, when it was not the daemon by itself: `stripe`, `api`, `person:<name>`. */
export interface Cause {
  readonly actor?: string;
  /** The request or run that it came with: an event's id, a run's id. */
  readonly run?: string | null;
}

/** What an audit row says beside actor, action and subject. Never a secret: rows are kept for ever. */
export interface AuditFacts {
  /** The reason, in words. */
  readonly why: string;
  /** Id of the run or request; a run's names its log file. */
  readonly run?: string | null;
  /** The fields that changed, as they were and as they are. */
  readonly before?: Facts | null;
  readonly after?: Facts | null;
  /** Anything else that a reader will ask for; kept as `detail`. */
  readonly [fact: string]: unknown;
}

export interface AuditRow {
  readonly seq: number;
  /** Epoch ms. */
  readonly at: number;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  readonly why: string;
  readonly run: string | null;
  readonly before: Facts | null;
  readonly after: Facts | null;
  readonly detail: Facts;
  /** SHA-256 over the hash of the row before and this one: audit-chain.ts. */
  readonly hash: string;
}

/** Who is told, and by which way. */
export const channels = ["operators/callback", "operators/mail", "product/callback"] as const;
export type Channel = (typeof channels)[number];

/** What decides which messages are written. */
export interface NoticePolicy {
  /** Those that are configured. */
  readonly channels: readonly Channel[];
  /** Between two messages of alerts to the same channel. */
  readonly digestMs: number;
  /** How long trouble lasts before the customer is told; null: never. */
  readonly tellCustomerAfterMs: number | null;
}

/** What became of one flag since the last message. */
export interface AlertEntry {
  readonly kind: string;
  readonly subject: string;
  readonly text: string;
  /** Why it is over; null while it is not. */
  readonly over: string | null;
  /** How often it was raised, or its text changed. */
  readonly times: number;
  /** Epoch ms. */
  readonly since: number;
  readonly at: number;
}

/** A row of the outbox. */
export interface Message {
  /** The same at each try, and in no other message. */
  readonly id: string;
  readonly channel: Channel;
  readonly type: "alerts" | "order.state" | "customer.notice";
  /** The order that it is about; `operators` for alerts. */
  readonly subject: string;
  /** Epoch ms. */
  readonly createdAt: number;
  /** No secret is in it. */
  readonly data: Facts;
  readonly state: "waiting" | "delivered" | "given-up";
  readonly attempts: number;
  /** When it was first tried, or a person had it tried again (epoch ms). */
  readonly begunAt: number | null;
  /** Not tried before (epoch ms). */
  readonly nextAt: number;
  readonly endedAt: number | null;
  /** What the last try ended with. */
  readonly error: string | null;
}

/** What became of a try. */
export type MessageOutcome =
  | { readonly state: "delivered" }
  | { readonly state: "waiting"; readonly error: string; readonly nextAt: number }
  | { readonly state: "given-up"; readonly error: string };

export interface Flag {
  readonly id: number;
  readonly at: number;
  readonly kind: string;
  readonly subject: string;
  readonly text: string;
}

/** A configuration that was in force from `at` on, until the next one. */
export interface AppliedConfig {
  /** Counts up from 1. */
  readonly n: number;
  /** Epoch ms. */
  readonly at: number;
  readonly actor: string;
  /** With a start of the daemon, by a change of the file, or by `clawpool config apply`. */
  readonly how: "start" | "reload" | "apply";
  /** As the operator wrote it; secrets are references. */
  readonly written: unknown;
  /** The keys that were another before; empty for the first one. */
  readonly change: { readonly before: Facts; readonly after: Facts };
}

/** A machine's terraform state as the last run left it. */
export interface RememberedState extends KnownState {
  /** When it was found so, epoch ms. */
  readonly at: number;
  /** The whole file, to be written back when it is lost. */
  readonly document: string;
}

/** A machine's row as the evidence has it; it must be held. */
export interface RecoveredMachine {
  readonly machine: Machine & { readonly held: string };
  /** Null keeps those of the row that is there. */
  readonly secrets: MachineSecrets | null;
  readonly why: string;
}

export interface RecoveredOrder {
  readonly order: Order;
  /** Null keeps those of the row that is there. */
  readonly secrets: AgentSecrets | null;
  readonly why: string;
}

export interface MachineFilter {
  readonly pool?: string;
  readonly states?: readonly MachineState[];
  /** Everything that is not destroyed. */
  readonly live?: boolean;
}
