/**
 * What keeps a pool from building all that it lacks, in a replay: slots, caps, builds a minute, and the failure budget.
 * The arithmetic is the daemon's own; only what a person does about a stopped refill is assumed.
 */
import type { FailureBudget } from "../../config/config.ts";
import { machineName } from "../../machine/machine.ts";
import type { Build } from "../../store/store.ts";
import { assess, permitted } from "../budget.ts";

export interface RefillRules {
  /** Builds at once. */
  readonly slots: number;
  /** Machines of the pool at once, beside those that customers have; no cap when absent. */
  readonly maxTotal?: number;
  /** No cap when absent or null. */
  readonly buildsPerMinute?: number | null;
  /** None when absent: what fails is built again at once. */
  readonly failureBudget?: FailureBudget;
}

/** Until a person has seen that the refill stopped, and resumed it. */
const personMs = 3_600_000;
const minuteMs = 60_000;
/** As many as the daemon looks at. */
const newest = 100;

export class Brakes {
  readonly #rules: RefillRules;
  /** The pool's newest builds that ended; of none but good ones nothing needs to be known. */
  readonly #ended: Build[] = [];
  /** When those of the last minute were ordered. */
  readonly #ordered: number[] = [];
  #failures = 0;
  #number = 0;
  #countedFrom = 0;
  #stoppedAt: number | null = null;
  /** How often the failure budget stopped the refill. */
  stops = 0;
  /** When something may be allowed that is not now, epoch ms; infinite while nothing is held back. */
  wakeAt = Number.POSITIVE_INFINITY;

  constructor(rules: RefillRules) {
    this.#rules = rules;
  }

  /** How many of `wanted` further builds may be ordered. @param pool `live`: all of its machines that no customer has */
  allowed(
    wanted: number,
    pool: { readonly live: number; readonly building: number; readonly waiting: number },
    now: number,
  ): number {
    this.wakeAt = Number.POSITIVE_INFINITY;
    if (wanted === 0) return 0;
    const room = Math.max(0, (this.#rules.maxTotal ?? Number.POSITIVE_INFINITY) - pool.live);
    const allowed = Math.min(
      wanted,
      room,
      this.#affordable(wanted, pool, now),
      this.#pace(wanted, pool, now),
    );
    if (this.#rules.buildsPerMinute != null) {
      for (let order = 0; order < allowed; order++) this.#ordered.push(now);
    }
    return allowed;
  }

  /** What customers wait for goes beyond it. */
  #pace(
    wanted: number,
    { building, waiting }: { readonly building: number; readonly waiting: number },
    now: number,
  ): number {
    const { buildsPerMinute: most = null } = this.#rules;
    if (most === null) return wanted;
    while ((this.#ordered[0] ?? now) <= now - minuteMs) this.#ordered.shift();
    const pace = Math.max(0, most - this.#ordered.length, waiting - building);
    if (pace < wanted) this.wakeAt = Math.min(this.wakeAt, (this.#ordered[0] ?? now) + minuteMs);
    return pace;
  }

  #affordable(
    wanted: number,
    { building, waiting }: { readonly building: number; readonly waiting: number },
    now: number,
  ): number {
    const budget = this.#rules.failureBudget;
    if (!budget || this.#failures === 0) return wanted;
    if (this.#stoppedAt !== null && now >= this.#stoppedAt + personMs) this.#resume(now);
    const counted = this.#ended.filter(({ startedAt }) => startedAt >= this.#countedFrom);
    const assessment = assess(counted, budget, now);
    const stopped = this.#stoppedAt !== null;
    const allowed = permitted(assessment, { wanted, building, queued: waiting, stopped }, now);
    if (allowed < wanted) {
      const moments = [assessment.refillAt, assessment.orderAt, (this.#stoppedAt ?? now) + personMs];
      this.wakeAt = Math.min(this.wakeAt, ...moments.filter((at) => at > now));
    }
    return allowed;
  }

  ended({ startedAt, endedAt, ok }: Pick<Build, "startedAt" | "endedAt" | "ok">): void {
    const budget = this.#rules.failureBudget;
    if (!budget || (ok && this.#failures === 0)) return;
    const machine = machineName(`replay-${this.#number++}`);
    this.#ended.push({ machine, location: "", startedAt, endedAt, ok, failure: ok ? null : "permanent" });
    if (!ok) this.#failures++;
    if (this.#ended.length > newest && this.#ended.shift()?.ok === false) this.#failures--;
    if (ok || this.#stoppedAt !== null) return;
    const counted = this.#ended.filter((build) => build.startedAt >= this.#countedFrom);
    if (assess(counted, budget, endedAt).exhausted === null) return;
    this.#stoppedAt = endedAt;
    this.stops++;
  }

  #resume(now: number): void {
    this.#stoppedAt = null;
    this.#countedFrom = now;
  }
}
