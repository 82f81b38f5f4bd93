/** Two machines that are both taken for the one of the same order; pure. An order has one, so the better evidence decides. */
import { customersStates, type Machine } from "../machine/machine.ts";
import { type Evidence, isBound, type Verdict } from "./judge.ts";

export interface Judged extends Verdict {
  readonly evidence: Evidence;
}

/**
 * Leaves each order with one machine: one that is released has it already; else the one that says that its hand-over was
 * done, then the one whose label says so, then the one whose hand-over was begun, then what is written down. The others
 * are nobody's, and held for a person where they have a server. A later look judges them anew: when the chosen one is
 * gone, another gets its order.
 *
 * @param free live machines that are not held
 */
export function settleRivals(judged: readonly Judged[], free: readonly Machine[]): Judged[] {
  const chosen = new Map(free.filter(isBound).map(({ order, name }) => [order, name]));
  const best = judged.filter(({ machine }) => isBound(machine)).sort(byEvidence);
  for (const { machine } of best) if (!chosen.has(machine.order)) chosen.set(machine.order, machine.name);
  return judged.map((one) => {
    const { machine, text, evidence } = one;
    const winner = isBound(machine) ? chosen.get(machine.order) : machine.name;
    if (winner === undefined || winner === machine.name) return one;
    const nobodys = { ...machine, order: null, specimenUntil: null };
    const why = `order ${machine.order} is taken for ${winner}'s`;
    if (!evidence.server) {
      const reason = `its server is gone from the cloud, and ${why}`;
      return { ...one, machine: { ...nobodys, state: "retiring", reason }, sure: true, text: reason };
    }
    return {
      ...one,
      machine: { ...nobodys, state: "failed", reason: why },
      sure: false,
      text: `${text}; ${why}`,
    };
  });
}

const byEvidence = (a: Judged, b: Judged): number =>
  weight(b) - weight(a) || b.machine.stateSince - a.machine.stateSince;

function weight({ machine, evidence: { said, server } }: Judged): number {
  if (!server) return 0;
  const tells = said !== null && said !== "unreachable" && said.order === machine.order;
  if (tells && said.done) return 5;
  if (server.labels["clawpool-order"] === machine.order) return 4;
  if (tells) return 3;
  return customersStates.includes(machine.state) ? 2 : 1;
}
