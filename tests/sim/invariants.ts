/** What must hold whatever happens: at each step where it can be broken, and at the end of all trouble (tests/invariants.ts). */
import type { PoolConfig } from "../../pool/config/config.ts";
import { isLive, type MachineName, type OrderId } from "../../pool/machine/machine.ts";
import { isFixed } from "../../pool/sizing/policy/create.ts";
import type { Flag } from "../../pool/store/store.ts";
import { broken, type Facts, unrest, type WantedPool } from "../invariants.ts";
import { outdatedRecords } from "./borders/records.ts";
import { ourDevices, ourServers, strays, touchedNeighbours } from "./leftovers.ts";
import { judgeSpending } from "./spell.ts";
import type { Story } from "./story.ts";
import { judgeTelling } from "./telling.ts";
import { crashes, hasPaid } from "./world.ts";

/** What Stripe's objects say has reached the orders, told by a webhook or not. */
function knowsStripe({ store, world }: Story): boolean {
  const flagged = new Set(store.flags().map(({ subject }) => subject));
  return [...world.sessions.values()].every((session) => {
    const order = store.order(session.order as OrderId);
    const subscription = world.subscriptions.get(session.subscription ?? "");
    // A checkout whose daemon died before it wrote the order down: nobody has its address. Or its order was lost with the
    // store, and nobody has paid.
    if (!order) return !hasPaid(session) || flagged.has(session.id);
    if (order.state === "failed" && flagged.has(order.id)) return true;
    if (session.status === "expired") return order.state !== "awaiting-payment";
    if (!hasPaid(session) && subscription?.status === "past_due") {
      return flagged.has(subscription.id);
    }
    if (hasPaid(session) && order.paidAt === null) return false;
    if (subscription?.status === "canceled" || order.endedAt !== null) return order.endedAt !== null;
    return order.paidAt === null || (order.suspendedFor === null) === world.isEntitled(order.id);
  });
}

/** Flags that end by themselves, or when a person resumes; failures of an hour ago may still be told. */
const poolFlags: readonly string[] = [
  "refill-stopped",
  "below-floor",
  "ready-unreachable",
  "rollout-stopped",
  "unhealthy",
];

/** Flags that end when what they tell of is over, or when a person starts the order again. */
const orderFlags: readonly string[] = ["order-failed", "order-waits", "hand-over-waits", "frozen", "stuck"];

/** An order whose environment was lost with the database: nobody but its customer can help. */
const isBare = ({ store }: Story, subject: string): boolean =>
  store.order(subject as OrderId)?.state === "failed" &&
  store.agentSecrets(subject as OrderId).gatewayToken === "";

/** Hetzner's refusal shows only in an order, and nothing had to be ordered since, by this store: it stays told. */
const isUntried = ({ world }: Story, { kind, subject, at }: Flag): boolean =>
  kind === "frozen" &&
  subject === "cloud" &&
  !world.builds.bought.some((bought) => bought > Math.max(at, world.restoredAt ?? 0));

/**
 * A serving machine shows another host key for good, or the row that came back is of before its key was born: its agent
 * serves on, but only a person can let the daemon in.
 */
function isLockedOut({ store, world }: Story, subject: string): boolean {
  const row = store.machine(subject as MachineName);
  const machine = world.servers.get(row?.serverId ?? 0)?.machine;
  return machine !== undefined && (machine.rot === "host-key" || machine.hostKey !== row?.hostKey);
}

/** The heartbeats of one that serves have yet to find that nobody lets the daemon in. */
function isUntold(story: Story): boolean {
  const flags = story.store.flags();
  if (flags.some(({ kind }) => kind === "serving-unreachable")) return false;
  const told = new Set(flags.map(({ subject }) => subject));
  return story.store
    .machines({ states: ["serving"] })
    .some(({ name }) => !told.has(name) && isLockedOut(story, name));
}

/** A machine that waits could not serve, or is not what it is to be although there is room for another. */
function isToBeReplaced(story: Story): boolean {
  const { store, world, installation } = story;
  const rotten = [...world.servers.values()].some(({ id, name, machine, deleting }) => {
    const state = store.machineByServerId(id)?.state;
    if (state === "serving" && isLockedOut(story, name)) return false;
    // One that is suspended is off: it is looked at when it is to serve again.
    return (
      (crashes.some((crash) => crash === machine.rot) && !deleting && state !== "suspended") ||
      (machine.rot !== null && state === "ready")
    );
  });
  const [pool] = installation.config.pools;
  const hasRoom = store.machines({ live: true }).length < (pool?.maxTotal ?? 0);
  const rollout = store.rollout(pool?.name ?? "");
  // An empty pool waits for the first machine of the new content.
  const waits = rollout?.phase === "canary" && store.machines({ states: ["ready"] }).length === 0;
  const isDone = rollout?.phase === "done" && rollout.target.endsWith(world.recipe.text);
  return rotten || (hasRoom && !isDone && !waits);
}

/** What a pool is to have; a surplus of one that is not fixed is in order until its paid hour ends. */
function wantedOf({ daemon }: Story, pool: PoolConfig): WantedPool {
  if (isFixed(pool.sizing)) return pool;
  const { target } = daemon.serving?.sizer.target(pool) ?? { target: pool.minReady };
  return { minReady: target, maxTotal: pool.maxTotal, most: pool.maxTotal };
}

/** Also those whose row went with the store before anything was bought: the sweep puts them away after a grace. */
const machineFolders = ({ world }: Story): MachineName[] =>
  [...world.states.keys()].filter((folder) => folder !== "platform").map((name) => name as MachineName);

/** True when there is nothing left to do: pool full, everybody served, nothing half made. */
export function isSettled(story: Story): boolean {
  const { store, world, installation } = story;
  if (!story.over || !story.daemon.serving || story.daemon.life.dead) return false;
  if (world.processes.size > 0 || strays(world).length > 0 || !knowsStripe(story)) return false;
  if (machineFolders(story).some((name) => !isLive(store.machine(name)))) return false;
  const [pool] = installation.config.pools;
  if (!pool || unrest(store, wantedOf(story, pool)).length > 0 || isToBeReplaced(story) || isUntold(story))
    return false;
  if (store.messages({ states: ["waiting"] }).length > 0) return false;
  if (!outdatedRecords(world, installation).next().done) return false;
  // Where max_total leaves no room for the floor, that stays to be told.
  const told = store.machines({ states: ["ready"] }).length < pool.minReady ? ["refill-stopped"] : poolFlags;
  return !store
    .flags()
    .filter((flag) => !isUntried(story, flag))
    .some(
      ({ kind, subject }) =>
        kind === "record-not-written" ||
        (told.includes(kind) && !(kind === "unhealthy" && isLockedOut(story, subject))) ||
        (orderFlags.includes(kind) && !isBare(story, subject)),
    );
}

/** Everything that must be true once it is settled. */
export function judge(story: Story): void {
  const { store, world, acknowledged } = story;
  judgeSpending(story);
  judgeTelling(story);
  for (const what of strays(world)) world.violate("I3", `${what} turned up and is still there`);
  const facts: Facts = {
    store,
    servers: ourServers(world).map(({ id, name, deleting, off, machine }) => ({
      id,
      name,
      deleting,
      off,
      customer: machine.customer,
      serves: machine.done?.order ?? null,
      admin: machine.admin,
    })),
    devices: ourDevices(world),
    folders: machineFolders(story),
    sessions: [...world.sessions.values()].map(({ id, order }) => ({
      id,
      order,
      acknowledged: acknowledged.has(id),
    })),
    isEntitled: (order) => world.isEntitled(order),
    bill: world.bill,
    maxTotal: world.maxTotal,
    restored: world.restoredAt !== null,
    touched: touchedNeighbours(world),
    told: [],
  };
  for (const text of broken(facts)) {
    const [, invariant = "", what = ""] = /^(I\d+): (.*)$/s.exec(text) ?? [];
    world.violate(invariant, what);
  }
}
