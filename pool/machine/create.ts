/**
 * planned → creating → booting: terraform buys the server.
 *
 * Each look first asks what is already there (state file, server id recorded by the gate) and never applies over it:
 * the provider leaves a healthy server *tainted* when a poll failed, and a second apply would delete it and buy another
 * (terraform-provider-hcloud 1.68.0, recorded).
 */
import { BorderError } from "../errors.ts";
import { isSurplus } from "../sizing/budget.ts";
import { publicKeyOf } from "../ssh/keys.ts";
import { labels } from "./labels.ts";
import type { Machine } from "./machine.ts";
import { atOnce, type Next, type Stage, type StageContext } from "./stage.ts";
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
  // max_total was raised: the platform gets its further group within a minute.
  if (machine.placementGroup >= platform().placementGroups.length) return { againInMs: 5_000 };
  const state = await terraform.state(machine.name);
  if (state?.serverId && state.tainted) return adoptTainted(machine, context);
  if (state?.serverId) return booting(machine, state.serverId, context);
  if (machine.serverId !== null) {
    // The gate saw the server being made, but terraform's state did not survive to hold it. Nobody has used it:
    // let go of it by its id, and build another under another name.
    const reason = "the server was made, but terraform's state does not know it";
    store.changeMachine(machine.name, "creating", { state: "failed", deadline: null, reason }, reason);
    return atOnce;
  }
  if (isSurplus(store, config(), machine)) {
    const reason = `refill of pool ${machine.pool} is stopped`;
    store.changeMachine(machine.name, "creating", { state: "retiring", reason }, reason);
    return atOnce;
  }
  await withPermit(machine, context, { create: true }, (run) =>
    audited("apply", "the intent is written", machine, context, run, () =>
      terraform.applyMachine(stackInput(machine, context), run),
    ),
  );
  return atOnce;
};

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
  return atOnce;
}

/** The provider gave up on a poll, the server may be well: look, and take the taint away if it runs. */
async function adoptTainted(machine: Machine, context: StageContext): Promise<Next> {
  const { cloud, terraform, store } = context;
  const state = await terraform.state(machine.name);
  const server = state?.serverId ? await cloud.server(state.serverId) : null;
  if (!server) {
    const reason = "the server that terraform's state names does not exist";
    store.changeMachine(machine.name, "creating", { state: "failed", deadline: null, reason }, reason);
    return atOnce;
  }
  if (server.status !== "running") return { againInMs: 2_000 };
  await withPermit(machine, context, {}, (run) =>
    audited("untaint", "the server runs; a poll failed", machine, context, run, () =>
      terraform.untaintServer(machine.name, run),
    ),
  );
  return atOnce;
}
