/**
 * serving: what remains to be done for a customer's machine once it serves (Tailscale's own side confirms the
 * enrolment; order and customer become labels), until it may not serve any more (suspend.ts) or its time is over (release.ts).
 */
import { strict as assert } from "node:assert";
import { importServer, stackInput, untaint } from "./create.ts";
import type { Machine, OrderId } from "./machine.ts";
import { isDue, release, untilRelease } from "./release.ts";
import { atOnce, type Next, type Stage, type StageContext } from "./stage.ts";
import { usableState } from "./state.ts";
import { audited, withPermit } from "./terraform-run.ts";

/** How long a device may take to show up connected before a person is told. */
const enrolmentMs = 60_000;

export const serve: Stage = async (machine, context) => {
  const { store, clock } = context;
  const order = store.order(machine.order as OrderId);
  if (order && isDue(order, context)) return release(order, context);
  if (order && order.suspendedFor !== null) {
    store.recordPower(machine.name, "serving", { state: "suspending" }, order.suspendedWhy ?? "suspended");
    return atOnce;
  }
  if (!machine.enrolled) return confirmEnrolment(machine, context);
  if (!machine.labelled) return applyLabels(machine, context);
  return { againInMs: untilRelease(order, clock.now()) ?? 60_000 };
};

async function confirmEnrolment(machine: Machine, context: StageContext): Promise<Next> {
  const { tailnet, store, clock, config } = context;
  const wanted = config().tailnet?.tags ?? [];
  const device = tailnet && machine.tailnetNode ? await tailnet.device(machine.tailnetNode) : null;
  const known =
    device?.authorized && device.connectedToControl && wanted.every((tag) => device.tags.includes(tag));
  if (tailnet && machine.tailnetNode && !known) {
    if (clock.now() - machine.stateSince > enrolmentMs) {
      const text = `Tailscale does not show ${machine.name} (node ${machine.tailnetNode}) as connected and tagged`;
      store.flag("not-enrolled", machine.name, text);
      store.changeMachine(machine.name, "serving", { enrolled: true }, "enrolment not confirmed; flagged");
      return atOnce;
    }
    return { againInMs: 1_000 };
  }
  store.changeMachine(machine.name, "serving", { enrolled: true }, "enrolment confirmed");
  return atOnce;
}

/** An in-place update by rule: the plan may not delete or replace anything, and the gate holds the same on the wire. */
async function applyLabels(machine: Machine, context: StageContext): Promise<Next> {
  const { terraform, store } = context;
  const guard = machine.serverId;
  assert(guard, `machine ${machine.name} serves without a server`);
  const { state, unmanaged } = await usableState(machine, context);
  if (state?.tainted) await untaint(machine, "it serves a customer and must not be replaced", context);
  if (unmanaged)
    await importServer(machine, guard, "it serves a customer, and the state does not know it", context);
  await withPermit(machine, context, { update: true }, (run) =>
    audited("label", "order and customer become labels", machine, context, run, () =>
      terraform.applyMachine(stackInput(machine, context), run, { guard }),
    ),
  );
  store.changeMachine(
    machine.name,
    "serving",
    { labelled: true },
    "order and customer are labels of the server",
  );
  return atOnce;
}
