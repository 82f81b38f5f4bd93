/**
 * failed → retiring | releasing → destroyed: the machine goes. First its device is taken out of the tailnet (that cuts off
 * even a machine which no longer answers), but the server goes whatever Tailscale says: only the server costs money. The
 * row is closed when the cloud says 404 for the server, and Tailscale for the device.
 */

import { auditedRun } from "../observe/audited-run.ts";
import { judgeFailure } from "../refill/stop.ts";
import type { Store } from "../store/store.ts";
import type { Machine } from "./machine.ts";
import { atOnce, type Stage, type StageContext } from "./stage.ts";
import { usableOrAside } from "./state.ts";
import { audited, withPermit } from "./terraform-run.ts";

/** How soon a specimen goes after somebody let it go. */
const specimenLookMs = 10_000;

/**
 * failed: what never saw an order is retired, what did is released. Of builds that fail too often one is kept for a while,
 * so that a person can see why.
 */
export const failed: Stage = async (machine, context) => {
  const { store, clock } = context;
  const until = machine.order ? null : judgeFailure(machine, context);
  if (until !== null) return { againInMs: Math.min(until - clock.now(), specimenLookMs) };
  const state = machine.order ? "releasing" : "retiring";
  store.changeMachine(machine.name, "failed", { state }, machine.reason ?? "failed");
  return atOnce;
};

export const destroy: Stage = async (machine, context) => {
  const { store, armed, terraform } = context;
  armed.drop(machine.name);
  await cutOff(machine, context);
  await runDestroy(machine, context);
  const left = await remaining(machine, context);
  if (left !== null) {
    // Made while nobody listened (a daemon that died during the order): by its id the gate lets it go.
    if (machine.serverId === null)
      store.changeMachine(machine.name, machine.state, { serverId: left }, "found by its name");
    return { againInMs: 2_000 };
  }
  await removeDevices(machine, context);
  // Before the row is closed, which nobody looks at again: the folder holds the machine's user_data.
  await terraform.forget(machine.name);
  store.recordDestroyed(machine.name);
  return atOnce;
};

async function runDestroy(machine: Machine, context: StageContext): Promise<void> {
  const { terraform } = context;
  const { state } = await usableOrAside(machine, context);
  // A machine that was retired before terraform ever ran has nothing to destroy.
  if (state === null && machine.serverId === null) return;
  // Destroyed at an earlier look; what is still to be done is not terraform's.
  if (state?.resources === 0 && !state.empty && (await remaining(machine, context)) === null) return;
  await withPermit(machine, context, { destroy: true }, async (run) => {
    if (state !== null) {
      const why = machine.reason ?? `the machine is ${machine.state}`;
      await audited("destroy", why, machine, context, run, () => terraform.destroyMachine(machine.name, run));
    }
    // What the cloud says decides, not terraform's exit code: a state that was lost destroys nothing and exits 0.
    // The gate knows the server by the id that it recorded, and lets it go only because the row says so.
    if (machine.serverId !== null && (state?.serverId ?? null) === null) {
      const { serverId } = machine;
      const why = `terraform's state does not know server ${serverId}`;
      const account = { action: "gate.delete", subject: machine.name, why };
      await auditedRun(
        context.store,
        account,
        () => context.gate.deleteServer(run, serverId),
        () => ({
          run: null,
          ok: true,
          server: serverId,
          calls: run.counts(),
        }),
      );
    }
  });
}

/** A try that may fail: what is left of it is done once the server is gone. */
async function cutOff({ name, state, tailnetNode }: Machine, { tailnet, log }: StageContext): Promise<void> {
  if (!tailnet || !tailnetNode) return;
  try {
    await tailnet.deleteDevice(tailnetNode, { subject: name, why: `it is ${state}` });
  } catch (err) {
    log.warn({ machine: name, err }, "the device could not be deleted; the server goes all the same");
  }
}

/**
 * Once the server is gone nothing can join any more: the machine's devices are deleted until Tailscale shows none. A
 * hand-over that failed after its join, or was begun twice, left one whose id never reached us; it is known by the machine's
 * name, which no other machine ever has.
 */
async function removeDevices(machine: Machine, { store, tailnet, config }: StageContext): Promise<void> {
  const { name, order, generation, tailnetNode } = machine;
  if (!tailnet) return;
  if (tailnetNode && (await tailnet.device(tailnetNode)) !== null)
    await tailnet.deleteDevice(tailnetNode, { subject: name, why: "its server is gone" });
  const tag = config().tailnet?.tags[0];
  // One whose row recovery made or changed has no order any more, and may have had one.
  const wasNobodys = order === null && generation === 0 && !isRecovered(name, store);
  if (!tag || wasNobodys) return;
  for (const { hostname, nodeId } of await tailnet.devices(tag)) {
    if (hostname !== name) continue;
    await tailnet.deleteDevice(nodeId, { subject: name, why: "it joined in a hand-over that failed" });
  }
}

const isRecovered = (name: string, store: Pick<Store, "auditRows">): boolean =>
  store
    .auditRows({ subject: name, limit: Number.MAX_SAFE_INTEGER })
    .some(({ action }) => action === "machine.recovered");

/** The id of the machine's server while the cloud still has one. */
async function remaining(machine: Machine, { cloud }: StageContext): Promise<number | null> {
  const server =
    machine.serverId === null ? await cloud.serverByName(machine.name) : await cloud.server(machine.serverId);
  return server?.id ?? null;
}
