/** The verbs about orders: making, paying, ending. */
import type { AgentSecrets, Order } from "../order/order.ts";
import { attemptsOf, clearOrderFlags } from "./attempts.ts";
import { changedFields } from "./audit.ts";
import { claimMachine } from "./claims.ts";
import type { StoreContext } from "./context.ts";
import { closeCheckout, openCheckout, recordDemand } from "./demand.ts";
import { anyLimit } from "./known-lists.ts";
import { writeMachineChange } from "./machines.ts";
import { type Cause, type InboxEvent, StaleRowError, type Store } from "./store.ts";

type OrderVerbs = Pick<
  Store,
  | "createOrder"
  | "attachCheckout"
  | "order"
  | "orderBySession"
  | "orderBySubscription"
  | "orders"
  | "attempts"
  | "retryOrder"
  | "agentSecrets"
  | "queued"
  | "queuePosition"
  | "keepEvent"
  | "acceptPayment"
  | "expireOrder"
  | "endSubscription"
>;

export const orderColumns: Readonly<Record<keyof Order, string>> = {
  id: "id",
  state: "state",
  customer: "customer",
  plan: "plan",
  region: "region",
  agentName: "agent_name",
  createdAt: "created_at",
  checkoutSession: "checkout_session",
  checkoutUrl: "checkout_url",
  subscription: "subscription",
  stripeCustomer: "stripe_customer",
  paidAt: "paid_at",
  machine: "machine",
  servingAt: "serving_at",
  endedAt: "ended_at",
  releaseAt: "release_at",
  reason: "reason",
  overdueSince: "overdue_since",
  suspendedFor: "suspended_for",
  suspendedAt: "suspended_at",
  suspendedWhy: "suspended_why",
  held: "held",
  keptAt: "kept_at",
};

/**
 * Fields whose change the audit log tells: not the customer's words, and not the address at which somebody can pay.
 * The log is kept for ever.
 */
export const toldOfOrders = (Object.keys(orderColumns) as (keyof Order)[]).filter(
  (field) => !["customer", "agentName", "checkoutUrl"].includes(field),
);

/** The kind of the flag; its subject is the checkout session. */
export const unknownPayment = "payment-for-unknown-order";

const place = (id: string) => `order/${id}/secrets`;

/** The rows under the order's own names for its fields. */
const selectOrder = `SELECT ${Object.entries(orderColumns)
  .map(([field, column]) => `${column} AS "${field}"`)
  .join(", ")} FROM orders`;

export function findOrder(
  context: StoreContext,
  column: "id" | "checkout_session" | "subscription",
  value: string,
): Order | null {
  const found = context.known("orders", `by ${column}`, () => new Map<string, Order>());
  const known = found.get(value);
  if (known) return known;
  const order = context.db.prepare<[string], Order>(`${selectOrder} WHERE ${column} = ?`).get(value) ?? null;
  // What somebody asks for and there is not is not kept: there would be no end of it.
  if (order) found.set(value, order);
  return order;
}

/** @throws StaleRowError when there is no such order. */
export function readOrder(context: StoreContext, id: string): Order {
  const order = findOrder(context, "id", id);
  if (!order) throw new StaleRowError(`order ${id} is unknown`);
  return order;
}

/**
 * Writes fields of an order inside the caller's transaction, with an audit row (`order.<state>`; `order.changed` when
 * the state stays); a new state also gets an event.
 */
export function writeOrder(
  context: StoreContext,
  id: string,
  change: Partial<Order>,
  why: string,
  { actor = "daemon", run = null }: Cause = {},
): Order {
  const before = readOrder(context, id);
  const fields = Object.entries(change).filter(([, value]) => value !== undefined);
  const assignments = fields.map(([field]) => `${orderColumns[field as keyof Order]} = @${field}`);
  if (change.state === "queued" && before.state !== "queued") assignments.push("queued_at = @queuedAt");
  if (assignments.length > 0) {
    context.db
      .prepare(`UPDATE orders SET ${assignments.join(", ")} WHERE id = @row`)
      .run({ ...Object.fromEntries(fields), queuedAt: context.clock.now(), row: id });
  }
  const after = readOrder(context, id);
  const moved = after.state !== before.state;
  const changed = changedFields(before, after, toldOfOrders);
  if (changed) {
    const action = moved ? `order.${after.state}` : "order.changed";
    context.history.audit(actor, action, id, { why, run, ...changed });
  }
  if (moved) {
    context.history.orderEvent(id, "state", {
      state: after.state,
      reason: change.reason ?? null,
      machine: change.machine ?? before.machine,
    });
  }
  return after;
}

/** Stripe's word, with the id of the event that brought it; without one it was fetched. */
const stripe = (event: InboxEvent | null): Cause => ({ actor: "stripe", run: event?.id ?? null });

export function sealAgent(context: StoreContext, id: string, secrets: AgentSecrets): string {
  return context.sealer.seal(JSON.stringify(secrets), place(id));
}

export function openAgent(context: StoreContext, id: string): AgentSecrets {
  const row = context.db
    .prepare<[string], { secrets: string }>("SELECT secrets FROM orders WHERE id = ?")
    .get(id);
  if (!row) throw new StaleRowError(`order ${id} is unknown`);
  return JSON.parse(context.sealer.open(row.secrets, place(id)));
}

function keepEvent(context: StoreContext, event: InboxEvent): boolean {
  const kept = context.db
    .prepare(
      `INSERT INTO inbox (id, type, object, created_at, received_at, body) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO NOTHING`,
    )
    .run(event.id, event.type, event.object, event.createdAt, context.clock.now(), event.body);
  return kept.changes === 1;
}

function position(context: StoreContext, order: Order): number | null {
  if (order.state !== "queued" || order.suspendedFor !== null) return null;
  const { ahead } = context.db
    .prepare<[string, number, string], { ahead: number }>(
      `SELECT count(*) AS ahead FROM orders
       WHERE state = 'queued' AND suspended_for IS NULL AND plan = ? AND (paid_at, id) < (?, ?)`,
    )
    .get(order.plan, order.paidAt ?? 0, order.id) ?? { ahead: 0 };
  return ahead + 1;
}

/** Of customers whose orders are being handed over nobody is next: one machine at a time. */
const freeCustomer =
  "NOT EXISTS (SELECT 1 FROM orders AS busy WHERE busy.customer = orders.customer AND busy.state = 'provisioning')";

/** The queued orders of a plan that may take a machine now, the longest-waiting first. */
export function nextOrders(context: StoreContext, plan: string): { id: string }[] {
  return context.db
    .prepare<[string], { id: string }>(
      `SELECT id FROM orders WHERE state = 'queued' AND suspended_for IS NULL AND plan = ? AND ${freeCustomer}
       ORDER BY paid_at, id`,
    )
    .all(plan);
}

const isNext = (context: StoreContext, order: Order): boolean =>
  nextOrders(context, order.plan)[0]?.id === order.id;

export function orderVerbs(context: StoreContext): OrderVerbs {
  const { db, clock, history } = context;

  return {
    createOrder: (order) =>
      context.write(() => {
        db.prepare(
          `INSERT INTO orders (id, state, customer, plan, region, agent_name, secrets, created_at)
           VALUES (?, 'awaiting-payment', ?, ?, ?, ?, ?, ?)`,
        ).run(
          order.id,
          order.customer,
          order.plan,
          order.region,
          order.agentName,
          sealAgent(context, order.id, order.secrets),
          clock.now(),
        );
        openCheckout(context, order);
        const { plan, region } = order;
        const after = { state: "awaiting-payment", plan, region };
        history.audit("api", "order.created", order.id, { why: "an order was placed", after });
        history.orderEvent(order.id, "state", { state: "awaiting-payment" });
        return readOrder(context, order.id);
      }),

    attachCheckout: (id, checkout) =>
      context.write(() =>
        writeOrder(
          context,
          id,
          { checkoutSession: checkout.session, checkoutUrl: checkout.url },
          "its checkout session",
          { actor: "api" },
        ),
      ),

    order: (id) => findOrder(context, "id", id),
    orderBySession: (session) => findOrder(context, "checkout_session", session),
    orderBySubscription: (subscription) => findOrder(context, "subscription", subscription),

    orders({ states = [], stripeCustomer, limit = 1_000, after } = {}) {
      const read = () => {
        const where = [
          ...(states.length > 0 ? [`state IN (${states.map(() => "?").join(", ")})`] : []),
          ...(stripeCustomer === undefined ? [] : ["stripe_customer = ?"]),
          ...(after ? ["(created_at, id) < (?, ?)"] : []),
        ];
        const values = [
          ...states,
          ...(stripeCustomer === undefined ? [] : [stripeCustomer]),
          ...(after ? [after.createdAt, after.id] : []),
        ];
        return db
          .prepare<(string | number)[], Order>(
            `${selectOrder} ${where.length > 0 ? `WHERE ${where.join(" AND ")}` : ""}
             ORDER BY created_at DESC, id DESC ${anyLimit}`,
          )
          .all(...values, limit);
      };
      const often = states.length > 0 && stripeCustomer === undefined && !after;
      return often ? [...context.known("orders", `${states}\n${limit}`, read)] : read();
    },

    attempts: (id) => attemptsOf(context, id),

    retryOrder: (id, locations, cause) =>
      context.write(() => {
        const order = readOrder(context, id);
        if (order.state !== "failed" || order.endedAt !== null || order.paidAt === null) {
          throw new StaleRowError(`order ${id} is ${order.state}, not failed`);
        }
        const why = "started again";
        db.prepare("UPDATE orders SET round = round + 1 WHERE id = ?").run(id);
        clearOrderFlags(context, order.id, why, cause.actor);
        const queued = writeOrder(context, id, { state: "queued", reason: null }, why, cause);
        const claimed = isNext(context, queued) ? claimMachine(context, queued, locations) : null;
        return claimed ?? { order: queued, machine: null };
      }),

    agentSecrets: (id) => openAgent(context, id),
    queued: (plan) =>
      context.known(
        "orders",
        `queued\n${plan}`,
        () =>
          db
            .prepare<[string], { n: number }>(
              "SELECT count(*) AS n FROM orders WHERE state = 'queued' AND suspended_for IS NULL AND plan = ?",
            )
            .get(plan)?.n ?? 0,
      ),
    queuePosition: (id) => position(context, readOrder(context, id)),

    keepEvent: (event) => context.write(() => keepEvent(context, event)),

    acceptPayment: (event, payment, locations) =>
      context.write(() => {
        if (event) keepEvent(context, event);
        const order =
          (payment.order && findOrder(context, "id", payment.order)) ||
          findOrder(context, "checkout_session", payment.checkoutSession);
        if (!order) {
          history.flag(
            unknownPayment,
            payment.checkoutSession,
            `checkout session ${payment.checkoutSession} was paid, but no order has this session or reference; ` +
              "refund it in Stripe or make the order by hand",
          );
          history.audit("stripe", "payment.unknown-order", payment.checkoutSession, {
            why: "a session was paid that belongs to no order",
            run: event?.id,
            named: payment.order,
          });
          return { kind: "unknown-order" };
        }
        // Its order came behind it. Not where that has ended before it was served: then the money is still to be given back.
        const takeBack = () =>
          history.clearFlag(unknownPayment, payment.checkoutSession, `it paid for order ${order.id}`);
        if (order.paidAt !== null) {
          if (order.checkoutSession === payment.checkoutSession) {
            if (order.endedAt === null) takeBack();
          } else {
            history.flag(
              "paid-twice",
              order.id,
              `order ${order.id} was paid by session ${order.checkoutSession} and again by ${payment.checkoutSession}; ` +
                "refund the second in Stripe",
            );
          }
          return { kind: "duplicate", order };
        }
        const ended = payment.subscription
          ? db
              .prepare<[string], { reason: string }>("SELECT reason FROM tombstone WHERE subscription = ?")
              .get(payment.subscription)
          : undefined;
        const paid: Partial<Order> = {
          paidAt: clock.now(),
          checkoutSession: payment.checkoutSession,
          subscription: payment.subscription,
          stripeCustomer: payment.stripeCustomer,
        };
        closeCheckout(context, order.id, "paid");
        if (ended) {
          const change = { ...paid, state: "released", endedAt: clock.now(), reason: ended.reason } as const;
          return {
            kind: "ended",
            order: writeOrder(context, order.id, change, "the subscription ended before", stripe(event)),
          };
        }
        takeBack();
        const change = { ...paid, state: "queued", reason: null } as const;
        const queued = writeOrder(context, order.id, change, "paid", stripe(event));
        // Whoever waits already comes first: the queue is served as soon as a machine gets ready.
        const claimed = isNext(context, queued) ? claimMachine(context, queued, locations) : null;
        recordDemand(context, order, claimed?.machine.pool ?? null);
        if (claimed) return { kind: "claimed", ...claimed };
        return { kind: "queued", order: queued, position: position(context, queued) ?? 1 };
      }),

    expireOrder: (event, session, reason) =>
      context.write(() => {
        if (event) keepEvent(context, event);
        const order = findOrder(context, "checkout_session", session);
        if (order?.state !== "awaiting-payment") return order;
        closeCheckout(context, order.id, "expired");
        return writeOrder(context, order.id, { state: "expired", reason }, reason, stripe(event));
      }),

    endSubscription: (event, end) =>
      context.write(() => {
        if (event) keepEvent(context, event);
        const { changes } = db
          .prepare(
            "INSERT INTO tombstone (subscription, at, reason) VALUES (?, ?, ?) ON CONFLICT (subscription) DO NOTHING",
          )
          .run(end.subscription, clock.now(), end.reason);
        const order = findOrder(context, "subscription", end.subscription);
        if (changes === 1) {
          const facts = { why: end.reason, run: event?.id, order: order?.id ?? null };
          history.audit("stripe", "subscription.ended", end.subscription, facts);
        }
        if (!order || order.endedAt !== null) return order;
        const ended = { endedAt: clock.now(), reason: end.reason } as const;
        if (order.machine === null) {
          clearOrderFlags(context, order.id, "its subscription has ended");
          const change = { ...ended, state: "released", releaseAt: clock.now() } as const;
          return writeOrder(context, order.id, change, end.reason, stripe(event));
        }
        // The machine is looked at again when the grace is over.
        const machine = db
          .prepare<[string], { state: string }>("SELECT state FROM machine WHERE name = ?")
          .get(order.machine);
        if (machine?.state === "serving") {
          const next = { nextLookAt: end.releaseAt };
          writeMachineChange(context, order.machine, "serving", next, "the order has ended");
        }
        return writeOrder(
          context,
          order.id,
          { ...ended, state: "releasing", releaseAt: end.releaseAt },
          end.reason,
          stripe(event),
        );
      }),
  };
}
