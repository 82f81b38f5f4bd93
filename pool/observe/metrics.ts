/** Prometheus metrics, computed from the store when they are read: what a row says cannot drift from what is shown. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { makeBill } from "../bill/bill.ts";
import { type Clock, dayMs } from "../clock.ts";
import type { Config, PoolConfig } from "../config/config.ts";
import { healthStates } from "../machine/diagnose.ts";
import { isClaimable, machineStates } from "../machine/machine.ts";
import { channelsOf } from "../notify/courier.ts";
import type { OrderEvent } from "../order/order.ts";
import { belowFloor, failureShare } from "../refill/alerts.ts";
import { replacement } from "../refill/replace.ts";
import { hitShareOf } from "../sizing/explain.ts";
import { minReadyOf, type TargetOf } from "../sizing/target.ts";
import type { Store } from "../store/store.ts";
import { wellAt } from "../sweep/schedule.ts";
import { sweepNames } from "../sweep/sweep.ts";
import type { DiskUse } from "./disk.ts";

const scheduledSweeps = [...sweepNames, "stripe"];

export interface Metrics {
  readonly registry: Registry;
  /** Counts the hand-over when the event says that an order runs. */
  orderEvent(event: OrderEvent): void;
  webhook(outcome: string): void;
  /** Counts what the Stripe sweep repaired, by kind: each means that a webhook was lost. */
  stripeRepair(kind: string): void;
  /** Counts a restart of a customer's gateway. */
  repair(ok: boolean): void;
}

/**
 * @param lastBackupAt epoch ms of the newest good backup; null before the first
 * @param disk how full the disk is now; not shown without it
 */
export function createMetrics(
  store: Store,
  config: () => Config,
  clock: Clock,
  lastBackupAt: () => number | null = () => null,
  targetOf: TargetOf = minReadyOf,
  disk?: () => DiskUse,
): Metrics {
  const registry = new Registry();
  const registers = [registry];

  new Gauge({
    name: "clawpool_machines",
    help: "Machines by pool and state",
    labelNames: ["pool", "state"],
    registers,
    collect() {
      this.reset();
      const live = store.machines({ live: true });
      for (const pool of config().pools) {
        for (const state of machineStates) {
          const count = live.filter(
            (machine) => machine.pool === pool.name && machine.state === state,
          ).length;
          this.set({ pool: pool.name, state }, count);
        }
      }
    },
  });
  new Gauge({
    name: "clawpool_claimable",
    help: "Machines that a payment would get at once",
    labelNames: ["pool"],
    registers,
    collect() {
      this.reset();
      const live = store.machines({ live: true });
      for (const pool of config().pools) {
        this.set(
          { pool: pool.name },
          live.filter((machine) => machine.pool === pool.name && isClaimable(machine)).length,
        );
      }
    },
  });
  new Gauge({
    name: "clawpool_pool_target",
    help: "Warm machines wanted",
    labelNames: ["pool"],
    registers,
    collect() {
      this.reset();
      for (const pool of config().pools) this.set({ pool: pool.name }, targetOf(pool).target);
    },
  });
  new Gauge({
    name: "clawpool_orders_queued",
    help: "Paid orders that wait for a machine",
    registers,
    collect() {
      const queued = store.orders({ states: ["queued"], limit: Number.MAX_SAFE_INTEGER });
      // One that is suspended waits for its customer, not for a machine.
      this.set(queued.filter(({ suspendedFor }) => suspendedFor === null).length);
    },
  });
  new Gauge({
    name: "clawpool_flags",
    help: "Things a person must look at",
    registers,
    collect() {
      this.set(store.flags().length);
    },
  });
  new Gauge({
    name: "clawpool_messages_undelivered",
    help: "Messages to operators and the web app that failed or were given up",
    labelNames: ["channel", "state"],
    registers,
    collect() {
      this.reset();
      const messages = store
        .messages({ states: ["waiting", "given-up"] })
        .filter(({ attempts }) => attempts > 0);
      for (const channel of channelsOf(config().notify)) {
        for (const state of ["waiting", "given-up"]) {
          const those = messages.filter((message) => message.channel === channel && message.state === state);
          this.set({ channel, state }, those.length);
        }
      }
    },
  });
  new Gauge({
    name: "clawpool_backup_age_seconds",
    help: "Age of the newest good backup by the clock; -1 before the first",
    registers,
    collect() {
      const at = lastBackupAt();
      this.set(at === null ? -1 : (clock.now() - at) / 1_000);
    },
  });
  if (disk) {
    new Gauge({
      name: "clawpool_disk_free_bytes",
      help: "Free on the disk of the state folder",
      registers,
      collect() {
        this.set(disk().freeBytes);
      },
    });
    new Gauge({
      name: "clawpool_store_log_bytes",
      help: "Length of the store's log, which is emptied beyond 64 MiB",
      registers,
      collect() {
        this.set(disk().logBytes);
      },
    });
  }
  new Gauge({
    name: "clawpool_quarantine",
    help: "1 while nothing is bought, claimed or destroyed because the store was restored or rebuilt",
    registers,
    collect() {
      this.set(store.quarantine() ? 1 : 0);
    },
  });
  new Gauge({
    name: "clawpool_machines_held",
    help: "Machines that wait for a person to release them",
    registers,
    collect() {
      this.set(store.machines({ live: true }).filter(({ held }) => held !== null).length);
    },
  });
  const perPool = (name: string, help: string, value: (pool: PoolConfig) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ["pool"],
      registers,
      collect() {
        this.reset();
        for (const pool of config().pools) this.set({ pool: pool.name }, value(pool));
      },
    });
  perPool(
    "clawpool_hit_share",
    "Share of the payments of twelve weeks that found a machine ready; 1 before the first",
    ({ name }) => hitShareOf(store, config(), name, clock.now()).share ?? 1,
  );
  perPool(
    "clawpool_hit_share_at_least",
    "The true share is above this with 95 % confidence",
    ({ name }) => hitShareOf(store, config(), name, clock.now()).atLeast,
  );
  new Gauge({
    name: "clawpool_idle_hours",
    help: "Hours of the last 24 that machines waited, ready",
    labelNames: ["pool"],
    registers,
    collect() {
      this.reset();
      const now = clock.now();
      const { rows } = makeBill(store, { from: now - dayMs, until: now }, now);
      for (const { name } of config().pools) {
        const ready = rows.filter(({ pool, purpose }) => pool === name && purpose === "ready");
        this.set(
          { pool: name },
          ready.reduce((sum, { hours }) => sum + hours, 0),
        );
      }
    },
  });
  perPool("clawpool_refill_stopped", "1 while too many builds failed and a person is asked", ({ name }) =>
    store.refill(name).stop ? 1 : 0,
  );
  perPool(
    "clawpool_build_failure_ratio",
    "Share of the builds of the last hour that failed",
    (pool) => failureShare(store, pool, clock.now()) ?? 0,
  );
  perPool(
    "clawpool_stale",
    "Warm machines of another content than the pool's",
    (pool) => replacement(store, pool, clock.now()).stale.length,
  );
  perPool("clawpool_rollout_stopped", "1 while a roll-out has stopped and a person is asked", ({ name }) =>
    store.rollout(name)?.phase === "stopped" ? 1 : 0,
  );
  perPool("clawpool_below_floor", "1 while the pool is told to have too few ready machines", ({ name }) =>
    store.flags().some(({ kind, subject }) => kind === belowFloor && subject === name) ? 1 : 0,
  );

  new Gauge({
    name: "clawpool_sweep_age_seconds",
    help: "Since a sweep last did well; up to five minutes too much",
    labelNames: ["sweep"],
    registers,
    collect() {
      this.reset();
      for (const sweep of scheduledSweeps) {
        const well = wellAt(store, sweep);
        if (well !== null) this.set({ sweep }, Math.max(0, clock.now() - well) / 1_000);
      }
    },
  });

  new Gauge({
    name: "clawpool_serving_health",
    help: "Machines that serve, by how their heartbeats find them",
    labelNames: ["state"],
    registers,
    collect() {
      const healths = store.healths();
      const serving = store.machines({ states: ["serving"] }).length;
      for (const state of healthStates)
        this.set({ state }, healths.filter((row) => row.state === state).length);
      // Those that were never seen otherwise have no row.
      this.set({ state: "healthy" }, serving - healths.filter((row) => row.state !== "healthy").length);
    },
  });
  const repairs = new Counter({
    name: "clawpool_repairs_total",
    help: "Restarts of gateways and tailscaleds that were down, by outcome",
    labelNames: ["outcome"],
    registers,
  });
  const handOver = new Histogram({
    name: "clawpool_handover_seconds",
    help: "Payment accepted to serving",
    labelNames: ["source"],
    buckets: [0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 5, 10, 30, 60, 300, 900],
    registers,
  });
  const webhooks = new Counter({
    name: "clawpool_webhooks_total",
    help: "Webhooks by outcome",
    labelNames: ["outcome"],
    registers,
  });

  const stripeRepairs = new Counter({
    name: "clawpool_stripe_repairs_total",
    help: "What no webhook told and the sweep of Stripe found, by kind; more than 0 means lost webhooks",
    labelNames: ["kind"],
    registers,
  });

  return {
    registry,
    orderEvent({ order: id, type, data }) {
      if (type !== "state" || data.state !== "running") return;
      const order = store.order(id);
      const machine = order?.machine ? store.machine(order.machine) : null;
      if (!order?.servingAt || !order.paidAt || !machine) return;
      // Built after the payment: the customer found the pool empty.
      const source = machine.createdAt > order.paidAt ? "cold" : "warm";
      handOver.observe({ source }, (order.servingAt - order.paidAt) / 1_000);
    },
    webhook: (outcome) => webhooks.inc({ outcome }),
    stripeRepair: (kind) => stripeRepairs.inc({ kind }),
    repair: (ok) => repairs.inc({ outcome: ok ? "ok" : "failed" }),
  };
}
