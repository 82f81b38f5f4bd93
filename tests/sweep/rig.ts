/** A store on fakes, and a sweep that looks when told, with the time between two looks that makes them two. */
import { type Logger, pino } from "pino";
import { createCloudSweep } from "../../pool/sweep/cloud.ts";
import { createDeletions, type Deletions } from "../../pool/sweep/deletions.ts";
import type { Sweep, SweepReport, SweepRequest } from "../../pool/sweep/sweep.ts";
import { platformIds } from "../machine/fake-cloud.ts";
import { type Life, startLife } from "../machine/fakes.ts";

export const minute = 60_000;

export interface SweepRig {
  readonly life: Life;
  readonly deletions: Deletions;
  readonly poked: string[];
  readonly log: Logger;
  /** One look, and a minute after it. */
  look(request?: Partial<SweepRequest>): Promise<SweepReport>;
  /** Looks until so many minutes are over. */
  lookFor(minutes: number): Promise<void>;
  /** `kind subject` of every flag. */
  flags(): string[];
  /** `kind subject: what was done`. */
  found(report: SweepReport): string[];
  audited(action: string): string[];
  close(): void;
}

/** @param open makes the sweep; called anew for each look, as after a restart */
export function makeSweepRig(open: (rig: SweepRig) => Sweep): SweepRig {
  const life = startLife();
  const rig: SweepRig = {
    life,
    deletions: createDeletions({
      store: life.store,
      clock: life.clock,
      perHour: () => life.config.sweeps.deletesPerHour,
    }),
    poked: [],
    log: pino({ level: "silent" }),
    async look(request = {}) {
      const signal = new AbortController().signal;
      const report = await open(rig).run({ dryRun: false, actor: "person:ada", ...request }, signal);
      await life.clock.advance(minute);
      return report;
    },
    async lookFor(minutes) {
      for (let looks = 0; looks < minutes; looks++) await rig.look();
    },
    flags: () => life.store.flags().map(({ kind, subject }) => `${kind} ${subject}`),
    found: ({ findings }) => findings.map(({ kind, subject, done }) => `${kind} ${subject}: ${done}`),
    audited: (action) =>
      life.store
        .auditRows()
        .filter((row) => row.action === action)
        .map(({ actor, subject }) => `${actor} ${subject}`),
    close: () => life.store.close(),
  };
  return rig;
}

export const openCloudSweep = ({ life, deletions, log, poked }: SweepRig) =>
  createCloudSweep({
    ...life,
    config: () => life.config,
    platform: () => platformIds,
    deletions,
    log,
    poke: (name) => poked.push(name),
  });
