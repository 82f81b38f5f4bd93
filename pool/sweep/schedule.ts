/**
 * When which sweep looks. Each goes by itself: what fails or hangs in one keeps no other from looking, every look has a
 * deadline, and a sweep that has not done well for too long is told to a person, because then nobody looks.
 */
import type { Logger } from "pino";
import { type Clock, minuteMs } from "../clock.ts";
import type { Store } from "../store/store.ts";

/** How often it is written down that a sweep did well: often enough for the alert, which must survive restarts. */
const noteEveryMs = 5 * minuteMs;

export const staleFlag = "sweep-stale";

/** Why a wait is over; made once, as each `abort()` would make an exception with its stack. */
const over = new Error("over");

const setting = (name: string) => `sweep/${name}/well`;

/** When a sweep last did well (epoch ms), as far as it was written down; null before it was first started. */
export const wellAt = (store: Pick<Store, "setting">, name: string): number | null =>
  Number(store.setting(setting(name)) ?? "") || null;

export interface ScheduledSweep {
  readonly name: string;
  /** Between the end of a look and the next one, in milliseconds. */
  readonly everyMs: () => number;
  /** How long a look may take, in milliseconds. */
  readonly deadlineMs: number;
  /** How long none may have done well before a person is told, in milliseconds. */
  readonly staleMs: number;
  /**
   * @param signal aborts at the deadline and when the daemon stops; nothing may be touched after that
   * @returns false when it did not do well and has said so itself
   */
  look(signal: AbortSignal): Promise<unknown>;
}

export interface SweepSchedule {
  start(): void;
  /** No new looks; those under way end at their next answer. */
  stop(): void;
  /** Since each sweep last did well, or was first started, in milliseconds. */
  ages(): ReadonlyMap<string, number>;
  /** Tells of sweeps that have not done well for too long, and takes it back. Looked at once a minute. */
  raiseAlerts(): void;
}

export function createSchedule(options: {
  sweeps: readonly ScheduledSweep[];
  store: Store;
  clock: Clock;
  log: Logger;
}): SweepSchedule {
  const { sweeps, store, clock, log } = options;
  let stopped = false;
  const wells = new Map<string, number>();
  /** When it last did well (epoch ms); a sweep that is new has its time from now on. */
  function lastWell(name: string): number {
    const known = wells.get(name);
    if (known !== undefined) return known;
    const noted = wellAt(store, name);
    const at = noted ?? clock.now();
    if (noted === null) store.putSetting(setting(name), String(at));
    wells.set(name, at);
    return at;
  }

  function didWell(name: string): void {
    const now = clock.now();
    wells.set(name, now);
    const noted = Number(store.setting(setting(name)) ?? "");
    if (now - noted >= noteEveryMs) store.putSetting(setting(name), String(now));
  }

  /** Whatever a sweep waits for now ends by these when the daemon stops. */
  const waits = new Set<AbortController>();
  async function until<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const ending = new AbortController();
    if (stopped) ending.abort();
    waits.add(ending);
    try {
      return await work(ending.signal);
    } finally {
      waits.delete(ending);
      // A look that is late must not touch anything any more when its answer comes after all.
      ending.abort(over);
    }
  }

  async function look({ name, deadlineMs, look: run }: ScheduledSweep, signal: AbortSignal): Promise<void> {
    try {
      const late = clock.delay(deadlineMs, signal).then(() => "late" as const);
      const ended = await Promise.race([run(signal), late]);
      if (stopped || ended === false) return;
      if (ended !== "late") didWell(name);
      else log.error({ sweep: name, deadlineMs }, "a sweep was not done at its deadline");
    } catch (err) {
      if (!stopped) log.warn({ sweep: name, err }, "a sweep failed; nothing is concluded");
    }
  }

  async function repeat(sweep: ScheduledSweep): Promise<void> {
    while (!stopped) {
      await until((signal) => look(sweep, signal));
      await until((signal) => clock.delay(sweep.everyMs(), signal));
    }
  }

  return {
    start() {
      for (const sweep of sweeps) lastWell(sweep.name);
      for (const sweep of sweeps) {
        repeat(sweep).catch((err: unknown) =>
          log.error({ sweep: sweep.name, err }, "a sweep's schedule ended"),
        );
      }
    },
    stop() {
      stopped = true;
      for (const wait of waits) wait.abort();
    },
    ages: () => new Map(sweeps.map(({ name }) => [name, clock.now() - lastWell(name)])),
    raiseAlerts() {
      for (const { name, staleMs } of sweeps) {
        if (clock.now() - lastWell(name) <= staleMs) {
          if (store.clearFlag(staleFlag, name, "it did well again"))
            log.info({ sweep: name }, "a sweep does well again");
          continue;
        }
        const text = `the sweep of ${name} has not done well for ${Math.round(staleMs / minuteMs)} minutes; the log says why`;
        if (store.flag(staleFlag, name, text)) log.error({ sweep: name }, text);
      }
    },
  };
}
