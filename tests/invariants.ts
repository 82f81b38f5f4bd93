/**
 * What must hold whatever happened, once the trouble is over: one definition for the simulation, the fault tests and
 * the soak. Each collects the facts in its own world and has them judged here.
 *
 *   I1  who paid is served by exactly one machine, or a person was told; whoever is suspended keeps one, switched off
 *   I2  no machine ever had two orders, no order has two machines
 *   I3  nothing of ours is left that no row knows (servers, devices, folders), and nothing of others was touched
 *   I4  a payment that was acknowledged is known
 *   I5  no machine that served an order was let go while that lived, unless a person said so, whoever serves it now
 *   I6  no secret was told
 *   I7  never more servers than allowed, never one bought twice, and the bill knows for how long each was charged for
 *   I8  everything is in order again: pools full, nothing half made, every server that a row names exists
 *   I9  a serving machine attested for its own order, shows the host key that was born on it, and lets us in no more
 *   I10 the audit chain is sound and tells each change of state
 */
import { differencesOf, lifeOf, slackMs } from "../pool/bill/differences.ts";
import {
  customersStates,
  type Machine,
  type MachineState,
  machineName,
  type OrderId,
} from "../pool/machine/machine.ts";
import { publicKeyOf } from "../pool/ssh/keys.ts";
import type { Store } from "../pool/store/store.ts";
import { assertAudited } from "./store/audited.ts";

/** A server that carries our labels. */
export interface SeenServer {
  readonly id: number;
  readonly name: string;
  readonly deleting: boolean;
  /** Switched off. */
  readonly off: boolean;
  /** The order whose document it has seen, if only in part. */
  readonly customer: string | null;
  /** The order whose document took effect on it. */
  readonly serves: string | null;
  /** The controller can still log in as the user that prepares machines. */
  readonly admin: boolean;
}

/** For how long a server cost money: epoch ms. */
export interface BilledServer {
  readonly id: number;
  readonly name: string;
  readonly from: number;
  readonly until: number | null;
}

export interface Facts {
  readonly store: Store;
  /** What exists now. */
  readonly servers: readonly SeenServer[];
  /** Host names of the machines' devices in the tailnet. */
  readonly devices: readonly string[];
  /** Names of terraform's folders, one a machine. */
  readonly folders: readonly string[];
  /** Stripe's checkouts that name an order of ours. */
  readonly sessions: readonly {
    readonly id: string;
    readonly order: string;
    /** Its payment was told and answered with 2xx. */
    readonly acknowledged: boolean;
  }[];
  /** Whether Stripe's objects say that the order is to be served. */
  readonly isEntitled: (order: string) => boolean;
  readonly bill: readonly BilledServer[];
  readonly maxTotal: number;
  /** An older store came back: its pins may be of before a machine's key was born. Nobody is let in by them, which is told. */
  readonly restored?: boolean;
  /** Words about servers of others that are gone or changed. */
  readonly touched: readonly string[];
  /** Where a secret was found, and which. */
  readonly told: readonly string[];
}

/** What does not hold, as `I3: …`; empty when everything is as it must be. */
export function broken(facts: Facts): string[] {
  const { store, told, touched } = facts;
  return [
    ...served(facts),
    ...exclusive(facts),
    ...forgotten(facts),
    ...touched.map((what) => `I3: ${what}`),
    ...letGoWhilePaid(facts),
    ...told.map((where) => `I6: ${where}`),
    ...overspent(facts),
    ...misbilled(facts),
    ...missing(facts),
    ...unclean(facts),
    ...unaudited(store),
  ];
}

function* served({ store, sessions, servers, isEntitled }: Facts): Generator<string> {
  const flags = store.flags();
  for (const session of sessions) {
    const order = store.order(session.order as OrderId);
    if (!order) {
      const isTold = flags.some(({ subject }) => subject === session.id);
      if (session.acknowledged && !isTold) yield `I4: ${session.order} was acknowledged and is unknown`;
      continue;
    }
    if (session.acknowledged && order.state === "awaiting-payment") {
      yield `I4: the payment of ${order.id} was acknowledged and is lost`;
    }
    const serving = servers.filter(
      ({ deleting, serves, customer }) => !deleting && serves === order.id && customer === order.id,
    );
    const told = flags.some(({ kind, subject }) => kind === "order-failed" && subject === order.id);
    // Whether its webhook came or not.
    if (isEntitled(order.id)) {
      if (serving.length !== 1 && !told) {
        yield `I1: ${order.id} is paid, ${order.state}, and ${serving.length} machines serve it`;
      }
      if (serving.length === 1 && order.state !== "running" && !told) {
        yield `I1: ${order.id} is served and its order is ${order.state}`;
      }
      if (serving[0]?.off) yield `I1: ${order.id} is paid for and ${serving[0].name} is switched off`;
    } else if (serving.some(({ off }) => !off || order.state !== "suspended")) {
      yield `I3: ${order.id} is not paid for (${order.state}) and ${serving[0]?.name} serves it`;
    }
  }
}

const bound: readonly MachineState[] = [
  "claimed",
  "handing-over",
  "serving",
  "suspending",
  "suspended",
  "resuming",
];

function* exclusive({ store, servers }: Facts): Generator<string> {
  const orders = new Map<string, Set<unknown>>();
  for (const { subject, after } of store.auditRows({ limit: Number.MAX_SAFE_INTEGER })) {
    if (!after?.order || subject.startsWith("ord_")) continue;
    orders.set(subject, (orders.get(subject) ?? new Set()).add(after.order));
  }
  for (const [machine, had] of orders) {
    if (had.size > 1) yield `I2: ${machine} had orders ${[...had].join(", ")}`;
  }
  const machines = new Map<OrderId, string>();
  for (const { name, order } of store.machines({ states: bound })) {
    if (!order) continue;
    const other = machines.get(order);
    if (other) yield `I2: ${other} and ${name} both are order ${order}'s`;
    machines.set(order, name);
  }
  for (const { id, name, customer } of servers) {
    const row = store.machineByServerId(id);
    if (customer !== null && row && row.order !== customer)
      yield `I2: ${name} has seen order ${customer} and is a machine of ${row.order ?? "nobody"}`;
  }
}

function* forgotten({ store, servers, devices, folders }: Facts): Generator<string> {
  const live = store.machines({ live: true });
  const rows = new Set(live.map(({ serverId }) => serverId));
  for (const { id, name } of servers) {
    if (!rows.has(id)) yield `I3: server ${id} ${name} costs money and has no row`;
  }
  const names = new Set<string>(live.map(({ name }) => name));
  for (const name of devices) if (!names.has(name)) yield `I3: device ${name} is left in the tailnet`;
  for (const name of folders) if (!names.has(name)) yield `I3: terraform folder ${name} is left`;
}

/** A machine in one of these is nobody's any more. */
const gone: readonly unknown[] = ["failed", "retiring", "releasing", "destroyed"];

/**
 * By the log, not by what the order's row says now: whoever lets a customer's machine go can give the order another one.
 * Stripe's objects tell of the end of all trouble only; whether an order had ended when its machine went, the log tells.
 */
function* letGoWhilePaid({ store, isEntitled }: Facts): Generator<string> {
  const told = new Map<string, Readonly<Record<string, unknown>>>();
  const served = new Map<string, OrderId>();
  const settled = new Set<string>();
  for (const row of store.auditRows({ limit: Number.MAX_SAFE_INTEGER })) {
    const { subject, actor, action, at, before, after } = row;
    if (!after) continue;
    const now = { ...told.get(subject), ...after };
    told.set(subject, now);
    if (subject.startsWith("ord_")) continue;
    const { state, order: bound } = now as { state?: MachineState; order?: OrderId | null };
    if (bound && state && customersStates.includes(state) && !served.has(subject)) served.set(subject, bound);
    const order = served.get(subject);
    if (order === undefined || settled.has(subject) || !gone.includes(after.state)) continue;
    if (actor.startsWith("person:")) settled.add(subject);
    // A recovered row says what was found, and is held until a person releases it.
    else if (
      !gone.includes(before?.state) &&
      action !== "machine.recovered" &&
      !isOver(told.get(order), at)
    ) {
      settled.add(subject);
      yield `I5: ${subject} served ${order}, which had not ended, and was let go`;
    }
  }
  for (const [name, order] of served) {
    if (!settled.has(name) && gone.includes(told.get(name)?.state) && isEntitled(order))
      yield `I5: ${name} served ${order}, which is paid for, and was destroyed`;
  }
}

/** Whether an order, as the log had told of it until `at` (epoch ms), had ended, with its grace over and nobody who keeps it. */
function isOver(order: Readonly<Record<string, unknown>> | undefined, at: number): boolean {
  const { endedAt = null, releaseAt = null, keptAt = null } = order ?? {};
  return endedAt !== null && releaseAt !== null && Number(releaseAt) <= at && keptAt === null;
}

function* overspent({ bill, maxTotal }: Facts): Generator<string> {
  const changes = bill.flatMap(({ from, until }) => [
    { at: from, by: 1 },
    ...(until === null ? [] : [{ at: until, by: -1 }]),
  ]);
  // What ends in the same instant ends first.
  changes.sort((a, b) => a.at - b.at || a.by - b.by);
  let now = 0;
  let most = 0;
  for (const { by } of changes) {
    now += by;
    most = Math.max(most, now);
  }
  if (most > maxTotal) yield `I7: ${most} servers existed at once, ${maxTotal} are allowed`;
  const names = new Set<string>();
  for (const { name, id } of bill) {
    if (names.has(name)) yield `I7: ${name} was bought twice, the second time as server ${id}`;
    names.add(name);
  }
}

/**
 * How late a row may be closed after its server has ceased to be charged for: a daemon that is down, or waits with another
 * look, counts on meanwhile. Never the reverse: what is charged for is counted.
 */
const closedLateMs = 60 * 60_000;

/** What was charged for before a store was lost or came back older (epoch ms), it cannot know. */
export function knownSince(store: Store): number {
  const entered = store
    .auditRows({ subject: "store", limit: Number.MAX_SAFE_INTEGER })
    .filter(({ action }) => action === "quarantine.entered");
  return entered.at(-1)?.at ?? 0;
}

function* misbilled({ store, bill }: Facts): Generator<string> {
  const since = knownSince(store);
  const counted = new Map(
    store.billed(0, Number.MAX_SAFE_INTEGER).map((one) => [`${one.kind} ${one.id}`, one]),
  );
  for (const { id, name, from, until } of bill) {
    if (from < since) continue;
    const resource = counted.get(`server ${id}`);
    if (!resource) {
      yield `I7: server ${id} ${name} was charged for and is not on the bill`;
      continue;
    }
    const { countedFrom, countedUntil, seenUntil } = resource;
    const end = countedUntil ?? seenUntil ?? from;
    // Somebody else deleted it, or Hetzner's clock is off: nobody can know, and the bill says that it does not.
    if (differencesOf(resource, store.listedSpans(), end).length > 0) continue;
    const life = lifeOf(resource, end);
    if (Math.abs(life.from - from) > slackMs)
      yield `I7: ${name} is charged for since ${from}, and on the bill since ${life.from}`;
    if (countedFrom !== null && (countedUntil === null) !== (until === null))
      yield `I7: ${name} is charged for until ${until}, and on the bill until ${countedUntil}`;
    else if (until !== null && (life.until < until - slackMs || life.until > until + closedLateMs))
      yield `I7: ${name} was charged for until ${until}, and is on the bill until ${life.until}`;
  }
}

function* missing({ store, servers }: Facts): Generator<string> {
  const ids = new Set(servers.map(({ id }) => id));
  const flags = store.flags();
  for (const { name, state, serverId } of store.machines({ live: true })) {
    if (serverId === null || ids.has(serverId)) continue;
    if (flags.some(({ kind, subject }) => kind === "server-vanished" && subject === name)) continue;
    yield `I8: ${name} is ${state} and its server does not exist`;
  }
}

function* unclean({ store, servers, restored = false }: Facts): Generator<string> {
  const flags = store.flags();
  const told = new Set(flags.map(({ subject }) => subject));
  // Where most let nobody in, one flag tells of them all.
  const areAllTold = flags.some(({ kind }) => kind === "serving-unreachable");
  for (const machine of store.machines({ states: ["serving"] })) {
    const server = servers.find(({ id }) => id === machine.serverId);
    if (!server) continue;
    const { name, order, hostKey } = machine;
    if (server.serves !== order) yield `I9: ${name} is order ${order}'s and attested for ${server.serves}`;
    if (server.admin) yield `I9: ${name} serves and still lets its builder in`;
    const isPinned = hostKey !== publicKeyOf(store.machineSecrets(machineName(name)).bootHostKey);
    if (!isPinned && !(restored && (areAllTold || told.has(name))))
      yield `I9: ${name} serves and shows the host key of its user_data`;
  }
}

function* unaudited(store: Store): Generator<string> {
  try {
    assertAudited(store);
  } catch (error) {
    yield `I10: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** What one pool is to be, as configured. */
export interface WantedPool {
  readonly minReady: number;
  readonly maxTotal: number;
  /** So many ready ones are in order, too; default: no more than `minReady`. */
  readonly most?: number;
}

function resting({ state, labelled, enrolled, order }: Machine, store: Store): boolean {
  const suspended = order !== null && store.order(order)?.suspendedFor != null;
  if (state === "serving") return labelled && enrolled && !suspended;
  return state === "ready" || (state === "suspended" && suspended);
}

/** What is still to be done before a store of one pool is in order (I8); empty when nothing is. */
export function unrest(store: Store, { minReady, maxTotal, most = 0 }: WantedPool): string[] {
  const live = store.machines({ live: true });
  const ready = live.filter(({ state }) => state === "ready").length;
  const wanted = Math.min(minReady, Math.max(0, maxTotal - (live.length - ready)));
  return [
    ...live
      .filter((machine) => !resting(machine, store))
      .map(({ name, state, attempts, reason }) => `${name} ${state} ${attempts} ${reason ?? ""}`),
    ...store
      .orders({ states: ["queued", "provisioning", "releasing"], limit: Number.MAX_SAFE_INTEGER })
      .filter(({ state, suspendedFor }) => state !== "queued" || suspendedFor === null)
      .map(({ id, state }) => `${id} ${state}`),
    ...store
      .orders({ states: ["running"], limit: Number.MAX_SAFE_INTEGER })
      .filter(({ releaseAt }) => releaseAt !== null)
      .map(({ id }) => `${id} ends`),
    ...(ready >= wanted && ready <= Math.max(wanted, most)
      ? []
      : [`${ready} are ready, ${wanted} are wanted`]),
  ];
}
