/** Out of quarantine: what a person releases goes on, each machine from the state that its row has now. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { Machine, MachineName, MachineState } from "../machine/machine.ts";
import type { Store } from "../store/store.ts";
import { isSure, readFindings } from "./findings.ts";

/** What was asked for cannot be done; the sentence says why. */
export class ReleaseError extends Error {
  override readonly name = "ReleaseError";
}

export interface ReleaseRequest {
  /** Null: every machine of which the last look was sure, and the quarantine ends. */
  readonly machine: MachineName | null;
  /** It is destroyed instead; only a machine without an order. */
  readonly retire: boolean;
  /** A person knows that its hand-over was done, though the machine does not say so. */
  readonly serves: boolean;
  readonly actor: string;
}

export interface Released {
  readonly machines: readonly { readonly name: MachineName; readonly state: MachineState }[];
  /** Still held, for a person to look at one by one. */
  readonly held: readonly MachineName[];
  readonly ended: boolean;
}

/** @throws ReleaseError when nothing was looked at since the quarantine began, or this machine cannot be released so */
export function release(
  { store, config, clock }: { store: Store; config: () => Config; clock: Clock },
  { machine: name, retire, serves, actor }: ReleaseRequest,
): Released {
  if (name === null && (retire || serves))
    throw new ReleaseError("`retire` and `serves` speak of one machine: name it");
  const findings = readFindings(store);
  const quarantine = store.quarantine();
  if (quarantine && !findings)
    throw new ReleaseError("nothing was looked at yet; `clawpool recover status --look` does it now");
  const held = store.machines({ live: true }).filter((machine) => machine.held !== null);
  const chosen = name === null ? held.filter((machine) => isSure(findings, machine)) : [pick(store, name)];
  const why = name === null ? "all that was sure is released" : "released by name";
  const freed = chosen.map((machine) => {
    if (serves) return serving(machine, store, actor);
    const change = retire ? retired(machine) : onward(machine, config(), clock.now());
    const { state } = store.releaseMachine(machine.name, change, why, { actor });
    return { name: machine.name, state };
  });
  const left = store.machines({ live: true }).filter((machine) => machine.held !== null);
  const ended = quarantine !== null && (name === null || left.length === 0);
  if (ended) store.endQuarantine(why, { actor });
  return { machines: freed, held: left.map((machine) => machine.name), ended };
}

function pick(store: Store, name: MachineName): Machine {
  const machine = store.machine(name);
  if (!machine) throw new ReleaseError(`there is no machine ${name}; see \`clawpool recover status\``);
  if (machine.held === null) throw new ReleaseError(`${name} is not held`);
  return machine;
}

function retired(machine: Machine): { state?: MachineState; deadline: null; reason: string } {
  if (machine.order !== null) {
    throw new ReleaseError(
      `${machine.name} is bound to order ${machine.order}: end its subscription, or \`clawpool cdktf destroy ${machine.name}\``,
    );
  }
  const reason = "a person released it to be destroyed";
  return machine.state === "retiring"
    ? { deadline: null, reason }
    : { state: "retiring", deadline: null, reason };
}

/** Otherwise its hand-over would go on, and that ends with a machine that never answers. */
function serving({ name, state }: Machine, store: Store, actor: string): Released["machines"][number] {
  if (state !== "claimed" && state !== "handing-over")
    throw new ReleaseError(`${name} is ${state}: --serves is for one that is claimed or handing-over`);
  store.releaseServing(name, "a person says that it serves", { actor });
  return { name, state: "serving" };
}

/** A new deadline, as if the state had just begun; what was ready proves itself again before it is offered. */
function onward(
  { state }: Machine,
  { deadlines }: Config,
  now: number,
): { state?: MachineState; deadline: number | null } {
  switch (state) {
    case "ready":
      return { state: "proving", deadline: now + deadlines.provingMs };
    case "planned":
    case "creating":
      return { deadline: now + deadlines.creatingMs };
    case "booting":
      return { deadline: now + deadlines.bootingMs };
    case "preparing":
      return { deadline: now + deadlines.preparingMs };
    case "proving":
      return { deadline: now + deadlines.provingMs };
    case "claimed":
    case "handing-over":
      return { deadline: now + deadlines.handingOverMs };
    case "resuming":
      return { deadline: now + deadlines.resumingMs };
    default:
      return { deadline: null };
  }
}
