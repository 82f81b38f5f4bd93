/** One pool's configuration, the one that may follow it, and what else could be, over the same claims. */
import type { PoolConfig } from "../../config/config.ts";
import { createCalendar } from "../forecast/calendar.ts";
import { chosenText } from "../policy/chosen.ts";
import {
  adaptiveCandidate,
  configured,
  factorOutcomes,
  policyText,
  scheduleCandidate,
  staticOutcomes,
  targets,
} from "./candidates.ts";
import { type Choice, choiceWithin, chooseByReplay, Trials } from "./choice.ts";
import { type Candidate, type Experiment, type Outcome, scoredFrom, tryOut } from "./experiment.ts";
import { Recorder, type Slot } from "./picture.ts";

export interface Simulation {
  readonly pool: string;
  /** Epoch ms: what is watched, and from when on it is counted. */
  readonly from: number;
  readonly scoredFrom: number;
  readonly to: number;
  readonly leadMs: number;
  readonly rows: readonly Row[];
  readonly choices: readonly Choice[];
  /** The pool under the new configuration, half hour by half hour. */
  readonly slots: readonly Slot[];
}

export interface Row extends Outcome {
  /** The same with a surplus retired at once, paid hour or not. */
  readonly atOnce: Pick<Outcome, "wasted" | "rebuilt" | "costAMonth">;
}

/** @param pools `present` null: the pool is new; `next` null: nothing else was asked for */
export function simulate(
  pools: { readonly present: PoolConfig | null; readonly next: PoolConfig | null },
  experiment: Experiment,
): Simulation {
  const { present, next } = pools;
  const pool = next ?? present;
  if (!pool) throw new Error("simulate: no pool");
  const own = [
    ...(present ? [configured(`present: ${policyText(present)}`, present, experiment)] : []),
    ...(next ? [configured(`new: ${policyText(next)}`, next, experiment)] : []),
  ];
  const recorder = new Recorder(experiment.from);
  const ownOutcomes = own.map((candidate, index) =>
    index === own.length - 1 ? recorder.record(candidate, experiment) : tryOut(candidate, experiment),
  );
  const statics = staticOutcomes(pool, experiment);
  const factors = factorOutcomes(pool, experiment);
  const schedules = targets.flatMap((target) => scheduleCandidate(pool, experiment, target) ?? []);
  const adaptives = [
    ...targets.map((hitShare) => adaptiveCandidate(pool, experiment, { hitShare })),
    ...(experiment.pricePerHour === null ? [] : [adaptiveCandidate(pool, experiment, { valueEur: 1 })]),
  ];
  const learned = [...schedules, ...adaptives].map((candidate) => tryOut(candidate, experiment));
  const shown = [...ownOutcomes, ...reaching(statics), ...reaching(factors), ...learned];
  const { choices, chosen } = choicesOf(pool, experiment);
  const others = chosen.filter(({ name }) => shown.every(({ candidate }) => candidate.name !== name));
  const rows = [...shown, ...others.map((candidate) => tryOut(candidate, experiment))].map((outcome) =>
    withWaste(outcome, experiment),
  );
  return {
    ...{ pool: pool.name, from: experiment.from, scoredFrom: scoredFrom(experiment), to: experiment.to },
    ...{ leadMs: experiment.lead.planMs, rows, choices, slots: recorder.slots },
  };
}

/** What the daemon would choose if it were asked for each of the targets, and those as candidates, each once. */
function choicesOf(
  pool: PoolConfig,
  experiment: Experiment,
): { readonly choices: readonly Choice[]; readonly chosen: readonly Candidate[] } {
  const { claims, from, to, lead, rules, checkouts } = experiment;
  const trials = new Trials(
    {
      ...{ trace: { claims, from, to }, scoreFrom: scoredFrom(experiment), fillFrom: from, rules, checkouts },
      ...{ leadMs: lead.planMs, builds: lead.builds, ...choiceWithin(pool) },
    },
    { calendar: createCalendar(pool.sizing.timeZone) },
  );
  const choices = targets.map((target) => chooseByReplay(trials, target));
  const settings = new Map(
    choices.flatMap(({ chosen }) => (chosen ? [[chosenText(chosen.setting), chosen.setting] as const] : [])),
  );
  const chosen = [...settings].map(([name, setting]) => ({
    ...{ name, hindsight: true, policy: () => trials.policy(setting) },
  }));
  return { choices, chosen };
}

/** For each target the cheapest that reached it, as seen with hindsight. */
function reaching(outcomes: readonly Outcome[]): Outcome[] {
  const byCost = [...outcomes].sort((a, b) => a.paidHoursAMonth - b.paidHoursAMonth);
  return [
    ...new Set(
      [0.95, ...targets].flatMap((target) => byCost.find(({ hitShare }) => hitShare >= target) ?? []),
    ),
  ];
}

function withWaste(outcome: Outcome, experiment: Experiment): Row {
  const { wasted, rebuilt, costAMonth } = tryOut(outcome.candidate, experiment, { hysteresis: false });
  return { ...outcome, atOnce: { wasted, rebuilt, costAMonth } };
}
