/** What the gate is told of the store: which machine may be bought, changed, destroyed at this moment. */
import type { Clock } from "./clock.ts";
import type { GateLedger, RunPermit } from "./cloud/cloud.ts";
import { keyToDestroy } from "./machine/destroy-keys.ts";
import type { Machine, MachineName } from "./machine/machine.ts";
import type { Store } from "./store/store.ts";

/** @param heldByPerson whether a person works on this machine now (`cdktf destroy` on a warm machine is theirs to give). */
export function createLedger(
  store: Store,
  clock: Clock,
  heldByPerson: (name: string) => boolean,
): GateLedger {
  const subject = (run: RunPermit): string => (run.kind === "machine" ? run.machine : run.kind);
  const mayDestroy = (machine: Machine): boolean => {
    const goes = machine.state === "releasing" || machine.state === "retiring";
    if (machine.order === null) return goes || heldByPerson(machine.name);
    // The row's state is one key. It may be wrong (an old backup, a mistake of ours): the order is the other.
    return goes && keyToDestroy(machine, store.order(machine.order), clock.now()) !== null;
  };
  return {
    leads: () => store.leads(),
    machine(name) {
      const machine = store.machine(name as MachineName);
      // One that is held may be another than its row says: to the gate it has none.
      if (!machine || machine.held !== null) return null;
      const { state, serverId, order } = machine;
      return { state, serverId, order, mayDestroy: mayDestroy(machine) };
    },
    machineByServerId: (id) => store.machineByServerId(id),
    recordServerId(name, id) {
      const machine = store.machine(name as MachineName);
      if (!machine) throw new Error(`no row has the name ${name}`);
      store.changeMachine(machine.name, machine.state, { serverId: id }, "Hetzner made the server");
    },
    recordRefusal(run, request, reason) {
      store.audit(run.actor, "gate.refused", subject(run), { why: reason, request });
    },
    recordRepair(run, what) {
      store.audit(run.actor, "gate.repaired", subject(run), { why: what });
    },
  };
}
