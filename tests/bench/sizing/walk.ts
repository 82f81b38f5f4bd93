/** Choice by replay as it would have gone: every four weeks anew, by the twelve weeks before, and used until the next. */
import { hourMs } from "../../../pool/clock.ts";
import { adaptivePolicy } from "../../../pool/sizing/policy/adaptive.ts";
import { type ChosenPolicy, chosenPolicy } from "../../../pool/sizing/policy/chosen.ts";
import type { SizingPolicy } from "../../../pool/sizing/policy/policy.ts";
import { chooseByReplay, replayedFrom, Trials } from "../../../pool/sizing/replay/choice.ts";
import { scoredFrom } from "../../../pool/sizing/replay/experiment.ts";
import type { RecordedForecast } from "../../../pool/sizing/replay/recorded.ts";
import type { Trace } from "../../../pool/sizing/replay/trace.ts";
import { type Asked, asked, levels } from "./rows.ts";
import { leadMs, score, slots } from "./sweep.ts";

const dayMs = 24 * hourMs;
const everyMs = 28 * dayMs;

export interface Walked extends Asked {
  /** How often each kind was chosen; `own misses` where nothing was proved. */
  readonly kinds: Readonly<Record<string, number>>;
}

export function walkedRows(trace: Trace, recorded: RecordedForecast): Walked[] {
  const begins: number[] = [];
  for (let at = scoredFrom(trace); at < trace.to; at += everyMs) begins.push(at);
  const trials = begins.map((at) => {
    const scoreFrom = replayedFrom(trace.from, at);
    const past = { claims: trace.claims.filter((claim) => claim < at), from: trace.from, to: at };
    return new Trials({ trace: past, scoreFrom, leadMs, rules: { slots } }, { recorded });
  });
  return levels.map((level) => {
    const settings = trials.map((each) => chooseByReplay(each, level).chosen?.setting ?? null);
    const kinds: Record<string, number> = {};
    for (const setting of settings) {
      const kind = setting?.kind ?? "own misses";
      kinds[kind] = (kinds[kind] ?? 0) + 1;
    }
    const result = score(trace, inTurn(begins, settings, 1 - level, recorded));
    return { ...asked(1 - level, result), kinds };
  });
}

/** Each setting from its time on; all that remember are told of every claim. */
function inTurn(
  begins: readonly number[],
  settings: readonly (ChosenPolicy | null)[],
  missShare: number,
  recorded: RecordedForecast,
): SizingPolicy {
  const own = adaptivePolicy({ demand: recorded.demand(), goal: { missShare }, holdMs: 0 });
  const policies = settings.map((setting) =>
    setting ? chosenPolicy(setting, () => recorded.demand()) : own,
  );
  const all = new Set([own, ...policies]);
  let turn = -1;
  return {
    claim(claim) {
      for (const policy of all) policy.claim(claim);
    },
    wanted(situation) {
      while ((begins[turn + 1] ?? Number.POSITIVE_INFINITY) <= situation.now) turn++;
      return (policies[turn] ?? own).wanted(situation);
    },
  };
}
