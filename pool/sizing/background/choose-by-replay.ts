/**
 * Once a day, and soon after a start when the last is older: each pool that is asked for a hit share replays its own last
 * weeks, and what proves the share for the fewest paid hours sizes it from then on.
 */
import type { Logger } from "pino";
import { type Clock, dayMs, hourMs } from "../../clock.ts";
import type { Config, PoolConfig } from "../../config/config.ts";
import type { Store } from "../../store/store.ts";
import { createCalendar } from "../forecast/calendar.ts";
import { askedShare, basisOf, keepChoice, keptChoice } from "../kept-choice.ts";
import { measuredLead } from "../lead-time.ts";
import type { Sized } from "../policy/create.ts";
import { type Choice, choiceWithin, chooseByReplay, replayedFrom, Trials } from "../replay/choice.ts";
import type { Experiment } from "../replay/experiment.ts";
import { NoHistoryError, ownHistory, setting } from "../replay/setting.ts";
import type { Trace } from "../replay/trace.ts";
import { memoryMs } from "../sizer.ts";

/** After a replay that failed, or was made for another lead time, the next is tried so much later. */
const retryMs = hourMs;
/** What was chosen for builds that take half as long again, or two thirds of it, says too little of these. */
const longestOf = 1.5;

/** Plain data, so that a thread can be given it. */
export interface ChoiceRequest {
  readonly pool: Sized;
  readonly hitShare: number;
  readonly experiment: Pick<Experiment, "claims" | "from" | "to" | "lead" | "rules" | "checkouts">;
}

/** Takes seconds where the history is long enough, and nothing where it is not. */
export function choiceOf({ pool, hitShare, experiment }: ChoiceRequest): Choice {
  const { claims, from, to, lead, rules, checkouts } = experiment;
  const record = {
    ...{ trace: { claims, from, to }, scoreFrom: replayedFrom(from, to), rules, checkouts },
    ...{ leadMs: lead.planMs, builds: lead.builds, ...choiceWithin(pool) },
  };
  return chooseByReplay(new Trials(record, { calendar: createCalendar(pool.sizing.timeZone) }), hitShare);
}

interface Chooser {
  readonly store: Store;
  readonly config: () => Config;
  readonly clock: Clock;
  readonly log: Pick<Logger, "info" | "warn">;
  /** Null when it was stopped. */
  readonly choose: (request: ChoiceRequest) => Promise<Choice | null>;
  /** Told when a pool is to be sized otherwise. */
  readonly onChoice: () => void;
}

/** @returns what replays whatever is due; not begun twice, and it never rejects: what failed is logged */
export function createChooser({ store, config, clock, log, choose, onChoice }: Chooser): () => Promise<void> {
  let running: Promise<void> | null = null;
  const tried = new Map<string, { readonly at: number; readonly basis: string }>();

  function isDue(pool: PoolConfig, now: number): boolean {
    if (askedShare(pool) === null) return false;
    const last = keptChoice(store, pool);
    // A clock that was set back would otherwise wait until it is where it was.
    if (last && Math.abs(now - last.at) < dayMs && isForLead(last.leadMs, pool)) return false;
    const trial = tried.get(pool.name);
    return trial?.basis !== basisOf(pool) || Math.abs(now - trial.at) >= retryMs;
  }

  function isForLead(leadMs: number, pool: PoolConfig): boolean {
    const { planMs } = measuredLead(store, pool);
    return planMs <= leadMs * longestOf && leadMs <= planMs * longestOf;
  }

  async function replay(pool: PoolConfig, now: number): Promise<void> {
    const hitShare = askedShare(pool);
    if (hitShare === null) return;
    tried.set(pool.name, { at: now, basis: basisOf(pool) });
    const before = keptChoice(store, pool)?.policy ?? null;
    const { minReady, maxReady, maxTotal, sizing } = pool;
    const history = historyOf(store, config(), pool, now);
    const { experiment } = setting(pool, config(), history, store, null);
    const sized = { minReady, maxReady, maxTotal, sizing };
    const choice = await choose({ pool: sized, hitShare, experiment });
    if (!choice) return;
    const { policy } = keepChoice(store, pool, choice, experiment.lead.planMs, now);
    log.info({ pool: pool.name, why: choice.why }, "own history was replayed for the asked share");
    if (JSON.stringify(policy) !== JSON.stringify(before)) onChoice();
  }

  async function replayDue(now: number): Promise<void> {
    for (const pool of config().pools) {
      try {
        if (isDue(pool, now)) await replay(pool, now);
      } catch (err) {
        log.warn({ err, pool: pool.name }, "own history could not be replayed for the asked share");
      }
    }
  }

  return () => {
    running ??= replayDue(clock.now()).finally(() => {
      running = null;
    });
    return running;
  };
}

function historyOf(store: Store, config: Config, pool: PoolConfig, now: number): Trace {
  try {
    return ownHistory(store, config, pool, { since: now - memoryMs, now });
  } catch (error) {
    if (error instanceof NoHistoryError) return { claims: new Float64Array(), from: now, to: now, notes: [] };
    throw error;
  }
}
