/**
 * Runs a policy over recorded claims, under the rules by which the daemon builds and retires: what would it have cost,
 * and who would have waited?
 *
 * A claim that finds nothing ready gets the machine that is ready next. Every machine leaves the pool with its claim.
 */

import { countBegun } from "../../bill/hours.ts";
import { hourMs } from "../../clock.ts";
import { steps, type WarmMachine } from "../../refill/steps.ts";
import type { SizingPolicy } from "../policy/policy.ts";
import { Brakes, type RefillRules } from "./brakes.ts";
import { type CheckoutRecord, readCheckouts } from "./checkouts.ts";

/** How often the daemon looks when nothing happens, ms. */
export const tickMs = 300_000;

export interface ReplayOptions extends RefillRules {
  /** Epoch ms of each claim, ascending. */
  readonly claims: Float64Array;
  readonly from: number;
  readonly to: number;
  /** What happened before is watched but not counted. */
  readonly scoreFrom: number;
  /** How long each build takes, and whether it fails at its end. */
  readonly nextBuild: () => { readonly ms: number; readonly failed: boolean };
  /** What the policy is told to plan with. */
  readonly leadMs: number;
  readonly tickMs: number;
  readonly policy: SizingPolicy;
  /** Absent where no record of them was kept. */
  readonly checkouts?: CheckoutRecord | undefined;
  /** False retires a surplus at once, paid hour or not: only to see what waiting for the hour's end saves. */
  readonly hysteresis?: boolean;
  /** After each decision. */
  readonly observe?: (now: number, seen: { readonly target: number; readonly ready: number }) => void;
}

export interface ReplayResult {
  readonly claims: number;
  readonly misses: number;
  /** Ready machines' time until they were claimed or retired. */
  readonly idleHours: number;
  /** Of the misses, in ms. */
  readonly waits: readonly number[];
  /** Builds that ended, well or not. */
  readonly built: number;
  readonly failed: number;
  /** Machines that nobody claimed. */
  readonly wasted: number;
  /** Of those, how many were missed: within an hour of their end another was begun. */
  readonly rebuilt: number;
  /**
   * Hours that Hetzner bills for the pool: begun hours of wasted machines and of failed builds, and of the others those
   * until the claim.
   */
  readonly paidHours: number;
  /** How often the failure budget stopped the refill. */
  readonly stops: number;
}

interface Ready extends WarmMachine {
  readonly readyAt: number;
}

interface Build {
  readonly begun: number;
  readonly ends: number;
  readonly failed: boolean;
}

export function replay(options: ReplayOptions): ReplayResult {
  const { claims, leadMs, policy, scoreFrom, tickMs, to, hysteresis = true } = options;
  const brakes = new Brakes(options);
  const openAt = options.checkouts && readCheckouts(options.checkouts);
  const ready: Ready[] = [];
  const builds: Build[] = [];
  const waiting: number[] = [];
  const score = { claims: 0, misses: 0, idle: 0, built: 0, failed: 0, wasted: 0, rebuilt: 0, paid: 0 };
  const waits: number[] = [];
  /** When the machines that were retired within the last hour went. */
  const gone: number[] = [];
  let queued = 0;

  const begin = (now: number) => {
    for (; queued > 0 && builds.length < options.slots; queued--) {
      const { ms, failed } = options.nextBuild();
      const ends = now + ms;
      let place = builds.length;
      while (place > 0 && (builds[place - 1] as Build).ends > ends) place--;
      builds.splice(place, 0, { begun: now, ends, failed });
      while ((gone[0] ?? now) < now - hourMs) gone.shift();
      if (gone.shift() !== undefined && now >= scoreFrom) score.rebuilt++;
    }
  };
  const decide = (now: number) => {
    const wanted = policy.wanted({ now, leadMs, open: openAt?.(now, leadMs) ?? null });
    const state = { ready, building: builds.length, queued, waiting: waiting.length };
    const live = ready.length + builds.length + queued;
    const most = brakes.affordable(live, now);
    const [target, keep] = [Math.min(wanted.target, most), Math.min(wanted.keep, most)];
    const pace = hysteresis ? { target, keep } : { target, keep: target, atOnce: true };
    const { build, callOff, retire } = steps(state, pace, now);
    queued += brakes.allowed(build, { live, building: builds.length + queued, waiting: waiting.length }, now);
    queued -= callOff;
    for (const machine of retire) {
      ready.splice(ready.indexOf(machine), 1);
      leaves(machine, now);
      gone.push(now);
      if (now >= scoreFrom) score.wasted++;
    }
    begin(now);
    options.observe?.(now, { target, ready: ready.length });
  };
  const leaves = (machine: Ready, now: number) => {
    if (now < scoreFrom) return;
    score.idle += now - Math.max(machine.readyAt, scoreFrom);
    score.paid += countBegun(machine.createdAt, now);
  };
  const claim = (now: number) => {
    const machine = ready.shift();
    policy.claim({ at: now, hit: machine !== undefined });
    if (now >= scoreFrom) {
      score.claims++;
      if (!machine) score.misses++;
    }
    if (machine) leaves(machine, now);
    else waiting.push(now);
  };
  const buildEnds = (now: number) => {
    const build = builds.shift() as Build;
    brakes.ended({ startedAt: build.begun, endedAt: now, ok: !build.failed });
    if (now >= scoreFrom) score.built++;
    if (build.failed) {
      if (now < scoreFrom) return;
      score.failed++;
      score.paid += countBegun(build.begun, now);
      return;
    }
    const since = waiting.shift();
    if (since === undefined) ready.push({ createdAt: build.begun, readyAt: now });
    else if (since >= scoreFrom) waits.push(now - since);
  };

  let nextClaim = 0;
  let nextTick = options.from;
  for (;;) {
    const at = claims[nextClaim] ?? Number.POSITIVE_INFINITY;
    const ends = builds[0]?.ends ?? Number.POSITIVE_INFINITY;
    const now = Math.min(at, ends, nextTick, brakes.wakeAt);
    if (now > to) break;
    if (ends === now) buildEnds(now);
    else if (at === now) {
      claim(now);
      nextClaim++;
    } else if (nextTick === now) nextTick += tickMs;
    decide(now);
  }
  for (const machine of ready) leaves(machine, to);
  return {
    ...{ claims: score.claims, misses: score.misses, waits, built: score.built, failed: score.failed },
    ...{ wasted: score.wasted, rebuilt: score.rebuilt, stops: brakes.stops },
    ...{ idleHours: score.idle / hourMs, paidHours: score.paid },
  };
}
