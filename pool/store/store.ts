/**
 * The store's verbs. Each is one whole transaction, durable when it returns; a verb that changes a machine or an
 * order writes its audit row (reason, cause, changed fields) in the same transaction. One conformance suite
 * (tests/store/conformance.ts) runs on every implementation.
 */
import type { PriceList } from "../cloud/prices.ts";
import type { Machine, MachineName, MachineSecrets, MachineState, OrderId } from "../machine/machine.ts";
import type { AgentSecrets, Order, OrderEvent, OrderState } from "../order/order.ts";
import type { AuditHead } from "./audit-chain.ts";
import type { Quarantine } from "./quarantine.ts";
import type {
  AppliedConfig,
  Attempt,
  AuditFacts,
  AuditRow,
  BilledResource,
  Build,
  Cause,
  Channel,
  Checkout,
  Demand,
  Failure,
  Flag,
  Freeze,
  Health,
  InboxEvent,
  ListedSpan,
  MachineChange,
  MachineFilter,
  Message,
  MessageOutcome,
  NewMachine,
  NewOrder,
  OrderCursor,
  OrderLimits,
  OrderStanding,
  Payment,
  PaymentOutcome,
  RecoveredMachine,
  RecoveredOrder,
  Refill,
  RememberedPrices,
  RememberedState,
  Rollout,
  SeenResource,
  Specimen,
  StockOut,
} from "./rows.ts";

export type * from "./rows.ts";

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
  terraformState(stack: MachineName | "platform"): RememberedState | null;
  /** Null forgets it: the file was put aside. */
  rememberState(stack: MachineName | "platform", state: Omit<RememberedState, "at"> | null): void;

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

  // what it costs
  /** The last list that was read; null while there was none. */
  prices(): RememberedPrices | null;
  /** An audit row says so when it is not what it was. What had no price yet gets it, if the list has one. */
  rememberPrices(prices: PriceList): void;
  /** What existed at some time from `from` to `until` (epoch ms, exclusive), counted or only seen. */
  billed(from: number, until: number): BilledResource[];
  /** A whole list of what is ours was read. */
  recordSeen(seen: readonly SeenResource[]): void;
  /** When such lists were read, as spans without long gaps (epoch ms), oldest first. */
  listedSpans(): ListedSpan[];
  /** What a machine was and since when (epoch ms), oldest first. */
  machineStates(name: MachineName): { readonly at: number; readonly state: MachineState }[];
  /** JSON by day (`2026-11-21`, UTC), oldest first. */
  billDays(from: string, until: string): { readonly day: string; readonly document: string }[];
  /** An audit row says so. Another bill of the day takes its place. */
  closeBillDay(day: string, document: string, why: string): void;

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

  // demand
  /** Payments in the order in which they were accepted: those behind `after` (a seq), at `since` (epoch ms) or later. */
  demand(filter?: { after?: number; since?: number }): Demand[];
  /** All that are open, the oldest first, and the newest `limit` of those that are not. */
  checkouts(limit: number): { readonly open: readonly Checkout[]; readonly closed: readonly Checkout[] };

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
  /** A machine that is held, claimed or handing-over, serves by a person's word, and is worked on again. */
  releaseServing(name: MachineName, why: string, cause: Cause): void;
  /**
   * The claimed machine is lost to the order; it fails, and the order takes the next one in the same transaction; if
   * there is none it is queued again, where it was. It fails too when it has used up `limit` machines, and at once when
   * `again` is false. With `hold` the machine is held for that reason. @throws StaleRowError when the order is not this
   * machine's any more
   */
  recordHandOverFailure(
    name: MachineName,
    failure: Failure,
    options: OrderLimits & { again?: boolean; hold?: string | undefined },
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
  /**
   * Holds every live machine, for `why`, and forgets what an earlier look found: also in a quarantine that lasts, because
   * whoever calls this says that the store is older than the world once more.
   */
  enterQuarantine(why: string, cause?: Cause): void;
  /** Holds this machine, for `why`, until a person releases it. @throws StaleRowError when it is no longer in `from` */
  holdMachine(name: MachineName, from: MachineState, why: string): Machine;
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
  /** Oldest first; at most `limit`, all unless told. */
  orderEvents(order: OrderId, afterSeq: number, limit?: number): OrderEvent[];
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

  // configurations
  /** What came into force, unless it is what was written before; with an audit row. @returns null for nothing new */
  recordConfig(
    applied: Omit<AppliedConfig, "n" | "at">,
    facts: { readonly why: string; readonly effect?: unknown },
  ): AppliedConfig | null;
  /** The one in force; null before the first. */
  lastConfig(): AppliedConfig | null;

  // outbox: flags, events of orders and their ends write into it by themselves
  /** The oldest first, at most 1,000; delivered ones are kept for a week. */
  messages(filter?: { states?: readonly Message["state"][]; channel?: Channel }): Message[];
  /** The one that is due first, or will be. */
  nextMessage(channel: Channel): Message | null;
  /**
   * Counts a try, before anything is sent: a daemon that dies of it comes back to it at `nextAt`. From now on the message
   * stays as it is. @returns null when nobody waits for it any more
   */
  beginMessage(id: string, nextAt: number): Message | null;
  endMessage(id: string, outcome: MessageOutcome): void;
  /** The channel works again: what failed before is due now. */
  hastenMessages(channel: Channel): void;
  /** A person has this one (null: all that failed or were given up) tried again, from the beginning. @returns ids */
  retryMessages(id: string | null, cause: Cause & { readonly actor: string }): string[];
  /** Nobody is to be told any more. @returns ids */
  dropMessages(
    which: { id: string; channel?: undefined } | { channel: Channel; id?: undefined },
    why: string,
    cause?: Cause,
  ): string[];

  // settings: small facts of the platform (ids of firewall, network, …), JSON
  setting(key: string): string | null;
  /** @param told an audit row that is written with it */
  putSetting(
    key: string,
    value: string,
    told?: {
      readonly actor: string;
      readonly action: string;
      readonly subject: string;
      readonly facts: AuditFacts;
    },
  ): void;
  /** False once another daemon has taken the store over; then every verb that writes throws FencedError. */
  leads(): boolean;
  /** Takes what the log has into the database and makes its file empty; does nothing while somebody reads older rows. */
  emptyLog(): void;
  close(): void;
}

/** The row changed since it was read: somebody else moved it. The caller looks again. */
export class StaleRowError extends Error {
  override readonly name = "StaleRowError";
}
