/**
 * Looks at everything that tells of machines and orders (the cloud's labels, terraform's states, the sealed records, the
 * machines' own notes, Stripe), judges each machine, and writes the rows as the evidence has them, held. It asks and
 * writes rows; it changes nothing outside. Any number of times: the last look counts.
 */
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { Cloud, CloudServer } from "../cloud/cloud.ts";
import type { Config } from "../config/config.ts";
import { target } from "../machine/boot.ts";
import { arm } from "../machine/hand-over-session.ts";
import { ours, ownLabels } from "../machine/labels.ts";
import {
  customersStates,
  type Machine,
  type MachineName,
  machineName,
  type OrderId,
} from "../machine/machine.ts";
import type { HandedOver } from "../machine/protocol.ts";
import { isPaid } from "../order/confirm.ts";
import { hasEnded } from "../order/entitlement.ts";
import type { Random } from "../random.ts";
import type { Ssh } from "../ssh/ssh.ts";
import type { RecoveredMachine, Store } from "../store/store.ts";
import type { CheckoutSession, StripeGateway, Subscription } from "../stripe/stripe.ts";
import type { Terraform } from "../terraform/terraform.ts";
import { noteFindings } from "./findings.ts";
import { type Evidence, judgeMachine, type Surroundings, servedOrders } from "./judge.ts";
import {
  alignOrders,
  isWhole,
  type KnownOrder,
  newestOrder,
  orderFromStripe,
  orderOfObject,
  unserved,
  withPayment,
} from "./orders.ts";
import type { MachineRecord, Records } from "./records.ts";
import { type Judged, settleRivals } from "./rivals.ts";

export interface InspectContext {
  readonly store: Store;
  readonly cloud: Cloud;
  readonly terraform: Pick<Terraform, "folders">;
  readonly ssh: Ssh;
  readonly stripe: StripeGateway;
  readonly records: Pick<Records, "machines" | "orders">;
  readonly config: () => Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** More than an installation has; beyond it the oldest are told as a gap. */
const mostListed = 10_000;
/** Of all machines together: each takes a connection, and one that does not answer ten seconds. */
const atOnce = 10;

/**
 * Asks everything and writes what it found; see `readFindings`.
 *
 * @throws BorderError when cloud or Stripe cannot be asked: on half of the evidence nothing is concluded
 */
export async function inspect(context: InspectContext, actor: string): Promise<void> {
  const { store, config, clock } = context;
  const wanted = Object.entries(ownLabels(config().instance));
  const isOurs = (server: CloudServer) => wanted.every(([label, value]) => server.labels[label] === value);
  const isHeld = (machine: Machine | null) => machine === null || machine.held !== null;
  const [servers, folders, machineRecords, orderRecords, bought] = await Promise.all([
    context.cloud.servers(ours(config().instance)),
    context.terraform.folders(),
    context.records.machines(),
    context.records.orders(),
    askStripe(context),
  ]);

  const names = new Set<string>([
    ...store.machines({ live: true }).map(({ name }) => name),
    // Read again: a list that does not keep to its filter must not make somebody else's server ours.
    ...servers.filter(isOurs).map(({ name }) => name),
    ...folders,
    ...machineRecords.keys(),
  ]);
  const evidence: Evidence[] = [];
  const queue = [...names].flatMap((name) => named(name)).filter((name) => isHeld(store.machine(name)));
  const worker = async () => {
    for (let name = queue.shift(); name; name = queue.shift()) {
      evidence.push(await look(name, context, servers, machineRecords.get(name) ?? null));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  evidence.sort((a, b) => (a.name < b.name ? -1 : 1));

  const orders = new Map<string, KnownOrder>();
  for (const order of store.orders({ limit: 1_000_000 }))
    orders.set(order.id, { order, secrets: null, bare: false });
  for (const [id, record] of orderRecords) {
    const known = newestOrder(orders.get(id)?.order ?? null, record);
    if (known) orders.set(id, known);
  }
  // Those that are over, and those of before anything was bought, are history.
  const open = [...orders.values()].filter(
    ({ order }) => order.endedAt === null && order.state !== "expired",
  );
  const held = new Set(
    evidence.flatMap(({ said }) => (said !== null && said !== "unreachable" ? [said.order] : [])),
  );
  const asked = new Map<string, string>();
  for (const { order } of open) {
    const id = order.subscription ?? bought.get(order.id)?.subscription;
    if (id) asked.set(order.id, id);
  }
  for (const [order, { subscription }] of bought) {
    if (!orders.has(order) && subscription) asked.set(order, subscription);
  }
  const subscriptions = await fetchAll([...asked.values()], context);
  const subscriptionOf = (order: string) => subscriptions.get(asked.get(order) ?? "") ?? null;
  const paidFor = [...bought].flatMap(([id, { session }]) => (session && isPaid(session) ? [id] : []));
  const waiting = unserved(orders, paidFor, new Set(evidence.flatMap(servedOrders)));
  const around: Surroundings = {
    now: clock.now(),
    isOurs,
    knows: (order) => orders.has(order) || bought.has(order),
    hasEnvironment(order) {
      const known = orders.get(order);
      return known !== undefined && isWhole(known.secrets ?? store.agentSecrets(known.order.id));
    },
    awaits: () => waiting.some((order) => !around.ended(order)),
    ended(order) {
      const subscription = subscriptionOf(order);
      return subscription !== null && hasEnded(subscription);
    },
    holders: (order) =>
      evidence
        .filter(({ said }) => said !== null && said !== "unreachable" && said.order === order)
        .map(({ name }) => name),
    fromLabels: (server) => fromLabels(server, context),
  };
  const verdicts = evidence.flatMap((one) => {
    const verdict = judgeMachine(one, around);
    return verdict ? [{ ...verdict, evidence: one }] : [];
  });
  const claims = new Map<string, Machine>();
  for (const { machine } of verdicts) if (machine.order) claims.set(machine.order, machine);
  for (const [id, { session }] of bought) {
    const known = orders.get(id);
    if (known) orders.set(id, { ...known, order: withPayment(known.order, session) });
    else if (claims.has(id) || held.has(id) || (session !== null && isPaid(session) && !around.ended(id))) {
      const found = {
        session,
        subscription: subscriptionOf(id),
        machine: claims.get(id) ?? null,
        now: clock.now(),
      };
      orders.set(id, orderFromStripe(id as OrderId, config(), found));
    }
  }
  write(context, verdicts, orders, around, actor);
}

interface Bought {
  readonly session: CheckoutSession | null;
  readonly subscription: string | null;
}

/** What Stripe's lists say of our orders, by order. A list may lack something, so only what it has counts. */
async function askStripe({ stripe, config, log }: InspectContext): Promise<Map<string, Bought>> {
  const { instance } = config();
  const [sessions, subscriptions] = await Promise.all([
    stripe.sessions({ status: "complete", createdSince: 0, limit: mostListed }),
    stripe.subscriptions(mostListed),
  ]);
  if (!sessions.complete || !subscriptions.complete) {
    log.warn(`Stripe has more than ${mostListed} checkouts or subscriptions: the oldest were not listed`);
  }
  const bought = new Map<string, Bought>();
  for (const subscription of subscriptions.found) {
    const order = orderOfObject(subscription, instance);
    if (order) bought.set(order, { session: null, subscription: subscription.id });
  }
  for (const session of sessions.found) {
    const order = orderOfObject(session, instance);
    if (order) bought.set(order, { session, subscription: session.subscription });
  }
  return bought;
}

/** Each subscription asked for by itself. */
async function fetchAll(
  ids: readonly string[],
  { stripe }: InspectContext,
): Promise<Map<string, Subscription>> {
  const found = new Map<string, Subscription>();
  const queue = [...new Set(ids)];
  const worker = async () => {
    for (let id = queue.shift(); id; id = queue.shift()) {
      const subscription = await stripe.fetchSubscription(id);
      if (subscription) found.set(id, subscription);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return found;
}

/** Machine names alone: somebody may have given our labels to a server of another kind of name. */
function named(text: string): MachineName[] {
  try {
    return [machineName(text)];
  } catch {
    return [];
  }
}

async function look(
  name: MachineName,
  context: InspectContext,
  servers: readonly CloudServer[],
  record: MachineRecord | null,
): Promise<Evidence> {
  const { store, cloud } = context;
  const row = store.machine(name);
  const listed = servers.find((server) => server.name === name) ?? null;
  // A list may lack what is there; by name and id it is asked for alone.
  const id = record?.machine.serverId ?? row?.serverId ?? null;
  const server = listed ?? (await cloud.serverByName(name)) ?? (id === null ? null : await cloud.server(id));
  const secrets = record?.secrets ?? (row && store.machineSecrets(name));
  const machine = record && !record.fromBackup ? record.machine : (row ?? record?.machine ?? null);
  const said =
    server?.ipv4 && machine?.hostKey && secrets
      ? await ask({ ...machine, ipv4: server.ipv4 }, secrets.controllerKey, context)
      : "unreachable";
  return { name, row, record, server, said };
}

/** Through the pinned key alone: a machine that shows another is not asked. */
async function ask(
  machine: Machine,
  controllerKey: string,
  { ssh, config, clock, log }: InspectContext,
): Promise<HandedOver | null | "unreachable"> {
  const context = {
    config,
    store: { machineSecrets: () => ({ controllerKey, bootHostKey: "", poolToken: "" }) },
  };
  try {
    const armed = await arm(ssh, target(machine, context, "root"), { clock });
    const { handedOver } = await armed.inspect({ op: "health" });
    return handedOver === undefined ? "unreachable" : handedOver;
  } catch (err) {
    log.info({ machine: machine.name, err }, "the machine could not be asked");
    return "unreachable";
  }
}

/** Its keys are new ones, for which no machine has the lock. */
function fromLabels(
  server: CloudServer,
  { config, clock, random }: InspectContext,
): ReturnType<Surroundings["fromLabels"]> {
  const { pools, plans } = config();
  const pool = pools.find(({ name }) => name === server.labels["clawpool-pool"]);
  const bootHostKey = random.keyPair();
  const machine: Machine = {
    name: machineName(server.name),
    state: "failed",
    pool: server.labels["clawpool-pool"] ?? "unknown",
    plan: pool?.plan ?? plans[0]?.name ?? "unknown",
    serverType: server.serverType,
    location: server.location,
    image: pool?.image ?? "unknown",
    placementGroup: 0,
    createdAt: server.createdAt,
    stateSince: clock.now(),
    deadline: null,
    attempts: 0,
    nextLookAt: 0,
    serverId: server.id,
    ipv4: server.ipv4,
    hostKey: bootHostKey.publicKey,
    nextHostKey: null,
    installed: null,
    readyAt: null,
    provedAt: null,
    misses: 0,
    buildEndedAt: null,
    failure: null,
    specimenUntil: null,
    order: null,
    withheld: false,
    held: null,
    // It may have been a customer's, and then has a device in the tailnet.
    generation: 1,
    tailnetNode: null,
    tailnetAddress: null,
    enrolled: false,
    labelled: false,
    endConfirmedBy: null,
    reason: null,
  };
  const secrets = {
    controllerKey: random.keyPair().privateKey.expose(),
    bootHostKey: bootHostKey.privateKey.expose(),
    poolToken: random.bytes(32).toString("base64url"),
  };
  return { machine, secrets };
}

function write(
  { store, clock, config }: InspectContext,
  verdicts: readonly Judged[],
  orders: ReadonlyMap<string, KnownOrder>,
  around: Surroundings,
  actor: string,
): void {
  const free = store.machines({ live: true }).filter(({ held }) => held === null);
  // What a person released meanwhile goes its own way.
  const held = verdicts.filter(({ machine }) => (store.machine(machine.name)?.held ?? "new") !== null);
  const still = settleRivals(held, free);
  const machines = still.map(({ machine, secrets, sure, text }): RecoveredMachine => {
    const row = store.machine(machine.name);
    const since = row?.state === machine.state ? row.stateSince : clock.now();
    // Whoever cannot be asked may have had a customer, and a device in the tailnet.
    const generation = sure ? machine.generation : Math.max(1, machine.generation);
    const settled = { generation, held: text, stateSince: since, deadline: null, withheld: false };
    return { machine: { ...machine, ...settled }, secrets, why: text };
  });
  const live = [...machines.map(({ machine }) => machine), ...free];
  const aligned = alignOrders(orders, live, around.ended, {
    now: clock.now(),
    graceMs: config().releaseGraceMs,
  }).flatMap((recovered) => {
    const before = store.order(recovered.order.id);
    if (before && JSON.stringify(before) === JSON.stringify(recovered.order)) return [];
    const secrets = recovered.secrets ?? (before && store.agentSecrets(before.id));
    const served = live.some(
      ({ order, state }) => order === recovered.order.id && customersStates.includes(state),
    );
    return [{ ...recovered, secrets: served && secrets ? { ...secrets, env: {} } : secrets }];
  });
  store.recover({ machines, orders: aligned });
  noteFindings(
    store,
    still.map(({ machine, sure, text }) => ({ machine: machine.name, sure, text })),
    clock.now(),
  );
  const doubtful = still.filter(({ sure }) => !sure).length;
  store.audit(actor, "quarantine.inspected", "store", {
    why: "cloud, records, machines and Stripe were compared with the rows",
    machines: still.length,
    doubtful,
    orders: aligned.map(({ order }) => order.id),
  });
}
