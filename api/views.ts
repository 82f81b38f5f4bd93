/** What callers see of orders and pools. No secret is in any of these. Times are ISO 8601, durations seconds. */
import type { Clock } from "../pool/clock.ts";
import type { Machine, MachineState } from "../pool/machine/machine.ts";
import type { PoolStatus } from "../pool/observe/status.ts";
import type { OrderDesk } from "../pool/order/desk.ts";
import type { SuspensionReason } from "../pool/order/entitlement.ts";
import { orderPage, usualPage } from "../pool/order/list.ts";
import type { Order, OrderEvent, OrderState } from "../pool/order/order.ts";
import { remedyOf } from "../pool/order/review.ts";
import type { Flag, Store } from "../pool/store/store.ts";

export interface OrderView {
  readonly id: string;
  readonly state: OrderState;
  readonly customer: string;
  readonly plan: string;
  readonly region: string;
  readonly agent_name: string;
  readonly created_at: string;
  readonly paid_at: string | null;
  readonly running_since: string | null;
  readonly release_at: string | null;
  readonly checkout_session: string | null;
  readonly checkout_url: string | null;
  /** While queued: 1 is next. */
  readonly position: number | null;
  /** While queued; null as long as no build was measured. */
  readonly estimate_seconds: number | null;
  readonly steps: readonly Readonly<Record<string, unknown>>[];
  /** Once the agent runs. */
  readonly machine: {
    readonly name: string;
    readonly ip: string | null;
    readonly tailnet_address: string | null;
    readonly region: string;
    readonly size: string;
  } | null;
  /** For the operator. */
  readonly reason: string | null;
  /** For the customer, in words; null when there is nothing to explain. */
  readonly notice: string | null;
  /** The agent may not be served now: its server is switched off, kept with all that is on it, and still costs. */
  readonly suspended: {
    readonly reason: SuspensionReason;
    readonly text: string | null;
    readonly since: string | null;
    /** What the customer can do. */
    readonly remedy: string | null;
  } | null;
  /** A payment is overdue: since when, as far as we saw; it is served on for the time that is configured. */
  readonly overdue_since: string | null;
  /** What a person said, which goes before Stripe's word. */
  readonly held: Order["held"];
  /** Since when a person forbids that the machine is destroyed. */
  readonly kept_since: string | null;
}

/** What a customer who waits is told when a person has to look at the order. */
const failedNotice =
  "We could not set up your agent by ourselves. A person is looking at it now. You have paid once and will not be charged again.";

function noticeOf(order: Order): string | null {
  const remedy = order.endedAt === null ? remedyOf(order) : null;
  if (remedy !== null)
    return `Your agent is switched off and nothing on it is lost. To use it again: ${remedy}.`;
  return order.state === "failed" && order.paidAt !== null && order.endedAt === null ? failedNotice : null;
}

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

/** What a list shows of an order, and its own view too. */
const brief = (order: Order) => ({
  id: order.id,
  state: order.state,
  customer: order.customer,
  plan: order.plan,
  region: order.region,
  agent_name: order.agentName,
  created_at: new Date(order.createdAt).toISOString(),
});

export function viewOrder(order: Order, { store, desk }: { store: Store; desk: OrderDesk }): OrderView {
  const estimate = desk.estimate(order);
  const machine = order.machine === null ? null : store.machine(order.machine);
  const shown = machine !== null && ["running", "suspended", "releasing"].includes(order.state);
  return {
    ...brief(order),
    paid_at: iso(order.paidAt),
    running_since: iso(order.servingAt),
    release_at: iso(order.releaseAt),
    checkout_session: order.checkoutSession,
    checkout_url: order.state === "awaiting-payment" ? order.checkoutUrl : null,
    position: estimate?.position ?? null,
    estimate_seconds: estimate?.waitMs == null ? null : Math.ceil(estimate.waitMs / 1000),
    steps: store
      .orderEvents(order.id, 0)
      .filter(({ type }) => type === "step")
      .map(viewEvent),
    machine: shown
      ? {
          name: machine.name,
          ip: machine.ipv4,
          tailnet_address: machine.tailnetAddress,
          region: machine.location,
          size: machine.serverType,
        }
      : null,
    reason: order.reason,
    notice: noticeOf(order),
    suspended: viewSuspension(order),
    overdue_since: iso(order.overdueSince),
    held: order.held,
    kept_since: iso(order.keptAt),
  };
}

/** Of an order that resumes, too: it is not served before its machine is proved. */
function viewSuspension(order: Order): OrderView["suspended"] {
  if (order.suspendedFor === null) return null;
  const { suspendedFor: reason, suspendedWhy: text, suspendedAt } = order;
  return { reason, text, since: iso(suspendedAt), remedy: remedyOf(order) };
}

export function viewEvent(event: OrderEvent): Readonly<Record<string, unknown>> {
  const notice = event.type === "state" && event.data.state === "failed" ? { notice: failedNotice } : {};
  return { ...event.data, ...notice, seq: event.seq, at: new Date(event.at).toISOString() };
}

interface MachineView {
  readonly name: string;
  readonly state: MachineState;
  readonly pool: string;
  readonly location: string;
  readonly type: string;
  readonly ip: string | null;
  readonly tailnet_address: string | null;
  readonly server_id: number | null;
  readonly order: string | null;
  readonly created_at: string;
  readonly state_since: string;
  readonly deadline: string | null;
  readonly attempts: number;
  readonly reason: string | null;
  /** Failed, and kept until then to be looked at. */
  readonly specimen_until: string | null;
}

function viewMachine(machine: Machine): MachineView {
  return {
    name: machine.name,
    state: machine.state,
    pool: machine.pool,
    location: machine.location,
    type: machine.serverType,
    ip: machine.ipv4,
    tailnet_address: machine.tailnetAddress,
    server_id: machine.serverId,
    order: machine.order,
    created_at: new Date(machine.createdAt).toISOString(),
    state_since: new Date(machine.stateSince).toISOString(),
    deadline: iso(machine.deadline),
    attempts: machine.attempts,
    reason: machine.reason,
    specimen_until: iso(machine.specimenUntil),
  };
}

export interface PoolView {
  readonly at: string;
  readonly instance: string;
  readonly pools: readonly {
    readonly name: string;
    readonly plan: string;
    readonly locations: readonly string[];
    readonly size: string;
    readonly ready: number;
    readonly min_ready: number;
    readonly live: number;
    readonly max_total: number;
    readonly states: Readonly<Partial<Record<MachineState, number>>>;
    readonly queued: number;
    readonly build_seconds: number | null;
    /** Too many builds failed; `clawpool resume` or another input starts it again. */
    readonly refill_stopped: { readonly since: string; readonly reason: string } | null;
    /** Behind a failed build: when the next is tried. */
    readonly refill_paused_until: string | null;
    /** The failed machine that is kept to be looked at. */
    readonly specimen: string | null;
  }[];
  readonly machines: readonly MachineView[];
  /** The newest 50. */
  readonly orders: readonly ListedOrderView[];
  /** `GET /v1/orders?cursor=` goes on from there; null when these are all. */
  readonly orders_next: string | null;
  /** What a person must look at. */
  readonly flags: readonly Flag[];
}

export interface ListedOrderView {
  readonly id: string;
  readonly state: OrderState;
  readonly customer: string;
  readonly plan: string;
  readonly region: string;
  readonly agent_name: string;
  readonly created_at: string;
  readonly machine: string | null;
  readonly position: number | null;
  readonly reason: string | null;
}

export function viewListedOrder(order: Order, store: Store): ListedOrderView {
  return {
    ...brief(order),
    machine: order.machine,
    position: order.state === "queued" ? store.queuePosition(order.id) : null,
    reason: order.suspendedWhy ?? order.reason,
  };
}

/** Pools, live machines and the newest orders at a glance. */
export function viewPool(status: PoolStatus, store: Store, clock: Clock): PoolView {
  const { orders, next } = orderPage(store, { states: [], limit: usualPage, after: undefined });
  return {
    at: new Date(clock.now()).toISOString(),
    instance: status.instance,
    pools: status.pools.map((pool) => ({
      name: pool.name,
      plan: pool.plan,
      locations: pool.locations,
      size: pool.serverType,
      ready: pool.claimable,
      min_ready: pool.minReady,
      live: pool.live,
      max_total: pool.maxTotal,
      states: pool.states,
      queued: pool.queued,
      build_seconds: pool.buildMs === null ? null : Math.round(pool.buildMs / 1000),
      refill_stopped: pool.refill.stopped && {
        since: new Date(pool.refill.stopped.at).toISOString(),
        reason: pool.refill.stopped.reason,
      },
      refill_paused_until: iso(pool.refill.pausedUntil),
      specimen: pool.refill.specimen,
    })),
    machines: store.machines({ live: true }).map(viewMachine),
    orders: orders.map((order) => viewListedOrder(order, store)),
    orders_next: next,
    flags: status.flags,
  };
}
