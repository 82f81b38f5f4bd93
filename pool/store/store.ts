/**
 * The store's verbs. Each is one whole transaction, durable when it returns; a verb that changes a machine or an
 * order writes its audit row (reason, cause, changed fields) in the same transaction. One conformance suite (tests/store/conformance.ts) runs on
 * every implementation.
 */

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
import type { AgentSecrets, Order, OrderEvent, OrderState } from "../order/order.ts";
import type { KnownState } from "../terraform/state-check.ts";
import type { AuditHead } from "./audit-chain.ts";
import type { Quarantine } from "./quarantine.ts";

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
 * Where a pool is on the way to another content (pool/sizing/content.ts).
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
  /** Epoch ms. */
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

export interface Flag {
  readonly id: number;
  readonly at: number;
  readonly kind: string;
  readonly subject: string;
  readonly text: string;
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

export interface Store {
  // machines
  /** Writes the intent row, unless `maxTotal` machines of the pool (or `maxTotalAll` of all pools) are live
   *  already; then null. Counted and written in one transaction, so the cap holds under any concurrency. */
  planMachine(
    machine: NewMachine,
    caps: { maxTotal: number; maxTotalAll: number },
    why?: string,
  ): Machine | null;
  machine(name: MachineName): Machine | null;
  machineByServerId(serverId: number): Machine | null;
  machines(filter?: MachineFilter): Machine[];
  /** What the newest machines of a plan or pool took from intent to ready, in ms, newest first; at most `limit`. */
  buildTimes(
    of: { plan: string; pool?: undefined } | { pool: string; plan?: undefined },
    limit: number,
  ): number[];
  machineSecrets(name: MachineName): MachineSecrets;
  /** Applies `change` if the machine is still in `from`; throws StaleRowError if not. */
  changeMachine(
    name: MachineName,
    from: MachineState,
    change: MachineChange,
    why: string,
    cause?: Cause,
  ): Machine;

  // terraform's state files
  /** Null when no run has left one, and of a machine that is destroyed. */
  terraformState(name: MachineName): RememberedState | null;
  /** Null forgets it: the file was put aside. */
  rememberState(name: MachineName, state: Omit<RememberedState, "at"> | null): void;

  // the failure budget
  /** The pool's newest builds that have ended, in the order of their ends; at most `limit`, ended at `since` or later. */
  builds(pool: string, filter?: { since?: number; limit?: number }): Build[];
  refill(pool: string): Refill;
  /** Pools whose refill is stopped, configured or not. */
  stoppedPools(): string[];
  /** No more refill, the specimen kept and a person told; nothing changes when it is stopped already. */
  stopRefill(
    pool: string,
    stop: { reason: string; inputs: string; specimen: Specimen | null; text: string },
  ): void;
  /** Keeps this failed machine, if the stop has kept none so far. */
  keepSpecimen(pool: string, specimen: Specimen): boolean;
  /** Refill goes on and earlier failures are forgotten; specimens and flag go. @returns what was stopped and kept. */
  resumeRefill(
    pool: string,
    why: string,
    cause?: Cause,
  ): { readonly stopped: string | null; readonly specimens: MachineName[] };

  // roll-outs
  rollout(pool: string): Rollout | null;
  /** Writes the row; stopped, a person is told, and else that is taken back. The audit row is `rollout.<phase>`. */
  putRollout(rollout: Rollout, why: string, cause?: Cause): void;

  // what can be had at all
  /** Those that still count. */
  stockOuts(): StockOut[];
  recordStockOut(out: StockOut, why: string): void;
  /** It was sold after all. */
  recordStock(serverType: string, location: string, why: string): void;
  frozen(): Freeze[];
  /** No more refill while it lasts; a person is told once. @returns true when that is news */
  freeze(border: Freeze["border"], refusal: { kind: Freeze["kind"]; reason: string; text: string }): boolean;
  /** @returns false when it was not frozen */
  thaw(border: Freeze["border"], why: string, cause?: Cause): boolean;

  // heartbeats
  /** Of machines that serve and were seen otherwise than healthy at some time. */
  healths(): Health[];
  /** Writes the row; another state is told in the audit log, a bad one to a person, `told` to the customer. */
  putHealth(health: Health, why: string): void;
  /** The machine no longer serves. */
  dropHealth(machine: MachineName, why: string): void;

  // orders
  createOrder(order: NewOrder): Order;
  attachCheckout(id: OrderId, checkout: { session: string; url: string | null }): Order;
  order(id: OrderId): Order | null;
  orderBySession(session: string): Order | null;
  orderBySubscription(subscription: string): Order | null;
  /** The newest first; `after` goes on behind an order, also when newer ones came meanwhile. At most `limit` (1,000). */
  orders(filter?: {
    states?: readonly OrderState[];
    stripeCustomer?: string;
    limit?: number;
    after?: OrderCursor | undefined;
  }): Order[];
  /** The machines that it used up. */
  attempts(id: OrderId): Attempt[];
  /**
   * A person starts a failed order again: it keeps its payment and its place in the queue, and takes a machine at once
   * if there is one. @throws StaleRowError when the order is not failed, or has ended
   */
  retryOrder(
    id: OrderId,
    locations: readonly string[],
    cause: Cause & { readonly actor: string },
  ): { order: Order; machine: Machine | null };
  agentSecrets(id: OrderId): AgentSecrets;
  /** How many orders of this plan wait for a machine; a suspended one does not. */
  queued(plan: string): number;
  /** 1 for the next in line; null when the order is not queued. */
  queuePosition(id: OrderId): number | null;

  // webhooks
  /** Keeps the event; false when an event of this id was kept before. */
  keepEvent(event: InboxEvent): boolean;
  /** Inbox row, payment, claim: all in one transaction. The first of `locations` that has a claimable machine gives it. */
  acceptPayment(event: InboxEvent | null, payment: Payment, locations: readonly string[]): PaymentOutcome;
  /** The payment was asynchronous and failed, or the checkout expired. */
  expireOrder(event: InboxEvent | null, session: string, reason: string): Order | null;
  /** A tombstone for the subscription, and for its order the time at which it is released. */
  endSubscription(
    event: InboxEvent | null,
    end: { subscription: string; releaseAt: number; reason: string },
  ): Order | null;

  // suspension
  /** Writes down whether the order may be served; a person's hold goes before. Nothing changes for an order that has ended. */
  recordStanding(id: OrderId, standing: OrderStanding, why: string, cause?: Cause): Order;
  /** A person's word about an order; the fields that are left out stay. */
  holdOrder(
    id: OrderId,
    hold: { readonly held?: Order["held"]; readonly kept?: boolean },
    why: string,
    cause: Cause,
  ): Order;
  /** Its subscription, fetched again, has not ended: the order goes on. */
  withdrawEnd(id: OrderId, why: string): Order;
  /**
   * Moves an order's machine between serving, suspending, suspended and resuming; the order's own state follows.
   * @throws StaleRowError when the machine is no longer in `from`
   */
  recordPower(
    name: MachineName,
    from: MachineState,
    change: {
      readonly state: "serving" | "suspending" | "suspended" | "resuming";
      readonly deadline?: number | null;
    },
    why: string,
  ): void;

  // claims and hand-over
  /**
   * Binds a ready machine of the order's plan to the longest-waiting queued order that it fits; null if none. A customer
   * one of whose orders is being handed over waits with the next.
   */
  claimForQueue(pool: { name: string; plan: string; locationsOf(region: string): readonly string[] }): {
    order: Order;
    machine: Machine;
  } | null;
  /** The hand-over proved itself: machine serving, order running. The order's environment is forgotten. */
  recordServing(
    name: MachineName,
    facts: { tailnetNode: string | null; tailnetAddress: string | null },
  ): void;
  /**
   * The claimed machine is lost to the order; it fails, and the order takes the next one in the same transaction; if
   * there is none it is queued again, where it was. It fails too when it has used up `limit` machines, and at once when
   * `again` is false. @throws StaleRowError when the order is not this machine's any more
   */
  recordHandOverFailure(
    name: MachineName,
    failure: Failure,
    options: OrderLimits & { again?: boolean },
  ): { order: Order; machine: Machine | null };
  /**
   * A build has failed. With `limits` it is charged to the queued order that it was begun for, if there is one; an order
   * that has used up its machines fails. @throws StaleRowError when the machine is no longer in `from`
   */
  recordBuildFailure(
    name: MachineName,
    from: MachineState,
    failure: Failure,
    limits: OrderLimits | null,
  ): Machine;
  /**
   * Starts the end: machine releasing, order releasing.
   * @throws Error while nothing says that the machine may go (keyToDestroy)
   */
  releaseOrder(id: OrderId, why: string): Order;
  /** A person's word, by the machine's name, that its live order ends: recorded, and the end started. */
  confirmEnd(name: MachineName, why: string, cause: Cause & { readonly actor: string }): Order;
  /** The cloud answered 404: machine destroyed, its order (if any) released. */
  recordDestroyed(name: MachineName): void;

  // quarantine: nothing is bought, claimed or destroyed for rows that may be older than the world
  quarantine(): Quarantine | null;
  /** Holds every live machine; nothing changes when it is in quarantine already. */
  enterQuarantine(why: string, cause?: Cause): void;
  /** Writes all these rows, new or instead of what was there. @throws StaleRowError outside of a quarantine. */
  recover(rows: {
    readonly machines: readonly RecoveredMachine[];
    readonly orders: readonly RecoveredOrder[];
  }): void;
  /** The machine is worked on again, in the state that `change` names or the one that it has. */
  releaseMachine(
    name: MachineName,
    change: Pick<MachineChange, "state" | "deadline" | "reason">,
    why: string,
    cause?: Cause,
  ): Machine;
  /** Machines that are still held stay so. */
  endQuarantine(why: string, cause?: Cause): void;

  // history
  appendStep(order: OrderId, data: OrderEvent["data"]): OrderEvent;
  orderEvents(order: OrderId, afterSeq: number): OrderEvent[];
  audit(actor: string, action: string, subject: string, facts: AuditFacts): void;
  /** The newest, in the order in which they were written; at most `limit` (1,000). */
  auditRows(filter?: { subject?: string; limit?: number }): AuditRow[];
  /** The last row, for comparing later: a cut-off log looks sound by itself. Null while there is none. */
  auditHead(): AuditHead | null;
  /** The hash of the row of this number; null when there is none. */
  auditHash(seq: number): string | null;
  /** Something a person must look at. @returns true when that is news. */
  flag(kind: string, subject: string, text: string): boolean;
  /** What was flagged is over. @returns false when it was not flagged. */
  clearFlag(kind: string, subject: string, why: string, cause?: Cause): boolean;
  flags(): Flag[];

  // settings: small facts of the platform (ids of firewall, network, …), JSON
  setting(key: string): string | null;
  putSetting(key: string, value: string): void;
  /** False once another daemon has taken the store over; then every verb that writes throws FencedError. */
  leads(): boolean;
  close(): void;
}

/** The row changed since it was read: somebody else moved it. The caller looks again. */
export class StaleRowError extends Error {
  override readonly name = "StaleRowError";
}
