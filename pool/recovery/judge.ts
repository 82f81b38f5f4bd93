/**
 * What a machine is, from everything that tells of it; pure. What decides, in this order: the machine's own word (it never
 * forgets an order), the sealed record beside the database, the row, the server's labels.
 *
 * A verdict is *sure* when going on from it can neither destroy a customer's machine nor give a used one away, whatever
 * happened since the evidence was written down. Everything else is a person's to decide.
 */
import type { CloudServer } from "../cloud/cloud.ts";
import {
  customersStates,
  type Machine,
  type MachineName,
  type MachineSecrets,
  type MachineState,
  type OrderId,
} from "../machine/machine.ts";
import type { HandedOver } from "../machine/protocol.ts";
import type { MachineRecord } from "./records.ts";

export interface Evidence {
  readonly name: MachineName;
  readonly row: Machine | null;
  readonly record: MachineRecord | null;
  /** Null: the cloud has none, asked by id and by name. */
  readonly server: CloudServer | null;
  /** What the machine says of hand-overs; null: that there was none. */
  readonly said: HandedOver | null | "unreachable";
}

export interface Surroundings {
  readonly now: number;
  /** It carries the labels of this installation. */
  isOurs(server: CloudServer): boolean;
  /** Whether anything knows this order: store, records, Stripe. */
  knows(order: string): boolean;
  /** Row or record has what the customer's agent needs to be handed over. */
  hasEnvironment(order: string): boolean;
  /** An order is paid for and goes on, and nothing says which machine serves it. */
  awaits(): boolean;
  /** Stripe, asked for the subscription itself, says that it is over; false when nothing is known. */
  ended(order: string): boolean;
  /** Machines that say that this order was handed over to them. */
  holders(order: string): readonly string[];
  /** A row for a server that nothing but its labels tells of, with keys that open nothing. */
  fromLabels(server: CloudServer): { machine: Machine; secrets: MachineSecrets };
}

export interface Verdict {
  readonly machine: Machine;
  /** Null keeps the row's. */
  readonly secrets: MachineSecrets | null;
  readonly sure: boolean;
  readonly text: string;
}

const bound: readonly MachineState[] = ["claimed", "handing-over", ...customersStates];
const ending: readonly MachineState[] = ["failed", "retiring", "releasing"];
/** Before a server exists. */
const unmade: readonly MachineState[] = ["planned", "creating"];

/** @returns null when there is nothing to recover: no server, and no row that is still open */
export function judgeMachine(evidence: Evidence, around: Surroundings): Verdict | null {
  const known = newest(evidence);
  if (!known || known.machine.state === "destroyed") {
    const { server } = evidence;
    return server && around.isOurs(server) ? stranger(evidence, server, around) : null;
  }
  const verdict = judgeKnown(evidence, known, around);
  const { server } = evidence;
  const placed =
    server && around.isOurs(server)
      ? { serverId: server.id, ipv4: server.ipv4 ?? verdict.machine.ipv4, location: server.location }
      : {};
  // Only a suspension switches a customer's machine off; whether it is still due is looked at when it is released.
  const off = server?.status === "off" && verdict.machine.state === "serving";
  const state = off ? { state: "suspended" as const } : {};
  return { ...verdict, machine: { ...verdict.machine, ...placed, ...state } };
}

interface Known {
  readonly machine: Machine;
  readonly secrets: MachineSecrets | null;
  /** Nothing happened to the machine that this does not tell of. */
  readonly current: boolean;
}

function newest({ row, record }: Evidence): Known | null {
  if (record && (!row || (!record.fromBackup && record.machine.stateSince >= row.stateSince))) {
    return { machine: record.machine, secrets: record.secrets, current: !record.fromBackup };
  }
  return row && { machine: row, secrets: null, current: false };
}

function judgeKnown(evidence: Evidence, known: Known, around: Surroundings): Verdict {
  const { machine, secrets } = known;
  const { server, said } = evidence;
  const as = (change: Partial<Machine>, sure: boolean, text: string): Verdict => ({
    machine: { ...machine, ...change },
    secrets,
    sure,
    text,
  });
  if (!server) return withoutServer(known, around, as);
  if (!around.isOurs(server)) {
    return as({}, false, `a server of its name exists (${server.id}), and does not carry our labels`);
  }
  if (machine.serverId !== null && machine.serverId !== server.id) {
    return as(
      {},
      false,
      `its row says server ${machine.serverId}, the cloud has ${server.id} under its name`,
    );
  }
  if (said === "unreachable") return unreachable(known, server, around, as);
  if (said === null) return unused(known, around, as);
  return used(known, said, around, as);
}

type As = (change: Partial<Machine>, sure: boolean, text: string) => Verdict;

function withoutServer({ machine, current }: Known, around: Surroundings, as: As): Verdict {
  // Nothing is bought for a row that is found without one: the caps were asked when it was young, and others may have been
  // bought since of which it does not know. Refill plans another where one is needed.
  const isUnmade = unmade.includes(machine.state) && machine.serverId === null;
  const reason = isUnmade ? "no server was made for it" : "its server is gone from the cloud";
  if (machine.order === null) return as({ state: "retiring", reason }, true, reason);
  if (around.ended(machine.order) || (current && machine.state === "releasing")) {
    return as({ state: "releasing", reason }, true, `${reason}, and order ${machine.order} has ended`);
  }
  return as({}, false, `${reason}, but order ${machine.order} is paid for: nobody serves it`);
}

function unreachable(
  { machine, current }: Known,
  server: CloudServer,
  around: Surroundings,
  as: As,
): Verdict {
  const label = server.labels["clawpool-order"] ?? null;
  const isOpen =
    machine.order === null ||
    lacksEnvironment(machine, around) ||
    (isHandOver(machine) && label === machine.order);
  const labelled = isOpen ? servesByLabel(server, around) : null;
  if (labelled) {
    // Unbound it would look like nobody's, and a person could have it destroyed.
    const text = `it does not answer, and its label says that it serves ${label}; it was ${machine.state} when last written down`;
    return as(labelled, false, text);
  }
  if (label !== null && label !== machine.order) {
    return as({}, false, `it does not answer, and its label names order ${label}, its row ${machine.order}`);
  }
  // Its record may be older than it, and a hand-over that never gets an answer ends with the machine.
  const was = `it was ${machine.state} for ${machine.order} when last written down, and may have served since`;
  if (isHandOver(machine) && server.status === "off") {
    // Nothing but a suspension switches a customer's machine off, and that comes behind its hand-over.
    return as({ state: "suspended", enrolled: true }, false, `it is switched off; ${was}`);
  }
  if (lacksEnvironment(machine, around)) {
    return as(unbound, false, `it does not answer, and was ${machine.state} for ${machine.order}; ${lost}`);
  }
  if (customersStates.includes(machine.state) && (current || label !== null)) {
    const what = machine.state === "serving" ? "serves" : `is ${machine.state} for`;
    return as({}, true, `it does not answer; what is written down agrees that it ${what} ${machine.order}`);
  }
  if (machine.order !== null && around.holders(machine.order).length > 0) {
    return as({}, false, `it does not answer, and ${around.holders(machine.order)} has its order, too`);
  }
  if (isHandOver(machine)) return as({}, false, `it does not answer; ${was}`);
  const isFree = machine.order === null && !ending.includes(machine.state);
  if (isFree && server.status === "off") {
    return as(
      {},
      false,
      `it does not answer and is switched off, as a suspended customer's is; it was ${machine.state}`,
    );
  }
  if (current && isFree && around.awaits()) {
    // Its record may be older than it: a file that could not be written, a daemon that died behind a commit.
    const text = `it does not answer; by its record it is ${machine.state}, but nothing says which machine serves a paid order: it may be this one`;
    return as({}, false, text);
  }
  if (current) return as({}, true, `it does not answer; by its record it is ${machine.state}`);
  return as({}, false, `it does not answer; it was ${machine.state}, and may have got an order since`);
}

const isHandOver = ({ state }: Machine): boolean => state === "claimed" || state === "handing-over";
const lost = "the order's environment was lost with the database; --retire destroys it";
const unbound = { state: "failed", order: null, reason: lost, specimenUntil: null } as const;

/** To go on would hand over an agent without its keys, which then serves as if all were well. */
const lacksEnvironment = (machine: Machine, around: Surroundings): boolean =>
  isHandOver(machine) && machine.order !== null && !around.hasEnvironment(machine.order);

/** It says that it never saw a customer. */
function unused({ machine }: Known, around: Surroundings, as: As): Verdict {
  if (customersStates.includes(machine.state)) {
    return as({}, false, `it was ${machine.state} for ${machine.order}, but has no record of a hand-over`);
  }
  if (lacksEnvironment(machine, around)) {
    const reason = `claimed for ${machine.order}, whose environment was lost with the database`;
    return as({ state: "retiring", order: null, reason }, true, `it was ${reason}; it never had a customer`);
  }
  switch (machine.state) {
    case "claimed":
    case "handing-over":
      return as({}, true, `it is claimed for ${machine.order}; the hand-over has not reached it`);
    default:
      return as({}, true, "it answers, and never had a customer");
  }
}

/** It says whose it is. */
function used({ machine }: Known, said: HandedOver, around: Surroundings, as: As): Verdict {
  const { order, done } = said;
  const state: MachineState = done ? "serving" : "handing-over";
  const generation = Math.max(said.generation, machine.generation);
  const change = { state, order: order as OrderId, generation };
  const others = around.holders(order).filter((name) => name !== machine.name);
  if (others.length > 0) {
    const text = `it says that it has order ${order}, and so does ${others.join(", ")}`;
    const isOpen = machine.order === null || (machine.order === order && isHandOver(machine));
    // Which of them is taken for the order's is settled once all are judged.
    return as(isOpen && !ending.includes(machine.state) && around.knows(order) ? change : {}, false, text);
  }
  if (machine.order === order && [...ending, ...customersStates].includes(machine.state)) {
    return as({}, true, `it answers, and has order ${order}, as written down`);
  }
  if (!around.knows(order)) {
    const reason = `it had order ${order}, which nothing knows any more`;
    const change = { state: "failed", order: null, reason, specimenUntil: null } as const;
    return as(change, false, `${reason}; --retire destroys it`);
  }
  if (machine.order !== null && machine.order !== order) {
    return as({}, false, `it says that it has order ${order}, what is written down is ${machine.order}`);
  }
  if (!done && !around.hasEnvironment(order)) {
    return as(unbound, false, `its hand-over was begun for ${order}; ${lost}`);
  }
  const sure = machine.order === order || !ending.includes(machine.state);
  const what = done ? "it serves" : "its hand-over was begun for";
  return as(
    change,
    sure,
    `it answers: ${what} order ${order}; it was ${machine.state} when last written down`,
  );
}

/** Our labels, and nothing else: whoever wrote down how to enter it is gone. */
function stranger({ said }: Evidence, server: CloudServer, around: Surroundings): Verdict {
  const { machine, secrets } = around.fromLabels(server);
  const lost = "only its labels tell of it: its keys are lost, so it cannot be looked into or repaired";
  const labelled = servesByLabel(server, around);
  if (labelled) {
    const text = `${lost}; it serves ${labelled.order}`;
    return { machine: { ...machine, ...labelled }, secrets, sure: false, text };
  }
  const reason = said === null ? "left over" : "its keys are lost";
  return {
    machine: { ...machine, state: "failed", reason },
    secrets,
    sure: false,
    text: `${lost}; --retire destroys it`,
  };
}

/** An order becomes a label of its server when it is served, and of no other; null where another machine says that it has it. */
function servesByLabel({ labels }: CloudServer, around: Surroundings) {
  const order = labels["clawpool-order"];
  if (order === undefined || !around.knows(order) || around.holders(order).length > 0) return null;
  return { state: "serving", order: order as OrderId, enrolled: true, labelled: true } as const;
}

/**
 * Orders that this machine serves, by anything that tells of it. That a hand-over was begun does not count: the order may
 * have got another machine since.
 */
export function servedOrders({ row, record, server, said }: Evidence): string[] {
  const written = [row, record?.machine].map((known) =>
    known && customersStates.includes(known.state) ? known.order : null,
  );
  const told = said !== null && said !== "unreachable" && said.done ? said.order : null;
  return [...written, server?.labels["clawpool-order"], told].filter((order) => typeof order === "string");
}

/** States in which a machine is its order's. */
export const isBound = (machine: Machine): boolean => bound.includes(machine.state);
