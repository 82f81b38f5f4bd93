/** What is done about each thing that the cloud's sweep found; every change of it is made here. */
import type { Logger } from "pino";
import type { Gate } from "../cloud/cloud.ts";
import type { Config } from "../config/config.ts";
import { ownLabels } from "../machine/labels.ts";
import type { Machine, MachineName } from "../machine/machine.ts";
import { auditedRun } from "../observe/audited-run.ts";
import { orderLimits } from "../refill/offers.ts";
import { StaleRowError, type Store } from "../store/store.ts";
import type { Mismatch, Stray } from "./cloud-findings.ts";
import type { Deletions } from "./deletions.ts";
import { isDue, type Sightings } from "./sightings.ts";
import { answered, onceMore, type SweepFinding, SweepStopped, toldOnly } from "./sweep.ts";
import type { Telling } from "./tell.ts";

export const cloudFlags = {
  orphan: "orphan",
  unknown: "unknown-resource",
  missing: "platform-missing",
  vanished: "server-vanished",
  manyVanished: "many-servers-vanished",
  mismatch: "server-mismatch",
  off: "server-off",
  disbelieved: "list-not-believed",
} as const;

export interface RepairOptions {
  readonly store: Store;
  readonly gate: Pick<Gate, "deleteOrphan">;
  readonly config: () => Pick<Config, "instance" | "sweeps" | "pools" | "regions">;
  readonly deletions: Deletions;
  readonly log: Logger;
  /** A row changed: look at the machine. */
  readonly poke: (name: MachineName) => void;
}

/** One look of the sweep. */
export interface LookContext {
  readonly sightings: Sightings;
  readonly telling: Telling;
  readonly dryRun: boolean;
  readonly actor: string;
  readonly now: number;
  readonly signal: AbortSignal;
}

export interface CloudRepairs {
  /** A machine that nobody can be given or reach any more. */
  lose(machine: Machine, isSure: boolean, look: LookContext): SweepFinding;
  /** A server that exists and is not what its row says: nobody is given such a machine. */
  correct(mismatch: Mismatch, look: LookContext): SweepFinding;
  /** Something that costs money and that no row knows. @param isBelieved whether the lists that say so may be believed */
  removeStray(stray: Stray, isBelieved: boolean, look: LookContext): Promise<SweepFinding>;
}

export function createCloudRepairs(options: RepairOptions): CloudRepairs {
  const { store, gate, config, deletions, log } = options;

  function giveUp({ name, state }: Machine, reason: string, actor: string): void {
    const next = state === "ready" ? "retiring" : "failed";
    store.changeMachine(name, state, { state: next, deadline: null, reason }, reason, { actor });
  }

  function changed(machine: Machine, change: () => void): void {
    try {
      change();
    } catch (error) {
      // Somebody else moved it meanwhile; the next look sees what it is now.
      if (!(error instanceof StaleRowError)) throw error;
    }
    options.poke(machine.name);
  }

  return {
    lose(machine, isSure, { telling, dryRun, actor }) {
      const { name, order, state, serverId } = machine;
      const text = `server ${serverId} of ${name} (${state}${order ? `, order ${order}` : ""}) is gone from the cloud`;
      const finding = { kind: "lost", subject: name, text };
      if (!isSure) return { ...finding, done: onceMore };
      if (order && state !== "claimed" && state !== "handing-over") {
        // What the customer had on it is lost, and its environment was forgotten when it served: a person's decision.
        const remedy = "its customer is not served; end the order (cancel its subscription) or make another";
        telling.tell(cloudFlags.vanished, name, `${text}: ${remedy}`);
        return { ...finding, done: toldOnly };
      }
      const done = order ? "its order moves to another machine" : "retired, to be replaced";
      if (dryRun) return { ...finding, done: `would be: ${done}` };
      log.error({ machine: name, order }, text);
      if (order) telling.tell(cloudFlags.vanished, name, text);
      changed(machine, () => {
        if (order) {
          const limits = orderLimits(config(), machine.pool);
          const next = store.recordHandOverFailure(name, { step: state, reason: text }, limits).machine;
          if (next) options.poke(next.name);
        } else giveUp(machine, text, actor);
      });
      return { ...finding, done };
    },

    correct({ machine, kind, text }, { sightings, telling, dryRun, actor }) {
      const finding = { kind, subject: machine.name, text };
      if (sightings.see(`${kind}/${machine.name}`).confirmed === null) return { ...finding, done: onceMore };
      if (machine.order) {
        telling.tell(kind, machine.name, `${text}; order ${machine.order}`);
        return { ...finding, done: toldOnly };
      }
      const done = "retired, to be replaced";
      if (dryRun) return { ...finding, done: `would be: ${done}` };
      log.warn({ machine: machine.name }, text);
      changed(machine, () => giveUp(machine, text, actor));
      return { ...finding, done };
    },

    async removeStray(stray, isBelieved, { sightings, telling, dryRun, actor, now, signal }) {
      const { instance, sweeps } = config();
      const { kind, id, name, held } = stray;
      const key = `${kind}/${id}`;
      const subject = `${kind} ${id}`;
      const seen = sightings.see(key);
      const text = `${subject} (${name}) carries our labels and no row knows it`;
      const told = (done: string): SweepFinding => {
        if (seen.confirmed !== null) telling.tell(cloudFlags.orphan, subject, `${text}: ${done}`);
        return { kind: "orphan", subject, text, done };
      };
      if (held !== null) return told(`not deleted, ${held}; delete it by hand if nobody wants it`);
      if (sweeps.deletesPerHour === 0) return told("not deleted, sweeps.deletes_per_hour is 0");
      if (!isDue(seen, sweeps.orphanGraceMs, now)) {
        if (seen.asked !== null) return told("being deleted");
        return told(`deleted if still there at ${iso(seen.first + sweeps.orphanGraceMs)}`);
      }
      if (!isBelieved) return told("not deleted while the list is not believed");
      if (dryRun) return told("would be deleted");
      if (!deletions.take()) return told("deleted when the hour's deletions are not used up");
      sightings.ask(key);
      const why = `no row knows it; first seen ${iso(seen.first)}`;
      const labels = { ...stray.labels, ...ownLabels(instance) };
      try {
        const deleting = auditedRun(
          store,
          { action: "sweep.delete", subject, why, actor },
          () => gate.deleteOrphan({ kind, id, name, labels }),
          (answer) => ({ run: null, ok: true, answer, found: stray.facts }),
        );
        await answered(deleting, signal);
        log.warn({ orphan: stray.facts }, `${subject} (${name}) was deleted: ${why}`);
        return told("being deleted");
      } catch (error) {
        if (error instanceof SweepStopped) throw error;
        log.warn({ orphan: stray.facts, err: error }, "an orphan could not be deleted");
        return told(`could not be deleted: ${error instanceof Error ? error.message : error}`);
      }
    },
  };
}

const iso = (at: number): string => new Date(at).toISOString();
