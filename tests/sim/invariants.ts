/** What must hold whatever happens: at each step where it can be broken, and at the end of all trouble. */
import type { OrderId } from "../../pool/machine/machine.ts";
import { assertAudited } from "../store/audited.ts";
import { judgeSpending } from "./spell.ts";
import type { Story } from "./story.ts";
import type { SimServer, World } from "./world.ts";

/** Watches the moments at which a promise can be broken for good. */
export function watch(world: World, story: () => Story): void {
  world.onDelete = (server: SimServer) => {
    const { store } = story();
    const machine =
      store.machineByServerId(server.id) ?? store.machines().find(({ name }) => name === server.name);
    const order = machine?.order ? store.order(machine.order) : null;
    if (order?.state === "running" && order.machine === machine?.name && world.isEntitled(order.id)) {
      world.violate("I5", `${server.name} serves ${order.id}, which is paid for, and is deleted`);
    }
  };
}

/** What Stripe's objects say has reached the orders, told by a webhook or not. */
function knowsStripe({ store, world }: Story): boolean {
  const flagged = new Set(store.flags().map(({ subject }) => subject));
  return [...world.sessions.values()].every((session) => {
    const order = store.order(session.order as OrderId);
    const subscription = world.subscriptions.get(session.subscription ?? "");
    // A checkout whose daemon died before it wrote the order down: nobody has its address.
    if (!order) return session.status === "open" || flagged.has(session.id);
    if (session.status === "expired") return order.state !== "awaiting-payment";
    if (subscription?.status === "past_due") return flagged.has(subscription.id);
    if (session.paymentStatus === "paid" && order.paidAt === null) return false;
    return subscription?.status !== "canceled" || order.endedAt !== null;
  });
}

/** Flags that end by themselves, or when a person resumes; failures of an hour ago may still be told. */
const poolFlags: readonly string[] = ["refill-stopped", "below-floor"];

/** True when there is nothing left to do: pool full, everybody served, nothing half made. */
export function isSettled(story: Story): boolean {
  const { store, world, installation } = story;
  if (!story.over || !story.daemon.serving || story.daemon.life.dead) return false;
  if (world.processes.size > 0 || !knowsStripe(story)) return false;
  const live = store.machines({ live: true });
  const [pool] = installation.config.pools;
  const ready = live.filter(({ state }) => state === "ready").length;
  const resting = live.every(({ state, labelled, enrolled }) =>
    state === "serving" ? labelled && enrolled : state === "ready",
  );
  const waiting = store.orders({ states: ["queued", "provisioning", "releasing"] }).length;
  const ending = store.orders({ states: ["running"] }).some(({ releaseAt }) => releaseAt !== null);
  const room = (pool?.maxTotal ?? 0) - (live.length - ready);
  const wanted = pool?.minReady ?? 0;
  // Where max_total leaves no room for the floor, that stays to be told.
  const told = ready < wanted ? ["refill-stopped"] : poolFlags;
  if (store.flags().some(({ kind }) => told.includes(kind))) return false;
  return resting && !ending && waiting === 0 && ready === Math.min(wanted, Math.max(0, room));
}

/** Everything that must be true once it is settled. */
export function judge(story: Story): void {
  const { store, world, acknowledged } = story;
  const live = store.machines({ live: true });

  for (const session of world.sessions.values()) {
    const order = store.order(session.order as OrderId);
    if (!order) {
      if (acknowledged.has(session.id))
        world.violate("I4", `${session.order} was acknowledged and is unknown`);
      continue;
    }
    if (acknowledged.has(session.id) && order.state === "awaiting-payment") {
      world.violate("I4", `the payment of ${order.id} was acknowledged and is lost`);
    }
    const serving = [...world.servers.values()].filter(
      ({ deleting, machine }) =>
        !deleting && machine.done?.order === order.id && machine.customer === order.id,
    );
    const told = store.flags().some(({ kind, subject }) => kind === "order-failed" && subject === order.id);
    // Whether its webhook came or not.
    if (world.isEntitled(order.id)) {
      if (serving.length !== 1 && !told) {
        world.violate("I1", `${order.id} is paid, ${order.state}, and ${serving.length} machines serve it`);
      }
      if (serving.length === 1 && order.state !== "running" && !told) {
        world.violate("I1", `${order.id} is served and its order is ${order.state}`);
      }
    }
    if (!world.isEntitled(order.id) && serving.length > 0) {
      world.violate("I3", `${order.id} is not paid for (${order.state}) and ${serving[0]?.name} serves it`);
    }
  }

  judgeSpending(story);
  const rows = new Set(live.map(({ serverId }) => serverId));
  for (const server of world.servers.values()) {
    if (!rows.has(server.id))
      world.violate("I3", `server ${server.id} ${server.name} costs money and has no row`);
  }
  for (const machine of live) {
    if (machine.serverId !== null && !world.servers.has(machine.serverId)) {
      world.violate("I8", `${machine.name} is ${machine.state} and its server does not exist`);
    }
  }
  const names = new Set(live.map(({ name }) => name as string));
  for (const { hostname } of world.devices.values()) {
    if (!names.has(hostname)) world.violate("I3", `device ${hostname} is left in the tailnet`);
  }
  for (const folder of world.states.keys()) {
    if (folder !== "platform" && !names.has(folder))
      world.violate("I3", `terraform folder ${folder} is left`);
  }

  try {
    assertAudited(store);
  } catch (error) {
    world.violate("I10", error instanceof Error ? error.message : String(error));
  }
}
