/**
 * What keeps a pool from building all that it lacks, in a replay: slots, caps, builds a minute, and the failure budget.
 * The arithmetic is the daemon's own; only what a person does about a stopped refill is assumed.
 */
import { dayMs, hourMs, minuteMs } from "../../clock.ts";
import type { FailureBudget } from "../../config/config.ts";
import { machineName } from "../../machine/machine.ts";
import { assess, permitted } from "../../refill/budget.ts";
import type { Build } from "../../store/store.ts";

export interface RefillRules {
  /** Builds at once. */
  readonly slots: number;
  /** Machines of the pool at once, beside those that customers have; no cap when absent. */
  readonly maxTotal?: number;
  /** No cap when absent or null. */
  readonly buildsPerMinute?: number | null;
  /** None when absent: what fails is built again at once. */
  readonly failureBudget?: FailureBudget;
  /** What the pool's machines may cost in a day of UTC, and one of them in an hour; no limit when absent. */
  readonly spend?: { readonly perDay: number; readonly perHour: number };
}

interface Live {
  /** All machines that no customer has. */
  readonly live: number;
  readonly building: number;
  /** Customers who found nothing ready. */
  readonly waiting: number;
}

/** Until a person has seen that the refill stopped, and resumed it. */
const personMs = hourMs;
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
  /** Machine-hours since midnight (UTC), as of when. */
  #hoursToday = 0;
  #hoursAt = Number.NaN;
  /** How often the failure budget stopped the refill. */
  stops = 0;
  /** When something may be allowed that is not now, epoch ms; infinite while nothing is held back. */
  wakeAt = Number.POSITIVE_INFINITY;

  constructor(rules: RefillRules) {
    this.#rules = rules;
  }

  /** How many machines may stand until midnight (UTC) within the day's spend. @param live those that stand now */
  affordable(live: number, now: number): number {
    const { spend } = this.#rules;
    if (!spend) return Number.POSITIVE_INFINITY;
    const midnight = Math.floor(now / dayMs) * dayMs;
    if (!(this.#hoursAt >= midnight)) this.#hoursToday = 0;
    const since = Math.max(this.#hoursAt, midnight);
    if (since < now) this.#hoursToday += (live * (now - since)) / hourMs;
    this.#hoursAt = now;
    // In whole hours it would lack one shortly before each full hour. A sum of floats just below a machine is one.
    const restHours = (midnight + dayMs - now) / hourMs;
    const machines = (spend.perDay / spend.perHour - this.#hoursToday) / restHours;
    return Math.max(0, Math.floor(machines + 1e-9));
  }

  /** How many of `wanted` further builds may be ordered. */
  allowed(wanted: number, pool: Live, now: number): number {
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
  #pace(wanted: number, { building, waiting }: Live, now: number): number {
    const { buildsPerMinute: most = null } = this.#rules;
    if (most === null) return wanted;
    while ((this.#ordered[0] ?? now) <= now - minuteMs) this.#ordered.shift();
    const pace = Math.max(0, most - this.#ordered.length, waiting - building);
    if (pace < wanted) this.wakeAt = Math.min(this.wakeAt, (this.#ordered[0] ?? now) + minuteMs);
    return pace;
  }

  #affordable(wanted: number, { building, waiting }: Live, now: number): number {
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
