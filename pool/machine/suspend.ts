/**
 * serving → suspending → suspended → resuming → serving: a customer's machine is switched off while its order may not be
 * served, and kept with everything that it has. What is wished is the order's row (`suspendedFor`), what is done about it the
 * machine's state, written before each step; so whatever is cut off is found and done again. Hetzner bills a server that is
 * switched off like one that runs.
 *
 *   suspending   asked to shut down once; behind the deadline the plug is pulled, until the server is `off`. It is always
 *                seen through, also when the order may be served again: a shutdown under way cannot be called off.
 *                A person is told when the server runs on all the same
 *   suspended    looked at now and then: somebody may have switched it on in Hetzner's console
 *   resuming     switched on, until unit, gateway and tailnet are proved; a person is told when that takes too long
 */
import { minuteMs } from "../clock.ts";
import { BorderError } from "../errors.ts";
import type { Order } from "../order/order.ts";
import { target } from "./boot.ts";
import type { Machine, OrderId } from "./machine.ts";
import { isDue, release, untilRelease } from "./release.ts";
import { atOnce, type Stage, type StageContext } from "./stage.ts";
import { withPermit } from "./terraform-run.ts";

/** Between two looks at a server whose power changes. */
const powerLookMs = 2_000;
/** Between two tries on a server that does not go off. */
const stuckLookMs = minuteMs;
/** Between two looks at a server that should stay off. */
const offLookMs = 30 * minuteMs;
/** Between two tries to bring a gateway back that did not come by itself; a restart takes up to 80 s. */
const repairLookMs = 3 * minuteMs;

const notSuspended = "not-suspended";

export const suspending: Stage = async (machine, context) => {
  const { store, clock, config, armed } = context;
  const order = orderOf(machine, context);
  if (isDue(order, context)) return release(order, context);
  if ((await serverOf(machine, context)).status === "off") {
    armed.drop(machine.name);
    store.clearFlag(notSuspended, machine.name, "the server is off");
    store.recordPower(machine.name, "suspending", { state: "suspended" }, "the server is off");
    return atOnce;
  }
  if (machine.deadline === null) {
    await power("shutdown", order.suspendedWhy ?? "its order is suspended", machine, context);
    const deadline = clock.now() + config().deadlines.suspendingMs;
    store.changeMachine(machine.name, "suspending", { deadline }, "asked to shut down");
    return { againInMs: powerLookMs };
  }
  const lateMs = clock.now() - machine.deadline;
  if (lateMs >= 0) {
    // Pulling the plug takes seconds: what still runs after the same time again, a person should look at.
    const isStuck = lateMs >= config().deadlines.suspendingMs;
    if (isStuck)
      store.flag(
        notSuspended,
        machine.name,
        `${machine.name} still runs though ${order.suspendedWhy ?? "it was told to switch off"}; its plug is pulled again each minute`,
      );
    await power("poweroff", "it did not shut down in time", machine, context);
    return { againInMs: isStuck ? stuckLookMs : powerLookMs };
  }
  return { againInMs: Math.min(powerLookMs, machine.deadline - clock.now()) };
};

export const suspended: Stage = async (machine, context) => {
  const { store, clock, config } = context;
  const order = orderOf(machine, context);
  if (isDue(order, context)) return release(order, context);
  if (order.suspendedFor === null) {
    const deadline = clock.now() + config().deadlines.resumingMs;
    store.recordPower(machine.name, "suspended", { state: "resuming", deadline }, "its order may be served");
    return atOnce;
  }
  const { status } = await serverOf(machine, context);
  if (status !== "off") {
    const why = `the server is ${status} though its order is suspended`;
    store.recordPower(machine.name, "suspended", { state: "suspending" }, why);
    return atOnce;
  }
  const keptMs = await keepOn(order, context);
  const dueMs = untilRelease(order, clock.now()) ?? Number.POSITIVE_INFINITY;
  return { againInMs: Math.min(offLookMs, keptMs, dueMs) };
};

export const resuming: Stage = async (machine, context) => {
  const { store, clock } = context;
  const order = orderOf(machine, context);
  if (isDue(order, context)) return release(order, context);
  if (order.suspendedFor !== null) {
    const why = order.suspendedWhy ?? "its order is suspended again";
    store.recordPower(machine.name, "resuming", { state: "suspending" }, why);
    return atOnce;
  }
  const late = machine.deadline !== null && clock.now() >= machine.deadline;
  if (late) store.flag("not-resumed", machine.name, `${machine.name} was switched on and does not serve`);
  const { status } = await serverOf(machine, context);
  if (status === "off") await power("poweron", "its order may be served again", machine, context);
  if (status !== "running") return { againInMs: powerLookMs };
  let why = "switched on, and proved to serve";
  const missing = await proof(machine, late, context).catch((error: unknown) => {
    if (!late || !isLockedOut(error)) throw error;
    why = `switched on; whether it serves cannot be asked: ${error.message}`;
    return null;
  });
  if (missing === null) {
    store.clearFlag("not-resumed", machine.name, why);
    store.recordPower(machine.name, "resuming", { state: "serving" }, why);
    return atOnce;
  }
  context.log.debug({ machine: machine.name, missing }, "does not serve yet");
  return { againInMs: late ? repairLookMs : powerLookMs };
};

/**
 * Only a person lets the daemon in again (its host key is another than the row's, which may be of an older store). The
 * machine is on, and its customer may be served; as with any that serves, the heartbeats tell that nobody can ask it.
 */
const isLockedOut = (error: unknown): error is BorderError =>
  error instanceof BorderError && error.border === "ssh" && error.kind !== "transient";

function orderOf(machine: Machine, { store }: StageContext): Order {
  const order = store.order(machine.order as OrderId);
  if (!order) throw new Error(`machine ${machine.name} has no order`);
  return order;
}

/** @throws BorderError when the cloud has none; what about a customer's server that is gone is a person's decision. */
async function serverOf({ name, serverId }: Machine, { cloud }: StageContext) {
  const server = serverId === null ? null : await cloud.server(serverId);
  if (server) return server;
  throw new BorderError(`server ${serverId} of ${name} is gone`, { border: "cloud", kind: "permanent" });
}

async function power(
  action: "shutdown" | "poweroff" | "poweron",
  why: string,
  machine: Machine,
  context: StageContext,
): Promise<void> {
  const { serverId, name } = machine;
  if (serverId === null) return;
  await withPermit(machine, context, { power: true }, (run) => context.gate.power(run, serverId, action));
  context.store.audit("daemon", `machine.${action}`, name, { why, server: serverId, order: machine.order });
}

/** Milliseconds until the machine was kept for as long as the operator allows; tells or cancels when it was. */
async function keepOn(order: Order, context: StageContext): Promise<number> {
  const { keepMs, afterwards } = context.config().suspension;
  if (keepMs === null || order.keptAt !== null || order.endedAt !== null) return Number.POSITIVE_INFINITY;
  const left = (order.suspendedAt ?? 0) + keepMs - context.clock.now();
  if (left > 0) return left;
  if (afterwards === "cancel" && order.suspendedFor !== "person" && order.suspendedFor !== "refunded") {
    await context.cancelSuspended(order.id);
    return Number.POSITIVE_INFINITY;
  }
  const since = new Date(order.suspendedAt ?? 0).toISOString().slice(0, 10);
  const text =
    `order ${order.id} is suspended since ${since} (${order.suspendedWhy}) and its server still costs: ` +
    `cancel subscription ${order.subscription} in Stripe to end it, or \`clawpool orders keep ${order.id}\``;
  context.store.flag("suspended-long", order.id, text);
  return Number.POSITIVE_INFINITY;
}

/** What the machine lacks to serve, in words; null when it serves. */
async function proof(machine: Machine, repair: boolean, context: StageContext): Promise<string | null> {
  const { armed, tailnet } = context;
  try {
    const program = await armed.ensure(machine.name, target(machine, context, "root"));
    const health = await program.inspect({ op: repair ? "repair" : "health" });
    if (health.unit !== "active") return `the unit is ${health.unit}`;
    if (!health.gateway) return "the gateway does not answer";
    if (machine.tailnetNode === null) return null;
    if (health.tailnet !== "Running") return `tailscaled is ${health.tailnet}`;
    const device = tailnet && (await tailnet.device(machine.tailnetNode));
    return !tailnet || device?.connectedToControl ? null : "Tailscale does not see it";
  } catch (error) {
    // It boots, or has no network yet.
    if (error instanceof BorderError && error.kind === "transient") return error.message;
    throw error;
  } finally {
    armed.drop(machine.name);
  }
}
