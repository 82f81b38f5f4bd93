/**
 * planned → creating → booting: terraform buys the server.
 *
 * Each look first asks what is already there (state file, server id recorded by the gate) and never applies over it:
 * the provider leaves a healthy server *tainted* when a poll failed, and a second apply would delete it and buy another
 * (terraform-provider-hcloud 1.68.0, recorded). What a run left behind is adopted:
 *
 *   state \ row's server   none                          known
 *   none, empty            apply; the gate finds a       import it when it runs
 *                          server of that name
 *   server                 booting                       booting; refused when it is another one
 *   server, tainted        untaint when it runs          untaint when it runs; refused when it is another one
 *
 * A server that is gone or is named otherwise fails the machine, whose end then deletes only what is its own.
 */
import { BorderError } from "../errors.ts";
import { isSurplus } from "../refill/budget.ts";
import { publicKeyOf } from "../ssh/keys.ts";
import { labels } from "./labels.ts";
import type { Machine } from "./machine.ts";
import { atOnce, type Next, type Stage, type StageContext } from "./stage.ts";
import { usableState } from "./state.ts";
import { audited, withPermit } from "./terraform-run.ts";
import { userData } from "./user-data.ts";

/** planned: the intent row is durable, so money may be spent. */
export const plan: Stage = async (machine, { store, clock, config }) => {
  const deadline = clock.now() + config().deadlines.creatingMs;
  store.changeMachine(machine.name, "planned", { state: "creating", deadline }, "intent is written");
  return atOnce;
};

export const create: Stage = async (machine, context) => {
  const { terraform, store, platform, config } = context;
  const { state, unmanaged } = await usableState(machine, context);
  if (state?.serverId && state.tainted) return adoptTainted(machine, state.serverId, context);
  if (state?.serverId) return booting(machine, state.serverId, context);
  const waits = context.platformWaits();
  if (waits !== null) return waitForPlatform(machine, waits, context);
  if (machine.reason !== null)
    store.changeMachine(
      machine.name,
      "creating",
      { reason: null },
      "what all machines share is as wanted again",
    );
  // max_total was raised: the platform gets its further group within a minute.
  if (machine.placementGroup >= platform().placementGroups.length) return { againInMs: 5_000 };
  if (unmanaged && machine.serverId !== null) return adoptUnmanaged(machine, machine.serverId, context);
  const reason = isSurplus(store, config(), machine)
    ? `refill of pool ${machine.pool} is stopped or frozen`
    : context.calledOff(machine);
  if (reason !== null) {
    store.changeMachine(machine.name, "creating", { state: "retiring", reason }, reason);
    return atOnce;
  }
  await withPermit(machine, context, { create: true }, (run) =>
    audited("apply", "the intent is written", machine, context, run, () =>
      terraform.applyMachine(stackInput(machine, context), run),
    ),
  );
  const { serverType, location } = machine;
  store.recordStock(serverType, location, `it was sold for ${machine.name}`);
  store.thaw("cloud", `Hetzner made ${machine.name}`);
  return atOnce;
};

/** Full time again, as this is no fault of the machine's. The audit log tells a reason once. */
function waitForPlatform(machine: Machine, why: string, { store, clock, config }: StageContext): Next {
  const deadline = clock.now() + config().deadlines.creatingMs;
  store.changeMachine(machine.name, "creating", { deadline, reason: why }, why);
  return { againInMs: 60_000 };
}

const lost = (text: string) =>
  new BorderError(text, { border: "terraform", kind: "permanent", code: "lost" });

/** Everything about the machine that terraform is told; used again, with the order's labels, after serving. */
export function stackInput(machine: Machine, context: StageContext) {
  const { config, platform, store } = context;
  const secrets = store.machineSecrets(machine.name);
  return {
    name: machine.name,
    serverType: machine.serverType,
    image: machine.image,
    location: machine.location,
    userData: userData({
      bootHostKey: secrets.bootHostKey,
      bootHostPublicKey: publicKeyOf(secrets.bootHostKey),
      controllerPublicKey: publicKeyOf(secrets.controllerKey),
    }),
    labels: labels(config().instance, machine, machine.order ? store.order(machine.order) : null),
    platform: platform(),
    placementGroup: machine.placementGroup,
  };
}

async function booting(machine: Machine, serverId: number, context: StageContext): Promise<Next> {
  const { cloud, store, clock, config } = context;
  const server = await cloud.server(serverId);
  if (!server) throw new BorderError(`server ${serverId} is gone`, { border: "cloud", kind: "permanent" });
  if (server.name !== machine.name) {
    const text = `server ${serverId} is named ${server.name}, not ${machine.name}`;
    throw new BorderError(text, { border: "cloud", kind: "permanent" });
  }
  if (!server.ipv4)
    throw new BorderError(`server ${serverId} has no IPv4 address`, { border: "cloud", kind: "transient" });
  store.changeMachine(
    machine.name,
    "creating",
    { state: "booting", serverId, ipv4: server.ipv4, deadline: clock.now() + config().deadlines.bootingMs },
    "terraform made the server",
  );
  // A daemon that died behind the order did not come to say so.
  if (store.frozen().some(({ border, at }) => border === "cloud" && server.createdAt > at))
    store.thaw("cloud", `Hetzner made ${machine.name}`);
  return atOnce;
}

/** The provider gave up on a poll, the server may be well: look, and take the taint away if it runs. */
async function adoptTainted(machine: Machine, serverId: number, context: StageContext): Promise<Next> {
  const next = await untilRunning(machine, serverId, context);
  if (next) return next;
  await untaint(machine, "the server runs; a poll failed", context);
  return atOnce;
}

/** The gate saw the server being made, and terraform ended before it could save it: the server goes into the state. */
async function adoptUnmanaged(machine: Machine, serverId: number, context: StageContext): Promise<Next> {
  const next = await untilRunning(machine, serverId, context);
  if (next) return next;
  await importServer(machine, serverId, "the server was made, and the state does not know it", context);
  return atOnce;
}

/** Changes nothing at Hetzner, so no order can be harmed. */
export async function untaint(machine: Machine, why: string, context: StageContext): Promise<void> {
  await withPermit(machine, context, {}, (run) =>
    audited("untaint", why, machine, context, run, () => context.terraform.untaintServer(machine.name, run)),
  );
}

/** Reads the server into a state that has none; changes nothing at Hetzner. */
export async function importServer(
  machine: Machine,
  serverId: number,
  why: string,
  context: StageContext,
  actor?: string,
): Promise<void> {
  const input = stackInput(machine, context);
  await withPermit(machine, context, {}, (run) =>
    audited(
      "import",
      why,
      machine,
      context,
      run,
      () => context.terraform.importServer(input, serverId, run),
      actor,
    ),
  );
}

/** Null when the server runs; else when to look again, its deadline being the state's, or that it is given up. */
async function untilRunning(machine: Machine, serverId: number, context: StageContext): Promise<Next | null> {
  const server = await context.cloud.server(serverId);
  if (server?.name === machine.name) return server.status === "running" ? null : { againInMs: 2_000 };
  throw lost(
    server
      ? `server ${serverId} is named ${server.name}`
      : `server ${serverId}, which was made for it, does not exist`,
  );
}
